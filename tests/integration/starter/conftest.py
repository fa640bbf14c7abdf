"""What the unit tests of the starter rely on, here too."""

from tests.unit.starter.conftest import one_thread

__all__ = ["one_thread"]
