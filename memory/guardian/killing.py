"""Ending members of a tree: never another process that got the same pid since."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

from memory.probes.tree import ProcTree, Tree

RESCAN_SECONDS = 0.005


def send(tree: Tree, pid: int, started: float, number: int) -> bool:
    """Send a signal to the process that had `pid` at its start time; False when that one has ended."""
    try:
        handle = _handle(pid)
    except ProcessLookupError:
        return False
    try:
        return tree.started(pid) == started and _deliver(pid, handle, number)
    finally:
        if handle is not None:
            os.close(handle)


def _handle(pid: int) -> int | None:
    """A descriptor that goes on meaning this process (Linux 5.3); None where there is none to be had."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):  # another system, an old kernel, a sandbox that forbids it
        return None


def _deliver(pid: int, handle: int | None, number: int) -> bool:
    try:
        if handle is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    return True


def members(tree: Tree, root: int, *, thorough: bool = False) -> dict[int, float]:
    """The live members below `root`; `thorough` misses none even while members end and are handed over."""
    found = tree.descendants(root)
    if not found and thorough and isinstance(tree, ProcTree):
        return tree.scan(root)
    return found


def signal_each(tree: Tree, listed: dict[int, float], number: int) -> None:
    for pid, started in listed.items():
        send(tree, pid, started, number)


def kill_groups(tree: Tree, root: int) -> None:
    """Kill every process group below `root` as a whole, which no member can dodge by forking and ending itself."""
    for group in tree.groups(root) - {os.getpgrp(), 0, 1}:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def end_all(
    tree: Tree, root: int, *, seconds: float = 10.0, childless: Callable[[], bool] | None = None
) -> dict[int, float]:
    """Kill and look again until nobody is left; returns the members that could not be ended in that time.

    `childless` says for certain that nobody is left: a look at the tree can miss who forks faster than it is read.
    """
    deadline = time.monotonic() + seconds
    while not (childless() if childless is not None else not members(tree, root, thorough=True)):
        left = members(tree, root, thorough=True)
        signal_each(tree, left, signal.SIGKILL)
        kill_groups(tree, root)
        if time.monotonic() > deadline:
            return left
        time.sleep(RESCAN_SECONDS)
    return {}
