"""The guardian starts beside every operation, so it must stay small."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {"django", "psutil", "pathlib", "dataclasses", "inspect", "asyncio", "subprocess", "logging"}


def test_the_guardian_needs_nothing_but_a_little_of_the_standard_library() -> None:
    code = f"import sys; sys.path.append({str(ROOT)!r}); import memory.guardian.watch; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(ran.stdout.split())


def test_supervision_needs_no_configured_django() -> None:
    code = """
import sys
from memory.processes import OperationLimits, ProcessResourceManager
print(ProcessResourceManager().run([sys.executable, "-c", ""], limits=OperationLimits(1 << 28), label="test").reason)
"""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "completed\n"
