"""`manage.py separate`: files in, folders of stems out, with no database, and nothing left when it fails."""

import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from separation.errors import ServiceError
from separation.services import offline
from separation.services.offline import separate_file
from separation.services.submission import parse_options
from tests.acceptance.instance import ROOT, SMALL, gone, wait_for
from tests.benchmarks.standins import write_standin

from .bad_files import encoded, tone, write_wav

STEMS = ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instance") / "models"
    write_standin(folder, "htdemucs", overrides=SMALL)
    return folder


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "My song.wav", tone(0.5))


@pytest.fixture(autouse=True)
def models(settings, model_dir: Path) -> None:  # type: ignore[no-untyped-def]
    settings.MODEL_DIR = model_dir


def command(model_dir: Path, *arguments: object) -> tuple[list[str], dict[str, str]]:
    env = {**os.environ, "DATA_DIR": str(model_dir.parent), "DJANGO_SETTINGS_MODULE": "stemsite.settings"}
    env["DATABASE_URL"] = "postgres://nobody@127.0.0.1:1/none"  # to be reached by nothing
    return [sys.executable, "manage.py", "separate", *map(str, arguments)], env


def test_stems_lie_in_a_folder_named_after_the_file_with_no_database_asked(
    model_dir: Path, song: Path, tmp_path: Path
) -> None:
    argv, env = command(model_dir, song, "--model", "htdemucs", "--shifts", 0, "--out", tmp_path / "out", "--json")
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "My song"
    assert sorted(path.name for path in folder.iterdir()) == STEMS
    told = json.loads(done.stdout)
    assert told["stems"]["bass"] == str(folder / "bass.wav") and told["peak_bytes"] > 0
    with wave.open(str(folder / "bass.wav")) as stem:
        assert stem.getnframes() == 22050


def test_the_folder_may_be_given_from_where_one_stands(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call_command("separate", song.name, model="htdemucs", two_stems="vocals", out=Path("out"))
    assert sorted(path.name for path in (tmp_path / "out" / "My song").iterdir()) == ["no_vocals.wav", "vocals.wav"]


def test_a_bad_file_is_named_with_its_reason_and_the_others_get_a_folder_each(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "letter.mp3"
    bad.write_text("dear reader")
    namesake, out = encoded(tmp_path / "My song.flac", seconds=0.3), tmp_path / "out"
    with pytest.raises(CommandError) as failure:
        call_command(
            "separate", bad, song, tmp_path / "none.wav", namesake, model="htdemucs", two_stems="vocals", out=out
        )
    assert failure.value.returncode == 1
    shown = capsys.readouterr()
    assert "letter.mp3: No audio could be read" in shown.err and "There is no file" in shown.err
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {f"{name}/{stem}.wav" for name in ("My song", "My song (2)") for stem in ("no_vocals", "vocals")}


def test_a_folder_where_a_stem_is_to_be_is_named_before_anything_is_done(song: Path, tmp_path: Path) -> None:
    (tmp_path / "vocals.wav").mkdir()
    (tmp_path / "bass.wav").write_text("an earlier one")
    with pytest.raises(ServiceError, match=r"vocals\.wav cannot be written: it is a folder"):
        separate_file(song, parse_options({"model": "htdemucs"}), tmp_path, engine=["/not/to/be/started"])
    assert (tmp_path / "bass.wav").read_text() == "an earlier one"


def test_stems_of_which_one_cannot_be_put_in_its_place_are_all_taken_back(song: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def be_in_the_way(_phase: str, _fraction: float) -> None:
        (folder / "vocals.wav").mkdir(exist_ok=True)

    with pytest.raises(ServiceError) as refusal:
        separate_file(song, parse_options({"model": "htdemucs"}), folder, on_progress=be_in_the_way)
    assert refusal.value.code == "storage_failed"
    assert [path.name for path in folder.iterdir()] == ["vocals.wav"]


@pytest.mark.parametrize(
    "name", ["a\r\nb.wav", "\x1b[2Jgone.wav", "x\u202egpj.wav", os.fsdecode(b"latin-\xe9.wav"), "-rf.wav"]
)
def test_a_hostile_name_commands_neither_the_terminal_nor_the_folder(
    name: str, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    song.rename(name)
    call_command("separate", "--", name, model="htdemucs", two_stems="vocals", out=Path("out"))
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1 and shown.strip().isprintable()
    (folder,) = Path("out").iterdir()
    assert folder.name.isprintable() and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "spleeter"}, "There is no model"),
        ({"model": "htdemucs", "two_stems": "kazoo"}, "has no stem"),
        ({"model": "htdemucs", "shifts": "nan"}, "shifts must be"),
        ({"model": "htdemucs", "format": "mp3", "bitrate": 7}, "bitrate must be"),
        ({"model": "mdx"}, "fetch_model mdx"),
    ],
)
def test_wrong_use_is_one_clear_sentence_and_status_2(asked: dict[str, object], says: str, song: Path) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("separate", song, **asked)
    assert refusal.value.returncode == 2 and says in str(refusal.value)


def heeding_interrupts() -> None:
    """In the child: a suite started in the background of a script hands down that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interruption_leaves_no_file_and_no_process(model_dir: Path, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "long.wav", tone(60))
    argv, env = command(model_dir, song, "--model", "htdemucs", "--shifts", 20, "--out", tmp_path / "out")
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=env,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        preexec_fn=heeding_interrupts,
    )
    staged = "out/long/.stemsite-*/0/*"
    wait_for(lambda: list(tmp_path.glob(staged)) or process.poll() is not None, 180, "the engine to write")
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted" in told
    assert not (tmp_path / "out").exists()
    wait_for(lambda: gone(family), 30, "its processes to be gone")


def test_a_run_over_its_memory_limit_is_tried_leaner_then_told(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings
) -> None:  # type: ignore[no-untyped-def]
    settings.PROCESS_MEMORY_LIMIT_MB = 150
    leans: list[int] = []
    supervise = offline._supervise

    def noted(plan, *rest):  # type: ignore[no-untyped-def]
        leans.append(plan["lean"])
        return supervise(plan, *rest)

    monkeypatch.setattr(offline, "_supervise", noted)
    with pytest.raises(offline.ServiceError) as failure:
        separate_file(song, parse_options({"model": "htdemucs"}), tmp_path / "out")
    assert failure.value.code == "memory_limit" and leans == [0, 1]
    assert not (tmp_path / "out").exists()
