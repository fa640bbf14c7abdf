"""Filters that turn numbers and codes into what people read. Owns wording of quantities on pages only."""

from collections.abc import Collection, Iterable

from django import template

from memory.quantities import format_bytes
from separation import catalog
from separation.formats import FORMATS
from separation.models import SeparationJob, Stem

register = template.Library()

SHORT_BY = 1.0  # seconds that stems may lack of their track's stated length without a word: statements are rounded


@register.filter
def size(count: int | None) -> str:
    """Bytes as people read them."""
    return format_bytes(int(count or 0))


@register.filter
def clock(seconds: float | None) -> str:
    """`3:05`, `1:02:09`; a dash when unknown. Seconds are whole ones that passed, as the player counts them."""
    if seconds is None or seconds < 0:
        return "–"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


@register.filter
def percent(fraction: float | None) -> int:
    """0 to 1 as a whole percentage; 100 only when all is done."""
    return max(0, min(100, int((fraction or 0) * 100)))


@register.filter
def share(part: int | None, whole: int | None) -> int:
    """What percentage `part` is of `whole`, 0 to 100."""
    return percent((part or 0) / whole) if whole else 0


@register.filter
def model_label(name: str) -> str:
    """A model's name for people; the bare name for one no longer in the catalogue."""
    info = catalog.MODELS.get(name)
    return info.label if info else name


@register.filter
def codec_label(codec: str) -> str:
    """`pcm_s24le` as "PCM": the rest is ffmpeg's concern."""
    return "PCM" if codec.startswith("pcm_") else codec


@register.filter
def stem_label(name: str) -> str:
    """`vocals` as "Vocals", `no_vocals` as "Without vocals"."""
    return f"Without {name[3:]}" if name.startswith("no_") else name.capitalize()


@register.filter
def shortfall(job: SeparationJob, stems: Collection[Stem]) -> str:
    """Where a job's stems end, in words, if the file had less music than it states; empty if it had all of it."""
    end, stated = max(stem.seconds for stem in stems), job.track.duration_seconds or 0
    of = f" of {clock(stated)}" if stated - end > SHORT_BY else ""
    if job.result.get("truncated_input"):
        return f"The file broke off after {clock(end)}{of}; the stems end there."
    return f"The music in the file ends after {clock(end)}{of}; the stems end there." if of else ""


@register.filter
def describe_options(options: dict) -> str:
    """One line: what was asked for."""
    two = options.get("two_stems")
    stems = f"{two} and the rest" if two else ", ".join(vocals_first(options.get("stems") or []))
    return " · ".join(part for part in (options.get("preset", ""), stems, _files(options)) if part)


def vocals_first(stems: Iterable[str]) -> list[str]:
    """Stems in the order people expect; the rest as the model has them."""
    return sorted(stems, key=lambda stem: stem != "vocals")


def _files(options: dict) -> str:
    audio = FORMATS.get(options.get("format", ""))
    if audio is None:
        return ""
    quality = options.get("quality") or {}
    labels = [s.labels.get(quality[s.name], "") for s in audio.qualities if s.name in quality]
    return " ".join((audio.label, *filter(None, labels)))
