"""Material of other tools: the MIDI written for them, the folders of stems read back."""

import numpy as np
import pytest

from separation.starter import outside


def test_folders_of_stems_are_read_back_as_written(tmp_path):
    song = np.random.default_rng(0).uniform(-0.9, 0.9, (4, 2, 4000)).astype(np.float32)
    (tmp_path / "a").mkdir()
    for stem, audio in zip(outside.STEMS, song, strict=True):
        outside.write_wav(tmp_path / "a" / f"{stem}.wav", audio)
    (found,) = outside.stem_folders(tmp_path)
    assert np.abs(found - song).max() < 1e-4


def test_a_folder_without_stems_says_what_it_looks_for(tmp_path):
    with pytest.raises(ValueError, match=r"drums\.wav"):
        next(outside.stem_folders(tmp_path))


def test_a_midi_file_holds_its_notes_in_order_with_delta_times():
    data = outside.midi_file([(1, 40, [(0, 480, 60, 90), (480, 480, 62, 90)])], tempo=120)
    assert data[:14] == b"MThd" + bytes([0, 0, 0, 6, 0, 1, 0, 2, 1, 0xE0])
    assert b"\xff\x51\x03\x07\xa1\x20" in data  # 500,000 microseconds a beat
    track = data[data.rindex(b"MTrk") + 8 :]
    assert track == bytes.fromhex("00c128 00913c5a 8360813c00 00913e5a 8360813e00 00ff2f00".replace(" ", ""))
