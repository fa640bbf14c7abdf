"""The memory app in a project that has nothing else of this one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECT = """
import sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "memory"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command

call_command("check", fail_level="WARNING", verbosity=0)
call_command("migrate", verbosity=0)

from memory.limiter import ConcurrentOperationLimiter
from memory.sampling import Sampler

with ConcurrentOperationLimiter().admitted(kind="resize", key="picture-1", bytes=1024**2, lease_seconds=60):
    assert Sampler().tick()
    call_command("memory")
strangers = [name for name in sys.modules if name.split(".")[0] in ("separation", "stemsite", "torch", "demucs")]
assert not strangers, strangers
"""


def test_another_project_can_install_the_app_as_it_is(tmp_path: Path) -> None:
    program = tmp_path / "project.py"
    program.write_text(PROJECT)
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "resize picture-1" in done.stdout
