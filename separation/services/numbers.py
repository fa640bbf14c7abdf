"""The numeric settings of this app, as numbers. A wrong value has been reported by a system check at start."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def number(name: str) -> float:
    """The setting `name`. Raises `ImproperlyConfigured` when it is not a number."""
    value = getattr(settings, name)
    if not isinstance(value, int | float):
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a number.")
    return value


def whole(name: str) -> int:
    """The setting `name` as a whole number."""
    return int(number(name))
