"""Where ffmpeg is, and the arguments that make it safe to point at a file somebody uploaded.

Owns the lookup and the input side of every ffmpeg command line. Runs nothing: the engine child and the
process supervisor do. Standard library only (imageio-ffmpeg is imported when its binary is needed).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

OVERRIDE = "STEMSITE_FFMPEG"

# Containers that hold media and cannot name another file. Playlists (hls, concat, dash, sdp), image
# sequences, raw and script formats are left out: a file is read for what it is, whatever it is called.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,"
    "loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,oma,"
    "rm,shn,tak,truehd,tta,voc,w64,wav,wv,wtv,xwma"
)
PROTOCOLS = "file,pipe"
LARGEST_ALLOCATION = 256 * 1024**2


class FfmpegMissing(RuntimeError):
    """No ffmpeg: neither the system's nor the one a Python package carries."""


def find_ffmpeg() -> Path:
    """The ffmpeg to use: `STEMSITE_FFMPEG` when set, else the system's, else imageio-ffmpeg's binary.

    Raises `FfmpegMissing` saying what to install.
    """
    named = os.environ.get(OVERRIDE)
    found = named or shutil.which("ffmpeg") or _bundled()
    if not found or not Path(found).is_file():
        raise FfmpegMissing("ffmpeg was not found. Install it, or the Python package imageio-ffmpeg.")
    return Path(found).absolute()


def _bundled() -> str | None:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return None
    try:
        return str(get_ffmpeg_exe())
    except RuntimeError:
        return None


def input_arguments(path: Path) -> list[str]:
    """Arguments that open `path` as media and nothing else: no network, no other file, no playlist."""
    return [
        *("-nostdin", "-hide_banner"),
        *("-max_alloc", str(LARGEST_ALLOCATION)),
        *("-protocol_whitelist", PROTOCOLS),
        *("-format_whitelist", DEMUXERS),
        *("-threads", "1"),
        *("-i", f"file:{Path(path).absolute()}"),
    ]


def environment() -> dict[str, str]:
    """The environment for ffmpeg: little more than where its libraries are, and English messages."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "HOME")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "LC_ALL": "C",
        "AV_LOG_FORCE_NOCOLOR": "1",
    }
