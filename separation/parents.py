"""Processes of the service that end with the one that started them, by the kernel's parent-death signal (Linux).

Owns whom a process depends on, and what it is sent; not what it does at its end.
"""

import os
import signal

from memory.guardian.kernel import signal_on_parent_death

MANAGER = "STEMSITE_MANAGER"
"""The environment variable that holds the process manager's number."""


def end_with_manager() -> None:
    """For a program of the service: SIGTERM when its process manager dies, since nothing would start or stop it then.

    One that was started by other means, from a shell or by systemd, depends on nobody.
    """
    if manager := os.environ.get(MANAGER):
        end_with(int(manager), signal.SIGTERM)


def end_with(parent: int, number: int) -> None:
    """This process is sent `number` when `parent`, which started it, dies; now, if it has died already."""
    if signal_on_parent_death(number) and os.getppid() != parent:
        os.kill(os.getpid(), number)
