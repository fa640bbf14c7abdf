"""The models on offer, what each can do, and what each costs in memory and time.

Owns the table of models, whether their weights are present, the leaner ways to run them, and the default
estimates that calibration starts from. Does not load networks (`separation.engine.loading`), does not
download weights (`separation.weights`), and imports neither torch nor demucs: any process may use it.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from separation.formats import FORMATS

if TYPE_CHECKING:
    from separation.options import SeparationOptions

MIB = 1024**2
FOUR_STEMS = ("drums", "bass", "other", "vocals")
SIX_STEMS = (*FOUR_STEMS, "guitar", "piano")
STARTER = "starter"
RELEASE_MODEL = "htdemucs"
STARTER_DIR = Path(__file__).resolve().parent / "starter" / "weights"


@dataclass(frozen=True)
class Network:
    """One network of a model: the stem of its weights file and its weight for each of the model's sources."""

    signature: str
    weights: tuple[float, ...]

    def contributes(self, sources: Sequence[str], wanted: Sequence[str]) -> bool:
        """Whether any of the `wanted` sources takes something from this network."""
        return any(weight for source, weight in zip(sources, self.weights, strict=True) if source in wanted)


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model before it is loaded.

    `segment_seconds` is what it processes at a time; `max_segment_seconds` the ceiling for an override
    (None: any length). `fixed_segment` models pad a shorter segment to the full one, so a shorter override
    saves neither time nor memory. `megabytes` is the size of the download.
    """

    name: str
    label: str
    description: str
    family: str
    sources: tuple[str, ...]
    networks: tuple[Network, ...]
    segment_seconds: float
    max_segment_seconds: float | None
    fixed_segment: bool
    megabytes: int
    segment_bytes: int
    realtime_factor: float
    sample_rate: int = 44100
    channels: int = 2
    needs_package: str = ""
    release_quality: bool = True

    def networks_for(self, stems: Sequence[str], two_stems: str | None = None) -> tuple[Network, ...]:
        """The networks that contribute to the wanted stems; the others need never run.

        With `two_stems` the complement is the sum of every other source, unless the network set is cheap
        to cut: `separation.engine.two_stems` then takes mixture minus stem for models of one net per stem.
        """
        wanted = self.sources if two_stems and not self.one_network_per_source else self._wanted(stems, two_stems)
        return tuple(net for net in self.networks if net.contributes(self.sources, wanted))

    @property
    def one_network_per_source(self) -> bool:
        """Whether every network contributes to exactly one source (htdemucs_ft)."""
        return len(self.networks) > 1 and all(sum(map(bool, net.weights)) == 1 for net in self.networks)

    def _wanted(self, stems: Sequence[str], two_stems: str | None) -> tuple[str, ...]:
        return (two_stems,) if two_stems else tuple(stems) or self.sources


def _bag(
    signatures: Sequence[str], weights: Sequence[Sequence[float]] | None = None, sources: int = 4
) -> tuple[Network, ...]:
    rows = weights or [[1.0] * sources for _ in signatures]
    return tuple(Network(name, tuple(map(float, row))) for name, row in zip(signatures, rows, strict=True))


_ONE_EACH = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
_MDX_WEIGHTS = [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]

# Signatures and weights are those of the bags that demucs 4.1.0 ships in demucs/remote/*.yaml.
_TABLE = (
    ModelInfo(
        STARTER,
        "Starter",
        "The small model that comes with Stemsite: ready at once, many times faster than real time. "
        "For release quality use htdemucs.",
        "HTDemucs",
        FOUR_STEMS,
        _bag(["starter"]),
        segment_seconds=2.97,
        max_segment_seconds=2.97,
        fixed_segment=True,
        megabytes=8,
        segment_bytes=145 * MIB,
        realtime_factor=12.0,
        release_quality=False,
    ),
    ModelInfo(
        RELEASE_MODEL,
        "HT Demucs",
        "Hybrid Transformer Demucs, the default of Demucs 4: four stems of release quality.",
        "HTDemucs",
        FOUR_STEMS,
        _bag(["955717e8"]),
        segment_seconds=7.8,
        max_segment_seconds=7.8,
        fixed_segment=True,
        megabytes=80,
        segment_bytes=420 * MIB,
        realtime_factor=4.0,
    ),
    ModelInfo(
        "htdemucs_ft",
        "HT Demucs fine-tuned",
        "One fine-tuned HT Demucs per stem: a little better, four times the work for all four stems.",
        "HTDemucs",
        FOUR_STEMS,
        _bag(["f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"], _ONE_EACH),
        segment_seconds=7.8,
        max_segment_seconds=7.8,
        fixed_segment=True,
        megabytes=320,
        segment_bytes=420 * MIB,
        realtime_factor=4.0,
    ),
    ModelInfo(
        "htdemucs_6s",
        "HT Demucs, six stems",
        "HT Demucs with guitar and piano besides the four stems (piano is the weakest).",
        "HTDemucs",
        SIX_STEMS,
        _bag(["5c90dfd2"], sources=6),
        segment_seconds=7.8,
        max_segment_seconds=7.8,
        fixed_segment=True,
        megabytes=55,
        segment_bytes=440 * MIB,
        realtime_factor=4.5,
    ),
    ModelInfo(
        "hdemucs_mmi",
        "Hybrid Demucs (MMI)",
        "Hybrid Demucs 3, retrained on more music.",
        "HDemucs",
        FOUR_STEMS,
        _bag(["75fc33f5"]),
        segment_seconds=44.0,
        max_segment_seconds=None,
        fixed_segment=False,
        megabytes=160,
        segment_bytes=2050 * MIB,
        realtime_factor=3.0,
    ),
    ModelInfo(
        "mdx",
        "MDX",
        "The winner of the 2021 music demixing challenge, trained on MUSDB only: four networks.",
        "Demucs and HDemucs",
        FOUR_STEMS,
        _bag(["0d19c1c6", "7ecf8ec1", "c511e2ab", "7d865c68"], _MDX_WEIGHTS),
        segment_seconds=44.0,
        max_segment_seconds=None,
        fixed_segment=False,
        megabytes=1300,
        segment_bytes=3300 * MIB,
        realtime_factor=2.5,
    ),
    ModelInfo(
        "mdx_extra",
        "MDX extra",
        "The challenge's second-track winner, trained on more music: four networks.",
        "HDemucs",
        FOUR_STEMS,
        _bag(["e51eebcc", "a1d90b5c", "5d2d6c55", "cfa93e08"]),
        segment_seconds=44.0,
        max_segment_seconds=None,
        fixed_segment=False,
        megabytes=640,
        segment_bytes=2050 * MIB,
        realtime_factor=3.0,
    ),
    ModelInfo(
        "mdx_q",
        "MDX, quantised",
        "MDX in a smaller download; a little worse. Needs the diffq package.",
        "Demucs and HDemucs",
        FOUR_STEMS,
        _bag(["6b9c2ca1", "b72baf4e", "42e558d4", "305bc58f"], _MDX_WEIGHTS),
        segment_seconds=44.0,
        max_segment_seconds=None,
        fixed_segment=False,
        megabytes=250,
        segment_bytes=3300 * MIB,
        realtime_factor=2.5,
        needs_package="diffq",
    ),
    ModelInfo(
        "mdx_extra_q",
        "MDX extra, quantised",
        "MDX extra in a smaller download; a little worse. Needs the diffq package.",
        "HDemucs",
        FOUR_STEMS,
        _bag(["83fc094f", "464b36d7", "14fc6a69", "7fd6ef75"]),
        segment_seconds=44.0,
        max_segment_seconds=None,
        fixed_segment=False,
        megabytes=120,
        segment_bytes=3300 * MIB,
        realtime_factor=3.0,
        needs_package="diffq",
    ),
)

MODELS: Mapping[str, ModelInfo] = MappingProxyType({info.name: info for info in _TABLE})


def folder(name: str, model_dir: Path) -> Path:
    """Where the files of a model lie: its bag `<name>.yaml` and one `<signature>.safetensors` per network."""
    return STARTER_DIR if name == STARTER else Path(model_dir) / name


def weight_files(name: str, model_dir: Path) -> tuple[Path, ...]:
    """Every file that must be present before the model can run."""
    place = folder(name, model_dir)
    networks = [place / f"{network.signature}.safetensors" for network in MODELS[name].networks]
    return (place / f"{name}.yaml", *networks)


def unavailable_reason(name: str) -> str:
    """Why this installation cannot run the model whatever is downloaded; empty when it can."""
    info = MODELS[name]
    if info.needs_package and importlib.util.find_spec(info.needs_package) is None:
        return f"{info.label} needs the Python package {info.needs_package}, which is not installed."
    return ""


def is_ready(name: str, model_dir: Path) -> bool:
    """Whether a job with this model can start now: known, supported here, and all its files present."""
    if name not in MODELS or unavailable_reason(name):
        return False
    return all(path.is_file() for path in weight_files(name, model_dir))


def default_model(model_dir: Path) -> str:
    """The model a job gets when none is named: htdemucs when it is ready, the starter model otherwise."""
    return RELEASE_MODEL if is_ready(RELEASE_MODEL, model_dir) else STARTER


@dataclass(frozen=True)
class LeanSettings:
    """How a run is made smaller: threads, segment (None: the model's own), segments read ahead, and `lanes`, the
    segments computed side by side on a CPU."""

    threads: int
    segment: float | None
    prefetch: int
    lanes: int = 1


LANES_BYTES = 300 * MIB
"""What segments computed side by side may take together: only small models are computed so."""


def lean_steps(name: str) -> tuple[str, ...]:
    """What each leaner step changes, in words; step 1 is the first. Each includes those before it."""
    info = MODELS[name]
    steps = ["one thread and no reading ahead"]
    if not info.fixed_segment:
        half, quarter = info.segment_seconds / 2, info.segment_seconds / 4
        steps += [f"segments of {half:g} s", f"segments of {quarter:g} s"]
    return tuple(steps)


def lean_settings(name: str, lean: int, *, threads: int, segment: float | None) -> LeanSettings:
    """The settings of a run at a lean step (0: none). Steps past the last are the last."""
    info = MODELS[name]
    lean = max(0, min(lean, len(lean_steps(name))))
    if lean == 0:
        return LeanSettings(threads, segment, prefetch=2, lanes=min(threads, max(1, LANES_BYTES // info.segment_bytes)))
    if lean == 1:
        return LeanSettings(1, segment, prefetch=0)
    shorter = (segment or info.segment_seconds) / 2 ** (lean - 1)
    return LeanSettings(1, shorter, prefetch=0)


def estimate_features(options: SeparationOptions, lean: int = 0) -> dict[str, float | int | str]:
    """What the memory of a run depends on. Its length is not among it."""
    return {
        "model": options.model,
        "mode": options.mode,
        "segment": options.segment or 0,
        "lean": lean,
        "stems": 2 if options.two_stems else len(options.stems),
        "format": options.format,
    }


ENGINE_BYTES = 270 * MIB
"""The engine before any audio: Python, torch, allocator."""

DECODER_BYTES = 60 * MIB
"""ffmpeg decoding and resampling (56 to 59 MB measured with MP3, 96 kHz FLAC and MP4)."""

ENCODER_BYTES = 25 * MIB
"""One ffmpeg more: most of its pages are the decoder's too. A WAV is written without one."""

SEGMENT_FLOOR = 0.2
"""Share of a segment's memory that a shorter segment does not save (measured with hdemucs_mmi: 22 against 44 s)."""


def default_bytes(options: SeparationOptions, lean: int = 0) -> int:
    """Estimated peak memory, in bytes, of the process tree of one run; independent of its length.

    Measured with the networks' true architectures; recorded peaks replace it as they come in.
    """
    info = MODELS[options.model]
    settings = lean_settings(options.model, lean, threads=2, segment=options.segment)
    scale = 1.0
    if not info.fixed_segment and settings.segment:
        scale = SEGMENT_FLOOR + (1 - SEGMENT_FLOOR) * settings.segment / info.segment_seconds
    # A network is read in half precision and kept in single: three times its file, one network at a time.
    weights = int(info.megabytes / max(1, len(info.networks)) * 3 * MIB)
    return (
        ENGINE_BYTES
        + DECODER_BYTES
        + encoder_bytes(options)
        + weights
        + int(info.segment_bytes * settings.lanes * scale)
    )


def encoder_bytes(options: SeparationOptions) -> int:
    """Estimated memory of what writes the stems of one run, all together."""
    stems = 2 if options.two_stems else len(options.stems)
    return 0 if options.format == "wav" else stems * ENCODER_BYTES


def disk_bytes(options: SeparationOptions, duration: float) -> int:
    """Upper bound of what a run of `duration` seconds writes, staging included.

    A stem is staged as float32 when it is rescaled or when several networks add to it; see `engine.staging`.
    """
    info = MODELS[options.model]
    outputs = 2 if options.two_stems else len(options.stems)
    sound = FORMATS[options.format].bytes_per_second(
        options.quality, sample_rate=info.sample_rate, channels=info.channels
    )
    several = len(info.networks_for(options.stems, options.two_stems)) > 1 and not info.one_network_per_source
    staged = info.sample_rate * info.channels * 4 if options.clip_mode == "rescale" or several else 0
    return int(outputs * duration * (sound + staged)) + MIB


def expected_seconds(options: SeparationOptions, duration: float, lean: int = 0, *, cores: int = 2) -> float:
    """Expected wall time of a run in seconds, from measured speeds; a first guess for ETA and stall limits."""
    info = MODELS[options.model]
    networks = len(info.networks_for(options.stems, options.two_stems))
    passes = networks * max(1, options.shifts)
    speed = info.realtime_factor * (1.6 if options.mode == "fast" else 1.0) * math.sqrt(max(1, cores) / 2)
    slower = 1.8 if lean else 1.0
    overlap = 0.75 / (1 - options.overlap)
    return 4.0 + duration * passes * overlap * slower / speed + duration / 200


def stall_seconds(options: SeparationOptions, *, cores: int = 2, factor: float = 30.0) -> float:
    """How long a run may show no progress before it counts as stalled: `factor` expected segments."""
    info = MODELS[options.model]
    segment = options.segment or info.segment_seconds
    return max(120.0, factor * segment / (info.realtime_factor * math.sqrt(max(1, cores) / 2)))
