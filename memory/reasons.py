"""Why an operation waits or is refused, in words with numbers. Pure text; decides nothing."""

from collections.abc import Sequence

from memory.pressure import Level, Pressure
from memory.quantities import format_bytes
from memory.queueing import Candidate, Room, in_order


def waiting_reasons(
    candidates: Sequence[Candidate], room: Room, pressure: Pressure, *, held_for: str = ""
) -> dict[str, str]:
    """By key, e.g. "needs 1.0 GB, 0.4 GB free; 2 jobs ahead". `held_for` is the key of the one others wait for."""
    reasons, ahead = {}, 0
    for candidate in in_order(candidates, room):
        possible = room.can_ever_fit(candidate.bytes)
        reasons[candidate.key] = _why(candidate, room, pressure, held_for) + (_queue(ahead) if possible else "")
        ahead += possible
    return reasons


def _why(candidate: Candidate, room: Room, pressure: Pressure, held_for: str) -> str:
    if not room.can_ever_fit(candidate.bytes):
        return too_big(candidate.bytes, room.heavy_budget)
    if pressure.level is not Level.CALM:
        return pressure.message
    if room.free_slots == 0:
        return places_taken(room)
    if candidate.bytes > room.free_heavy:
        return needs(candidate.bytes, room.free_heavy)
    if held_for not in ("", candidate.key):
        return "fits, but a larger job that has waited longer goes first"
    return "starts when a worker is free"


def _queue(ahead: int) -> str:
    return f"; {ahead} {'job' if ahead == 1 else 'jobs'} ahead" if ahead else ""


def needs(size: int, free: int) -> str:
    return f"needs {format_bytes(size)}, {format_bytes(free)} free"


def places_taken(room: Room) -> str:
    return f"all {room.slots} places are taken" if room.slots > 1 else "the one place is taken"


def too_big(size: int, most: int) -> str:
    return f"needs {format_bytes(size)}, more than the {format_bytes(most)} that one operation can have here"
