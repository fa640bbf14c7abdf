"""`manage.py memory`: the live picture in a terminal, once or again and again with --watch."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand

from memory.live import live_snapshot
from memory.text import describe

CLEAR = "\x1b[H\x1b[2J"


class Command(BaseCommand):
    help = "Shows this host's memory, what runs, what waits and why, and recent incidents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--watch", action="store_true", help="show it again and again until Ctrl-C")
        parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="with --watch (default: 2)")
        parser.add_argument("--json", action="store_true", help="as one JSON document a line")

    def handle(self, *_args: Any, watch: bool, interval: float, json: bool, **_options: Any) -> None:
        self._show(live_snapshot(), as_json=json)
        try:
            while watch:
                time.sleep(max(0.1, interval))
                self._show(live_snapshot(), as_json=json, over=True)
        except KeyboardInterrupt:
            self.stdout.write("")

    def _show(self, live: Mapping[str, Any], *, as_json: bool, over: bool = False) -> None:
        if as_json:
            self.stdout.write(json.dumps(live))
        else:
            clear = CLEAR if over and self.stdout.isatty() else ""
            self.stdout.write(clear + describe(live))
        self.stdout.flush()
