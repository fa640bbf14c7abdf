"""Whole runs of the engine on real files: what comes out, in every format, for every way of asking."""

import hashlib
import struct
import subprocess
import weakref
import zlib

import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.audio import prevent_clip
from demucs.hf import load_safetensors_model

from separation.catalog import MODELS
from separation.engine import encode, progress, wav
from tests.benchmarks.standins import ARCHITECTURES, write_standin


def expected_stems(song, model_dir, decoded, **options):
    """Demucs's own result for the tiny htdemucs, clipping included: (stems, channels, frames)."""
    network = load_safetensors_model(model_dir / "htdemucs" / "955717e8.safetensors").eval()
    mix = torch.from_numpy(decoded(song).T.copy())
    reference = mix.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    with torch.no_grad():
        out = apply_model(network, ((mix - mean) / std)[None], shifts=0, **options)[0] * std + mean
    return dict(zip(network.sources, out, strict=True))


def test_stems_are_those_demucs_gives(engine, song, model_dir, decoded):
    ended = engine.run(song, quality={"bits": 32})
    for name, samples in expected_stems(song, model_dir, decoded, overlap=0.25).items():
        ours = decoded(ended.folder / f"{name}.wav").T
        assert np.abs(ours - prevent_clip(samples).numpy()).max() <= 1e-5


def test_the_result_describes_every_file(engine, song):
    ended = engine.run(song)
    assert ended.status == 0
    assert ended.left == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    for output in ended.last["outputs"]:
        data = (ended.folder / output["file"]).read_bytes()
        assert output["bytes"] == len(data)
        assert output["sha256"] == hashlib.sha256(data).hexdigest()
        assert output["crc32"] == zlib.crc32(data)
        assert (output["samples"], output["sample_rate"], output["channels"]) == (101430, 44100, 2)


