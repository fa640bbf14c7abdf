"""The demo song: made in a supervised child, then an upload like any other. Owns no synthesis (`starter.demo`)."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User

from memory.limiter import ConcurrentOperationLimiter, NotAdmitted
from memory.processes import EndReason, OperationLimits, ProcessResourceManager
from memory.quantities import MIB
from memory.streaming import StreamingFileHandler
from separation import services
from separation.errors import ReasonCode, ServiceError
from separation.models import SeparationJob, Track
from separation.services.children import environment
from separation.uploads.oneshot import take_file

NAME = "Demo song.wav"
PROGRAM = (sys.executable, "-m", "separation.starter.demo")
EXPECTED_BYTES = 250 * MIB
SECONDS = 60.0
LIMITS = OperationLimits(memory_bytes=600 * MIB, wall_seconds=SECONDS)


def separate_demo(owner: User) -> SeparationJob:
    """Submit the demo song with the default options, as the track of it that `owner` has, or a new one.

    Raises `ServiceError`, and `Problem` when a limit of uploads refuses the new one.
    """
    song = demo_song(str(owner.pk))
    sha256 = StreamingFileHandler().sha256(song)
    track = Track.objects.filter(owner=owner, sha256=sha256).first()
    track = track or take_file(owner, song, NAME, sha256=sha256, move=False)
    return services.submit(owner, track, services.parse_options({}))


def demo_song(owner: str, program: Sequence[str] = PROGRAM) -> Path:
    """The song, which is always the same: made at the first call on this host. Raises `ServiceError`."""
    kept = Path(settings.DATA_DIR) / "demo-song.wav"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=settings.STAGING_DIR, prefix="demo-") as folder:
            draft = Path(folder) / kept.name
            synthesise(draft, owner, program)
            draft.replace(kept)
    return kept


def synthesise(path: Path, owner: str, program: Sequence[str] = PROGRAM) -> None:
    """Write the demo song to `path`. Raises `ServiceError` when there is no room now, or the child fails."""
    try:
        with ConcurrentOperationLimiter().admitted(
            kind="demo", key=f"demo {uuid4()}", bytes=EXPECTED_BYTES, owner=owner, lease_seconds=SECONDS + 10
        ):
            outcome = ProcessResourceManager().run(
                [*program, str(path)], limits=LIMITS, label="demo song", cwd=path.parent, env=environment()
            )
    except NotAdmitted as refusal:
        raise ServiceError(ReasonCode.BUSY, http_status=503) from refusal
    if outcome.reason != EndReason.COMPLETED or not path.is_file():
        raise ServiceError(ReasonCode.ENGINE_CRASHED, "The demo song could not be made just now. Try again.")
