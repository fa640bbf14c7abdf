"""`manage.py cleanup`: one pass of retention and orphan removal, as the reaper makes every hour."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from separation.services.retention import clean_up
from separation.uploads.housekeeping import expire_uploads


class Command(BaseCommand):
    help = "Deletes what is past its retention, and files that no row knows."

    def handle(self, *_: Any, **__: Any) -> None:
        for what, count in asdict(clean_up()).items():
            self.stdout.write(f"{what}: {count}")
        self.stdout.write(f"uploads: {expire_uploads()}")