def test_phases_come_in_order_and_progress_ends_at_one(engine, song):
    events = engine.run(song).events
    assert [e["phase"] for e in events if e["event"] == "phase"] == ["loading", "scanning", "separating", "finishing"]
    fractions = [e["fraction"] for e in events if e["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("bits", [16, 24])
def test_flac_and_wav_hold_the_same_samples(engine, song, decoded, bits):
    stems = {"stems": ["bass"], "quality": {"bits": bits}}
    wav = engine.run(song, **stems).folder / "bass.wav"
    flac = engine.run(song, **stems, format="flac").folder / "bass.flac"
    assert np.array_equal(decoded(wav), decoded(flac))


@pytest.mark.parametrize("name", ["mp3", "opus", "ogg", "m4a"])
def test_lossy_formats_carry_the_tags_and_nearly_the_length(engine, song, ffmpeg, name):
    from separation.engine.probe import probe

    tags = {"title": 'A "title"; with = signs', "artist": "Ärtist"}
    ended = engine.run(song, stems=["vocals"], format=name, tags=tags)
    facts = probe(ended.folder / f"vocals.{name}", ffmpeg)
    assert facts.tags == {"title": 'A "title"; with = signs - vocals', "artist": "Ärtist"}
    assert facts.duration == pytest.approx(2.3, abs=0.1)
    assert ended.stem("vocals")["samples"] == 101430


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp", "none"])
def test_clip_modes_are_those_of_demucs(engine, song, model_dir, decoded, clip_mode):
    ended = engine.run(song, stems=["drums"], clip_mode=clip_mode, quality={"bits": 32})
    expected = prevent_clip(expected_stems(song, model_dir, decoded, overlap=0.25)["drums"], mode=clip_mode)
    ours = decoded(ended.folder / "drums.wav").T
    assert np.abs(ours - expected.clamp(-1, 1).numpy()).max() <= 1e-5


def test_the_complement_of_two_stems_adds_up_to_all_others(engine, song, model_dir, decoded):
    ended = engine.run(song, two_stems="vocals", clip_mode="none", quality={"bits": 32})
    stems = expected_stems(song, model_dir, decoded, overlap=0.25)
    rest = sum(samples for name, samples in stems.items() if name != "vocals")
    assert ended.left == ["no_vocals.wav", "vocals.wav"]
    assert np.abs(decoded(ended.folder / "no_vocals.wav").T - rest.clamp(-1, 1).numpy()).max() <= 2e-5


def test_two_stems_of_a_fine_tuned_bag_run_one_network_and_sum_to_the_mixture(engine, song, decoded):
    ended = engine.run(song, model="htdemucs_ft", two_stems="vocals", clip_mode="none", quality={"bits": 32})
    assert ended.last["effective"]["networks"] == ["04573f0d"]
    both = decoded(ended.folder / "vocals.wav") + decoded(ended.folder / "no_vocals.wav")
    assert np.abs(both - decoded(song)).max() <= 1e-5


def test_a_bag_whose_networks_all_contribute_adds_them_up(engine, song, model_dir, decoded, tmp_path):
    import shutil

    import yaml

    mixed = tmp_path / "mixed"
    shutil.copytree(model_dir / "htdemucs_ft", mixed / "htdemucs_ft")
    bag = {
        "models": [n.signature for n in MODELS["htdemucs_ft"].networks],
        "weights": [[1, 2, 0, 1]] * 2 + [[1, 0, 3, 1]] * 2,
    }
    (mixed / "htdemucs_ft" / "htdemucs_ft.yaml").write_text(yaml.safe_dump(bag))
    engine.model_dir = mixed
    together = engine.run(song, model="htdemucs_ft", clip_mode="none", quality={"bits": 32})
    (mixed / "htdemucs_ft" / "htdemucs_ft.yaml").write_text(
        yaml.safe_dump({**bag, "weights": [[1, 2, 0, 1]] * 2 + [[0, 0, 3, 0]] * 2})
    )
    first = engine.run(song, model="htdemucs_ft", stems=["bass"], clip_mode="none", quality={"bits": 32})
    assert together.last["effective"]["networks"] == bag["models"]
    assert first.last["effective"]["networks"] == bag["models"][:2]
    assert np.array_equal(decoded(together.folder / "bass.wav"), decoded(first.folder / "bass.wav"))


def test_the_same_seed_gives_the_same_bytes(engine, song):
    first = engine.run(song, shifts=2, seed=11)
    second = engine.run(song, shifts=2, seed=11)
    other = engine.run(song, shifts=2, seed=12)
    assert first.stem("drums")["sha256"] == second.stem("drums")["sha256"] != other.stem("drums")["sha256"]
    assert first.last["offsets"] == second.last["offsets"]


def test_a_lean_run_gives_the_same_samples(engine, song):
    usual, lean = engine.run(song), engine.run(song, lean=1)
    assert lean.last["effective"]["threads"] == 1
    assert lean.stem("bass")["sha256"] == usual.stem("bass")["sha256"]


INPUTS = {
    "mp3": ("a.mp3", ["-ac", "2"]),
    "ogg": ("a.ogg", ["-c:a", "libvorbis", "-ac", "2"]),
    "m4a": ("a.m4a", ["-ac", "2"]),
    "hi-res flac": ("a.flac", ["-ar", "96000", "-sample_fmt", "s32", "-ac", "2"]),
    "mono 8 kHz wav": ("a.wav", ["-ar", "8000", "-ac", "1"]),
    "5.1 wav": ("six.wav", ["-ac", "6"]),
    "float wav": ("float.wav", ["-c:a", "pcm_f32le"]),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_whatever_ffmpeg_decodes_gives_stems_of_one_length(engine, make, kind):
    name, arguments = INPUTS[kind]
    path = make(name, "-f", "lavfi", "-i", "sine=330:d=1.37", *arguments)
    ended = engine.run(path, format="flac")
    assert ended.status == 0, ended.last
    samples = {output["samples"] for output in ended.last["outputs"]}
    assert samples == {ended.last["effective"]["samples"]}
    assert samples.pop() == pytest.approx(1.37 * 44100, abs=2500)


def test_the_first_reading_says_how_far_it_has_come(engine, song, decoded, monkeypatch):
    monkeypatch.setattr(progress, "READING_INTERVAL", 0.0)
    ended = engine.run(song, stems=["bass"])
    read = [event["frames_read"] for event in ended.events if event["event"] == "note"]
    assert read == sorted(read) and read[-1] == len(decoded(song))


def test_of_very_many_channels_the_first_two_are_taken(engine, tmp_path):
    samples = np.random.default_rng(0).standard_normal((22050, 12)).astype(np.float32) * 0.1
    head = wav.header(22050, bits=16, sample_rate=44100, channels=12)
    (tmp_path / "twelve.wav").write_bytes(head + wav.encode(samples, 16))
    ended = engine.run(tmp_path / "twelve.wav")
    assert ended.last["effective"]["samples"] == 22050
    mono = samples[:, :2].mean(axis=1)
    assert ended.last["effective"]["std"] == pytest.approx(mono.std(), rel=1e-3)


def test_the_sound_of_a_video_is_separated(engine, make):
    video = make("clip.mp4", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-f", "lavfi", "-i", "sine=330:d=1")
    assert engine.run(video).status == 0


@pytest.mark.parametrize("frames", [1, 2, 22049, 22050, 22051])
def test_short_files_keep_their_length(engine, make, decoded, frames):
    path = make(
        f"short{frames}.wav",
        "-f",
        "lavfi",
        "-i",
        "sine=440:d=2:r=44100",
        "-af",
        f"atrim=end_sample={frames}",
        "-ac",
        "2",
    )
    ended = engine.run(path, quality={"bits": 32})
    assert len(decoded(ended.folder / "drums.wav")) == frames
    assert np.isfinite(decoded(ended.folder / "drums.wav")).all()


def test_silence_stays_nearly_silent(engine, make, decoded):
    path = make("silence.wav", "-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo", "-t", "1")
    ended = engine.run(path, quality={"bits": 32})
    assert np.abs(decoded(ended.folder / "vocals.wav")).max() < 1e-6


def test_not_a_number_and_infinity_in_a_float_file_give_finite_stems(engine, tmp_path, decoded):
    samples = np.random.default_rng(0).standard_normal((44100, 2)).astype(np.float32) * 0.2
    head = wav.header(44100, bits=32, sample_rate=44100, channels=2)
    samples[100:200] = np.nan
    samples[300, 0] = np.inf
    (tmp_path / "nan.wav").write_bytes(head + samples.tobytes())
    ended = engine.run(tmp_path / "nan.wav", quality={"bits": 32})
    for output in ended.last["outputs"]:
        stem = decoded(ended.folder / output["file"])
        assert np.isfinite(stem).all()
        assert stem.any()


def test_a_truncated_file_gives_what_can_be_decoded(engine, make, tmp_path):
    whole = make("long.flac", "-f", "lavfi", "-i", "anoisesrc=d=4:r=44100:seed=2", "-ac", "2").read_bytes()
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    ended = engine.run(tmp_path / "half.flac")
    assert ended.status == 0
    assert 44100 < ended.stem("drums")["samples"] < 4 * 44100


TINY_WAVEFORM = {"channels": 4, "depth": 2, "dconv_depth": 1, "lstm_layers": 0, "resample": False, "segment": 1}


@pytest.fixture
def networks_alive(monkeypatch):
    """How many networks loaded before were still in memory, each time the engine loads one."""
    from separation.engine import run

    loaded, alive, load = [], [], run.load_network

    def watched(*arguments):
        alive.append(sum(network() is not None for network in loaded))
        network = load(*arguments)
        loaded.append(weakref.ref(network))
        return network

    monkeypatch.setattr(run, "load_network", watched)
    return alive


def test_of_a_bag_only_one_network_is_in_memory_at_a_time(engine, song, networks_alive):
    assert engine.run(song, model="htdemucs_ft").status == 0
    assert networks_alive == [0, 0, 0, 0]


def test_a_network_that_says_how_long_its_input_is_goes_before_the_next_one_comes(
    engine, song, tmp_path, monkeypatch, networks_alive
):
    """The first generation's, of which `mdx` has some: the rules for its segments hold it too."""
    monkeypatch.setitem(ARCHITECTURES, "mdx", ("Demucs", TINY_WAVEFORM))
    engine.model_dir = write_standin(tmp_path, "mdx").parent
    assert engine.run(song, model="mdx", segment=0.5).status == 0
    assert networks_alive == [0, 0, 0, 0]


SPEAKERS = {"sides": 0x600, "backs": 0x30, "left and low": 0x9, "centre and low": 0xC}


@pytest.mark.parametrize("pair", SPEAKERS)
def test_two_channels_are_taken_as_they_are_whatever_they_are_called(engine, tmp_path, pair):
    path, samples = wav_of(tmp_path, channels=2, speakers=SPEAKERS[pair])
    ended = engine.run(path)
    assert ended.status == 0, ended.last
    assert ended.last["effective"]["std"] == pytest.approx(samples.mean(axis=1).std(), rel=1e-3)


def test_of_channels_that_cannot_be_mixed_the_first_two_are_taken(engine, tmp_path):
    path, samples = wav_of(tmp_path, channels=3, speakers=0x13)  # left, right and one back
    ended = engine.run(path)
    assert ended.status == 0, ended.last
    assert ended.last["effective"]["std"] == pytest.approx(samples[:, :2].mean(axis=1).std(), rel=1e-3)


def test_the_sound_of_a_full_sphere_is_separated(engine, tmp_path, ffmpeg):
    quad, _ = wav_of(tmp_path, channels=4, speakers=0xF)
    path = tmp_path / "sphere.opus"
    sphere = ["-af", "channelmap=map=0|1|2|3:channel_layout='ambisonic 1'", "-c:a", "libopus", "-mapping_family", "2"]
    subprocess.run([str(ffmpeg), "-loglevel", "error", "-i", str(quad), *sphere, str(path)], check=True, timeout=60)
    assert engine.run(path).status == 0


def wav_of(folder, *, channels, speakers):
    """A second of noise in an extensible WAV (Microsoft, 2001) with that mask of loudspeakers; and its samples."""
    samples = (np.random.default_rng(0).standard_normal((44100, channels)) * 3000).astype("<i2")
    block, size = 2 * channels, samples.nbytes
    form = struct.pack("<HHIIHHHHI", 0xFFFE, channels, 44100, 44100 * block, block, 16, 22, 16, speakers)
    form += bytes.fromhex("0100000000001000800000aa00389b71")
    path = folder / f"{channels}-{speakers:x}.wav"
    head = b"RIFF" + struct.pack("<I", 20 + len(form) + size) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    path.write_bytes(head + b"data" + struct.pack("<I", size) + samples.tobytes())
    return path, samples.astype(np.float32) / 32768


@pytest.mark.parametrize("frames", [1, 15])
def test_the_shortest_music_fits_into_every_lossless_format(engine, tmp_path, decoded, frames):
    (tmp_path / "short.wav").write_bytes(
        wav.header(frames, bits=16, sample_rate=44100, channels=2) + b"\1\2" * 2 * frames
    )
    ended = engine.run(tmp_path / "short.wav", format="flac", stems=["bass"])
    assert ended.status == 0, ended.last
    assert len(decoded(ended.folder / "bass.flac")) == frames


def test_the_header_of_a_long_m4a_says_what_the_encoder_put_in_front(engine, song, monkeypatch):
    monkeypatch.setattr(encode, "LONG_M4A_SECONDS", 1)
    ended = engine.run(song, format="m4a", stems=["bass"])
    data = (ended.folder / "bass.m4a").read_bytes()
    assert b"moof" in data
    edit = data.index(b"elst")  # ISO 14496-12, 8.6.6: version, count, duration, first sample played
    assert struct.unpack_from(">i", data, edit + 16) == (1024,)
