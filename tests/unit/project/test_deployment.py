"""The files for systemd and containers agree with what they start."""

import configparser
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
RUNS = {"manage.py", "memory", "separation", "static", "stemsite", "supervisord.conf", "templates"}


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "stemsite.service")
    return parser["Service"]


def container() -> dict[str, object]:
    service: dict[str, object] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["stemsite"]
    return service


@pytest.fixture
def longest_stop() -> int:
    """Seconds that supervisord may take: it stops one program after the other."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "supervisord.conf")
    return sum(int(parser[name].get("stopwaitsecs", "10")) for name in parser.sections() if ":" in name)


def test_systemd_waits_for_all_that_the_service_puts_in_order(longest_stop: int) -> None:
    assert int(unit()["TimeoutStopSec"]) >= longest_stop


def test_a_container_is_given_the_time_too(longest_stop: int) -> None:
    assert int(str(container()["stop_grace_period"]).removesuffix("s")) >= longest_stop


def test_a_container_holds_all_that_runs() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert not {name for name in RUNS for pattern in left_out if fnmatch(name, pattern)}
    assert {path.name for path in ROOT.iterdir()} >= RUNS


def test_a_container_s_data_are_kept_where_the_image_says() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert "DATA_DIR=/data " in image and "VOLUME /data" in image
    assert container()["volumes"] == ["data:/data"]
