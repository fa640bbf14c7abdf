"""What an instance has once it is set up: made once in a run, as it takes longer than most tests, then copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

Manage = Callable[..., object]
_database: bytes | None = None
_static: Path | None = None


def empty_database(data_dir: Path, manage: Manage) -> None:
    """The SQLite file as `migrate` leaves it."""
    global _database
    file = data_dir / "stemsite.sqlite3"
    if _database is None:
        manage("migrate", "--verbosity=0")
        assert not file.with_name(f"{file.name}-wal").exists(), "the file alone must be all of it"
        _database = file.read_bytes()
    else:
        file.write_bytes(_database)


def static_files(data_dir: Path, manage: Manage) -> None:
    """The folder that `collectstatic` fills."""
    global _static
    if _static is None:
        manage("collectstatic", "--noinput", "--verbosity=0")
        _static = data_dir / "static"
    else:
        shutil.copytree(_static, data_dir / "static", copy_function=os.link, dirs_exist_ok=True)
