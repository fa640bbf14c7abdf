"""How often the kernel's OOM killer has struck. Reads only."""

from pathlib import Path


def host_oom_kills(root: Path = Path("/")) -> int:
    """Processes ended by the OOM killer since the machine started, in any control group; 0 where not told."""
    return counter(root / "proc/vmstat", "oom_kill")


def counter(file: Path, name: str) -> int:
    """The number after `name` in a file of "name number" lines; 0 when either is missing."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
