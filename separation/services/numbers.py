"""The numeric settings of this app, as numbers. A wrong value has been reported by a system check at start.

`number` for those that may have a fraction: 0 often means "no limit", which half of something is not.
"""

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
