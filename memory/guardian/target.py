"""Starting the supervised program as the guardian's child, with every limit in place before its first instruction."""

# pathlib would double the guardian's start-up time
# ruff: noqa: PTH123

import contextlib
import json
import os
import signal
from typing import NamedTuple, NoReturn

from memory.guardian import kernel
from memory.guardian.config import Config
from memory.policy import NICENESS


class Started(NamedTuple):
    """The child's pid and the layers in force for it, or why the program could not be started."""

    pid: int
    layers: tuple[str, ...]
    error: str


def start(argv: list[str], config: Config) -> Started:
    """Fork and exec `argv`; the guardian has one thread, so code between the two is safe here."""
    read_end, write_end = os.pipe()
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _become(argv, config, guardian, write_end)
    os.close(write_end)
    with open(read_end, "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    notes = [json.loads(line) for line in lines]
    error = next((note["error"] for note in notes if "error" in note), "")
    return Started(pid, tuple(note["layer"] for note in notes if "layer" in note), error)


def _become(argv: list[str], config: Config, guardian: int, notes: int) -> NoReturn:
    """In the child. Whatever fails, it never returns to the guardian's code."""
    try:
        for layer in _apply_limits(config, guardian):
            _note(notes, "layer", layer)
        os.execvpe(argv[0], argv, os.environ)
    except OSError as error:
        _note(notes, "error", f"{argv[0]}: {error.strerror}")
    finally:
        os._exit(127)


def _apply_limits(config: Config, guardian: int) -> list[str]:
    kernel.become_session_leader()
    kernel.default_signals()
    kernel.forbid_core_dumps()
    kernel.give_way(NICENESS)
    cgroup, data = config.cgroup, config.data_bytes
    layers = {
        "parent_death_signal": _die_with_parent(guardian),
        "oom_score_adj": kernel.set_oom_score_adj(config.oom_score_adj),
        str(config.wall): cgroup is not None and kernel.join_cgroup(cgroup),
        "rlimit_data": data is not None and kernel.limit_data(data),
    }
    return [name for name, active in layers.items() if active]


def _die_with_parent(guardian: int) -> bool:
    active = kernel.signal_on_parent_death(signal.SIGKILL)
    if os.getppid() != guardian:  # it ended before the request was in place
        os._exit(127)
    return active


def _note(pipe: int, key: str, value: str) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, (json.dumps({key: value}) + "\n").encode())
