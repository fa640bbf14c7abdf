"""Beginning a thread that a stop need not wait for. Owns no thread and no work."""

import threading
from collections.abc import Callable


def begin(name: str, work: Callable[..., object], *args: object) -> threading.Thread:
    """A daemon thread at `work`. Raises OSError when the system has none left, which may pass like a full disk."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(f"no thread could be started for {name}") from error
    return thread
