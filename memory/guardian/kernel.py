"""What the guardian asks of the kernel: subreaper, parent-death signal, races-free kill, steering the OOM killer.

Each function says whether it took effect, so that the layers in force can be reported. Owns no policy.
"""

# pathlib would double the guardian's start-up time
# ruff: noqa: PTH123

import contextlib
import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, argument: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)) == 0


def become_subreaper() -> bool:
    """Orphans below this process become its children, so that leaving the session doesn't leave the tree."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def signal_on_parent_death(number: int) -> bool:
    """The kernel sends this process `number` when the thread that started it ends. Check getppid() afterwards."""
    return _prctl(PR_SET_PDEATHSIG, number)


def set_oom_score_adj(value: int) -> bool:
    """proc_pid_oom_score_adj(5): a higher score is ended sooner when the machine runs out of memory."""
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
            current = int(file.read())
            file.seek(0)
            file.write(str(max(current, value)))
    except OSError:
        return False
    return True


def limit_data(size: int) -> bool:
    """setrlimit(2), RLIMIT_DATA: private writable mappings of each process; allocation beyond it fails."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = size if hard == resource.RLIM_INFINITY else min(size, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))
    except (OSError, ValueError):
        return False
    return sys.platform.startswith("linux")


def give_way(niceness: int) -> None:
    """Let this service's own processes, and above all the guardian, go first when cores are short."""
    with contextlib.suppress(OSError):
        os.nice(niceness)


def forbid_core_dumps() -> None:
    """A crash must not write a gigabyte to disk."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def join_cgroup(folder: str) -> bool:
    """Move the calling process into a cgroup v2 folder."""
    try:
        with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
    except OSError:
        return False
    return True


def kill_cgroup(folder: str) -> bool:
    """End every process of a cgroup v2 at once (Linux 5.14)."""
    try:
        with open(f"{folder}/cgroup.kill", "w", encoding="ascii") as file:
            file.write("1")
    except OSError:
        return False
    return True


def become_session_leader() -> None:
    with contextlib.suppress(PermissionError):  # it is one already
        os.setsid()


def default_signals() -> None:
    """Undo what the guardian ignores or blocks: both would survive exec."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
