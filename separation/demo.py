"""The demo song: made in a supervised child, then a track like any other. Owns no synthesis (`starter.demo`)."""

import sys
import tempfile
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User

from memory.processes import EndReason, OperationLimits, ProcessResourceManager
from memory.quantities import MIB
from separation import services
from separation.errors import ReasonCode, ServiceError
from separation.models import SeparationJob

NAME = "Demo song.wav"
LIMITS = OperationLimits(memory_bytes=600 * MIB, wall_seconds=60)


def separate_demo(owner: User) -> SeparationJob:
    """Make the demo song a track of `owner` and submit it with the default options. Raises `ServiceError`."""
    with tempfile.TemporaryDirectory(dir=settings.STAGING_DIR, prefix="demo-") as folder:
        path = Path(folder) / "demo.wav"
        synthesise(path)
        track = services.create_track(owner, path, NAME, move=True)
    return services.submit(owner, track, services.parse_options({}))


def synthesise(path: Path) -> None:
    """Write the demo song to `path`. Raises `ServiceError` when the child fails."""
    command = [sys.executable, "-m", "separation.starter.demo", str(path)]
    outcome = ProcessResourceManager().run(command, limits=LIMITS, label="demo song", cwd=settings.BASE_DIR)
    if outcome.reason != EndReason.COMPLETED or not path.is_file():
        raise ServiceError(ReasonCode.ENGINE_CRASHED, "The demo song could not be made just now. Try again.")
