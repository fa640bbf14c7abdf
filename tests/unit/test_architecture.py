"""The rules of the layout, held by a test: which way dependencies point, and where heavy imports may stand."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "demucs"}
MAY_BE_HEAVY = ("separation/engine/", "separation/starter/")


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_memory_never_imports_separation_or_the_project() -> None:
    offenders = {path for path, tree in modules("memory") if {"separation", "stemsite"} & imported(tree)}
    assert offenders == set()


def test_torch_and_demucs_are_imported_by_the_engine_and_the_starter_only() -> None:
    offenders = {
        path
        for folder in ("memory", "separation", "stemsite")
        for path, tree in modules(folder)
        if HEAVY & imported(tree) and not path.startswith(MAY_BE_HEAVY)
    }
    assert offenders == set()


def test_what_a_service_process_imports_pulls_in_no_torch(tmp_path: Path) -> None:
    script = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup();"
        f"import stemsite.wsgi, separation.tasks, stemsite.urls; print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    command, env = [sys.executable, "-c", script], {**os.environ, "TEST_DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_says_what_it_owns() -> None:
    silent = {
        path
        for folder in ("memory", "separation", "stemsite")
        for path, tree in modules(folder)
        if tree.body and not ast.get_docstring(tree) and "/migrations/" not in path
    }
    assert silent == set()


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
