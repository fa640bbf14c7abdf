"""`manage.py create_token USER`: makes an access token for the API and prints it, once."""

import argparse
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from separation.errors import ServiceError
from separation.tokens.models import Scope
from separation.tokens.services import DEFAULT_SCOPES, create_token

MOST_DAYS = 36_500


class Command(BaseCommand):
    help = "Makes an access token for the API. It is printed once and cannot be read again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--name", default="command line", help="what the token is for")
        parser.add_argument(
            "--scope", action="append", choices=Scope.values, help="may be given several times; read and submit if not"
        )
        parser.add_argument("--days", type=int, help="days until it expires; never if not given")

    def handle(self, *_: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user called {options['user']}.")
        days = options["days"]
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days is {days}; it must be from 1 to {MOST_DAYS}.")
        expires_at = timezone.now() + timedelta(days=days) if days is not None else None
        try:
            _token, text = create_token(user, options["name"], options["scope"] or DEFAULT_SCOPES, expires_at)
        except ServiceError as error:
            raise CommandError(error.message) from error
        self.stdout.write(text)
