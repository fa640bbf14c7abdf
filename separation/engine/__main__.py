"""`python -m separation.engine PLAN.json`: run one plan, say how it goes on standard output.

Exit status 0 after a result, 3 after a stated error. The first reading of the file starts before torch is
imported, so that the two overlap.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from separation.engine.environment import restart_with_environment
from separation.engine.errors import EngineError, from_os_error
from separation.engine.plan import Plan
from separation.engine.progress import Reporter

STATED_ERROR = 3


def main(argv: list[str]) -> int:
    """Run the plan named in `argv`; returns the exit status."""
    reporter = Reporter(sys.stdout)
    if len(argv) != 2:
        sys.stderr.write("usage: python -m separation.engine PLAN.json\n")
        return 2
    try:
        reporter.result(_run(Path(argv[1]), reporter))
    except EngineError as error:
        reporter.error(error)
        return STATED_ERROR
    except OSError as error:
        reporter.error(from_os_error(error))
        return STATED_ERROR
    return 0


def _run(path: Path, reporter: Reporter) -> dict[str, object]:
    from separation.engine.loading import open_bag
    from separation.engine.scan import scan

    plan = Plan.read(path)
    reporter.phase("loading")
    bag = open_bag(plan.options.model, plan.model_dir)
    with ThreadPoolExecutor(1, thread_name_prefix="scan") as pool:
        scanning = pool.submit(scan, plan, bag.info.sample_rate, bag.info.channels, reporter.reading)
        from separation.engine.run import Run

        return Run(plan, bag, scanning, reporter).execute()


if __name__ == "__main__":
    restart_with_environment([sys.executable, *sys.orig_argv[1:]])
    sys.exit(main(sys.argv))
