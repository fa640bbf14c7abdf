"""Django settings for the tests: the production settings over a throw-away DATA_DIR."""

import os
import tempfile
from pathlib import Path

os.environ["DATA_DIR"] = os.environ.get("TEST_DATA_DIR") or tempfile.mkdtemp(prefix="stemsite-tests-")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from stemsite.settings import *  # noqa: F403
from stemsite.settings import DATA_DIR, DATABASES, STORAGES

STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
MEMORY_LIMIT_MB = 16 * 1024  # this process runs all tests and trains networks: it takes work however much it holds
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(Path(DATA_DIR) / "test.sqlite3")}
