"""`manage.py setup_code`: prints the code that opens the setup page, while there is no user. Owns no more."""

from typing import Any

from django.core.management.base import BaseCommand

from separation import setup


class Command(BaseCommand):
    help = "Print the one-time code for making the first account; prints nothing once there is a user."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if setup.is_needed():
            self.stdout.write(f"Make the first account there; the setup code is  {setup.setup_code()}\n")
