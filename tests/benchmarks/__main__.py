"""`python -m tests.benchmarks [NAME ...] [-- OPTIONS]`: the benchmark tables, each in a process of its own.

Without names: all of them. Options after `--` go to each named benchmark. Every benchmark is also a module to run by
itself, with `--help`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

HELPERS = {"__init__", "__main__", "measure", "peers", "standins", "segment"}


def names() -> list[str]:
    """The benchmarks there are: the modules of this package that are no helpers."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)


def main(argv: list[str]) -> int:
    """Run the named benchmarks; returns 1 if any failed."""
    chosen, options = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    unknown = [name for name in chosen if importlib.util.find_spec(f"tests.benchmarks.{name}") is None]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(names())}.", file=sys.stderr)
        return 2
    failed = 0
    for name in chosen or names():
        print(f"\n## {name}", flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *options], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
