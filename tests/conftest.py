"""Rules for the whole suite: skips can be forbidden, no property fails for a slow machine, two processes share the
tests in the same way each time, and the throw-away data folder goes when the run ends."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("stemsite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("stemsite")


TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What `--dist loadgroup` keeps in one process, in one order: with files dealt out freely no two runs are alike."""
    for item in items:
        first = item.path.relative_to(TESTS).parts[0]
        item.add_marker(pytest.mark.xdist_group("integration" if first == "integration" else "other"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With STEMSITE_FORBID_SKIPS=1 (as .ci/run sets it) a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("STEMSITE_FORBID_SKIPS") == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and skips are forbidden here: {report.longrepr}"
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    from django.conf import settings

    if not os.environ.get("TEST_DATA_DIR") and settings.configured:
        shutil.rmtree(settings.DATA_DIR, ignore_errors=True)
