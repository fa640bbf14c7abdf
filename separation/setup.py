"""The first account: when it is wanted, the one-time code that allows it, and its creation.

Owns who may make the first account of an instance. Does not own the page (`views/setup.py`) nor the printing of
the code (`manage.py setup_code`). The code is derived from SECRET_KEY, so every process of an instance agrees on it,
every host that is given the same key too, and none has to store it; it opens nothing once there is a user.
"""

import base64
import fcntl
import json
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

CODE_LENGTH = 12
GROUP = 4
MAX_GUESSES = 8
GUESS_WINDOW_SECONDS = 300.0


class AlreadySetUp(Exception):
    """There is an account already: the setup page is closed for good."""


class TooManyGuesses(Exception):
    """Wrong codes came too fast. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many wrong codes. Wait {retry_after} seconds, then try again.")
        self.retry_after = retry_after


def is_needed() -> bool:
    """Whether the instance has no user yet."""
    return not get_user_model().objects.exists()


def setup_code() -> str:
    """The instance's code, as printed: three groups of four characters, 60 bits."""
    digest = salted_hmac("separation.setup", "first account", algorithm="sha256").digest()
    letters = base64.b32encode(digest).decode()[:CODE_LENGTH]
    return "-".join(letters[start : start + GROUP] for start in range(0, CODE_LENGTH, GROUP))


def is_right_code(guess: str) -> bool:
    """Compare in constant time, forgiving case, spaces and dashes."""
    return constant_time_compare(_plain(guess), _plain(setup_code()))


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").upper()


def create_first_account(save: Callable[[], User]) -> User:
    """Make the user that `save` makes a superuser, if there is none yet. Raises `AlreadySetUp`.

    The lock on a row that every instance has makes simultaneous posts wait for each other; SQLite's immediate
    transactions do so by themselves.
    """
    with transaction.atomic():
        ContentType.objects.select_for_update().get(app_label="auth", model="user")
        if not is_needed():
            raise AlreadySetUp
        user = save()
        user.is_staff = user.is_superuser = True
        user.save(update_fields=["is_staff", "is_superuser"])
    return user


class GuessLimit:
    """Counts wrong codes of the last minutes in a small file, exactly, over all processes of the host."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock

    def check(self, guess: str) -> bool:
        """Whether the guess is right; a wrong one is counted. Raises `TooManyGuesses`, right or wrong."""
        with self.path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            recent = self._recent(file.read())
            if len(recent) >= MAX_GUESSES:
                raise TooManyGuesses(self._wait(recent))
            right = is_right_code(guess)
            file.seek(0)
            file.truncate()
            file.write(json.dumps(recent if right else [*recent, self.clock()]))
        return right

    def _recent(self, text: str) -> list[float]:
        now = self.clock()
        return [at for at in _numbers(text) if now - GUESS_WINDOW_SECONDS < at <= now]

    def _wait(self, recent: list[float]) -> int:
        return max(1, int(min(recent) + GUESS_WINDOW_SECONDS - self.clock()) + 1)


def _numbers(text: str) -> list[float]:
    try:
        values = json.loads(text or "[]")
    except json.JSONDecodeError:  # a full disk cut the file short: start counting again
        return []
    return [float(value) for value in values if isinstance(value, int | float)] if isinstance(values, list) else []


def guess_limit() -> GuessLimit:
    """The instance's own counter, in its DATA_DIR."""
    return GuessLimit(Path(settings.DATA_DIR) / "setup_guesses.json")
