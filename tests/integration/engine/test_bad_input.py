"""Files that are not what they say, and runs that are cut short: the right reason, and nothing left behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from separation.engine import wav
from separation.engine.probe import main as probe_main

HEAD = wav.header(1000, bits=16, sample_rate=44100, channels=2)


def wav_with(rate=44100, channels=2, data=b"\1\0" * 2000):
    head = bytearray(HEAD)
    struct.pack_into("<HI", head, 22, channels, rate)
    return bytes(head) + data


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{victim}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile {victim.name}\n"  # ffmpeg refuses other folders by itself

BAD = {
    "empty": (b"", "empty_file"),
    "text": (b"this is not audio\n" * 100, "unreadable_audio"),
    "zeros": (b"\0" * 5000, "unreadable_audio"),
    "no channels": (wav_with(channels=0), "unreadable_audio"),
    "255 channels": (wav_with(channels=255, data=b"\1\0" * 25500), "unsupported_audio"),
    "rate 1": (wav_with(rate=1), "unsupported_audio"),
    "rate 4294967295": (wav_with(rate=4294967295), None),
    "header only": (HEAD, "unreadable_audio"),
    "flac header only": (b"fLaC\x80\x00\x00\x22" + b"\0" * 34, None),
}
REFUSED = {"unreadable_audio", "unsupported_audio"}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_without_usable_audio_is_refused_with_its_reason(engine, tmp_path, kind):
    data, code = BAD[kind]
    path = tmp_path / "input"
    path.write_bytes(data)
    ended = engine.run(path)
    assert ended.status == 3
    assert ended.last["code"] in ({code} if code else REFUSED)
    assert ended.left == []


def test_a_missing_file_says_so(engine, tmp_path):
    assert engine.run(tmp_path / "gone.wav").last["code"] == "file_missing"


def test_a_video_without_sound_says_so(engine, make):
    video = make("mute.mp4", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64")
    assert engine.run(video).last["code"] == "no_audio_stream"


@pytest.fixture
def victim(make, tmp_path):
    """Beside the script, and an MP3: ffmpeg left to itself plays it for both kinds of script."""
    path = make("victim.mp3", "-f", "lavfi", "-i", "sine=d=1")
    return shutil.copy(path, tmp_path / "victim.mp3")


@pytest.mark.parametrize("script", [PLAYLIST, CONCAT])
@pytest.mark.parametrize("extension", ["mp3", "wav", "m3u8"])
def test_a_playlist_never_opens_another_file(engine, victim, tmp_path, script, extension):
    path = tmp_path / f"song.{extension}"
    path.write_text(script.format(victim=victim))
    ended = engine.run(path)
    assert ended.last["code"] == "unreadable_audio"


@pytest.mark.parametrize("claimed", [0, 10, 2**31, 2**32 - 1])
def test_a_header_that_lies_about_its_size_gives_the_samples_there_are(engine, tmp_path, claimed):
    samples = np.random.default_rng(1).standard_normal((44100, 2)).astype(np.float32) * 0.1
    head = bytearray(wav.header(44100, bits=16, sample_rate=44100, channels=2))
    struct.pack_into("<I", head, len(head) - 4, claimed)
    (tmp_path / "liar.wav").write_bytes(bytes(head) + wav.encode(samples, 16))
    ended = engine.run(tmp_path / "liar.wav")
    assert ended.status == 0 or ended.last["code"] == "unreadable_audio"
    if claimed > 44100 * 4:
        assert ended.stem("drums")["samples"] == 44100


def test_long_silence_in_a_small_file_meets_the_cap_on_decoded_length(engine, make):
    path = make("hour.flac", "-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo", "-t", "3600")
    assert path.stat().st_size < 3_000_000
    ended = engine.run(path, max_duration_seconds=600)
    assert ended.last["code"] == "too_long"
    assert "10 minutes" in ended.last["message"]
    assert ended.left == []


def test_a_model_without_weights_says_how_to_get_them(engine, song):
    ended = engine.run(song, model="htdemucs_6s")
    assert ended.last["code"] == "model_unavailable"
    assert "fetch_model htdemucs_6s" in ended.last["message"]


def test_an_unknown_device_is_an_error_and_not_the_cpu(engine, song):
    assert engine.run(song, device="cuda").last["code"] == "device_unavailable"


def test_a_missing_ffmpeg_is_a_reason(engine, song):
    assert engine.run(song, ffmpeg="/nonexistent/ffmpeg").last["code"] == "ffmpeg_missing"


def test_a_plan_with_a_relative_path_is_refused(engine, song):
    assert engine.run(song, output_dir="somewhere").last["code"] == "invalid_option"


def test_a_segment_past_the_networks_own_is_refused_with_the_number(engine, song):
    ended = engine.run(song, segment=2.0)
    assert ended.last["code"] == "invalid_option"
    assert "0.5 s" in ended.last["message"]


def limit_file_size():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


@pytest.mark.parametrize(
    "changes", [{"clip_mode": "rescale"}, {"clip_mode": "none"}, {"clip_mode": "none", "format": "flac"}]
)
def test_a_full_disk_is_a_reason_and_leaves_nothing(engine, song, changes):
    ended = engine.child(song, limit_file_size, **changes)
    assert ended.status == 3, ended.stderr
    assert ended.last["code"] == "disk_full"
    assert ended.left == []


ABANDON = """
import resource, sys
from pathlib import Path
import numpy as np
from separation.engine.encode import Target
from separation.engine.outputs import StemOutput, abandon_all
folder, mode = Path(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
target = {"format": "wav", "quality": {"bits": 16}, "frames": 10**6, "sample_rate": 44100, "channels": 2}
paths = [folder / "a.wav", folder / "b.wav"]
outputs = [StemOutput(p.stem, Target(p, **target, tags={}, ffmpeg=Path()), clip_mode=mode, rounds=1) for p in paths]
try:
    for position in range(0, 10**6, 1500):
        for output in outputs:
            output.deliver(position, np.ones((1500, 2), np.float32))
except OSError:
    abandon_all(outputs)
"""


@pytest.mark.parametrize("mode", ["rescale", "none"])
def test_what_is_still_buffered_when_the_disk_is_full_does_not_keep_the_other_files(tmp_path, mode):
    subprocess.run([sys.executable, "-c", ABANDON, str(tmp_path), mode], check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def children(process, name, deadline=30.0):
    """Child processes of the engine whose command line holds `name`, waiting until there is one."""
    parent = psutil.Process(process.pid)
    end = time.monotonic() + deadline
    while time.monotonic() < end and process.poll() is None:
        found = [child for child in parent.children() if name in child.cmdline()]
        if found:
            return found
        time.sleep(0.01)
    return []


@pytest.fixture
def long_song(make):
    return make("minutes.wav", "-f", "lavfi", "-i", "anoisesrc=d=120:c=pink:r=44100:seed=4", "-ac", "2")


@pytest.mark.parametrize(("part", "code"), [("pipe:1", "decoder_failed"), ("pipe:0", "encoder_failed")])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_helper_is_a_reason_and_leaves_nothing(engine, long_song, part, code, how):
    process, out = engine.start(long_song, clip_mode="none", format="flac", stems=["drums"])
    assert process.stdout is not None
    for line in process.stdout:
        if '"progress"' in line:
            break
    for helper in children(process, part):
        helper.send_signal(how)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 3, rest
    assert f'"{code}"' in rest.splitlines()[-1]
    assert list(out.iterdir()) == []


def test_a_killed_engine_leaves_no_helper(engine, long_song):
    process, _ = engine.start(long_song, clip_mode="none", format="flac")
    assert process.stdout is not None
    for line in process.stdout:
        if '"progress"' in line:
            break
    helpers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate(timeout=60)
    assert helpers
    _, alive = psutil.wait_procs(helpers, timeout=60)
    assert not alive


def test_the_probe_prints_an_error_event_and_exits_3(tmp_path, capsys):
    (tmp_path / "x").write_bytes(b"nothing")
    assert probe_main([str(tmp_path / "x")]) == 3
    assert '"code": "unreadable_audio"' in capsys.readouterr().out


def test_the_probe_imports_neither_torch_nor_numpy():
    code = "import separation.engine.probe, sys; assert not {'torch', 'numpy', 'demucs'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_what_the_web_process_imports_brings_no_torch():
    code = (
        "import separation.options, separation.catalog, separation.formats, separation.ffmpeg, separation.weights, "
        "separation.engine.environment, sys; assert not {'torch', 'numpy', 'demucs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env={**os.environ})
