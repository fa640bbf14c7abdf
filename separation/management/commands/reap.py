"""`manage.py reap`: the housekeeper of this host, a process of its own beside web and worker."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from separation.parents import end_with_manager
from separation.services.housekeeping import Housekeeper, default_chores


class Command(BaseCommand):
    help = "Requeues jobs of lost workers, wakes workers, samples memory and cleans up, until told to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="do every chore once, then end")

    def handle(self, *_: Any, **options: Any) -> None:
        keeper = Housekeeper(default_chores())
        if options["once"]:
            keeper.once()
            return
        end_with_manager()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, keeper.stop)
        keeper.run()
