"""Whether this worker cluster is being stopped: one byte shared by all its forked processes.

Owns the flag. A plain shared byte and no lock or event: a worker killed at any moment cannot leave it held.
"""

import mmap

_shared = mmap.mmap(-1, 1)


def request() -> None:
    """Ask every worker of this cluster to end its job and take no more; safe in a signal handler."""
    _shared[0] = 1


def requested() -> bool:
    return _shared[0] == 1


def withdraw() -> None:
    """Take the request back (tests)."""
    _shared[0] = 0
