"""The live picture as plain text, for a terminal. Pure; `live.py` says what is in it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from memory.quantities import format_bytes

BAR = 24


def describe(live: Mapping[str, Any]) -> str:
    """Lines for the host, its service processes, operations, queue, incidents and layers."""
    lines = [*_host(live), *_processes(live), *_operations(live), *_queue(live), *_incidents(live)]
    return "".join(f"{printable(line)}\n" for line in lines)


def printable(line: str) -> str:
    """Names and messages come from outside; a terminal must not obey what is in them."""
    return "".join(character if character.isprintable() else "?" for character in line)


def bar(share: float, width: int = BAR) -> str:
    """`[######........]` for a share from 0 to 1; what is over is cut off."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def _host(live: Mapping[str, Any]) -> Iterator[str]:
    host, size = live["host"], format_bytes
    used, whole = host["used"], host["effective_limit"]
    yield f"{host['name']}  {bar(used / whole if whole else 0)}  {size(used)} of {size(whole)} in use"
    yield (
        f"  budget {size(host['budget'])}: {size(host['charged'])} charged, {size(host['free'])} free;"
        f" {host['places_taken']} of {host['places']} places taken"
    )
    if live["pressure"]["message"]:
        yield f"  {live['pressure']['message']}"
    active = [layer["name"] for layer in live["layers"] if layer["active"]]
    yield f"  layers: {', '.join(active)}"


def _processes(live: Mapping[str, Any]) -> Iterator[str]:
    limit = format_bytes(live["settings"]["memory_limit"])
    yield from _section(f"Service processes (limit {limit} each)", live["processes"])
    for row in live["processes"]:
        note = "" if row["accepting"] else f"  takes no work: {row['reason']}"
        yield f"  {row['role']:<10} {row['pid']:>8}  {format_bytes(row['rss']):>8}{note}"


def _operations(live: Mapping[str, Any]) -> Iterator[str]:
    yield from _section("Running", live["operations"])
    for row in live["operations"]:
        share = row["observed"] / (row["limit"] or row["reserved"] or 1)
        limit = f", limit {format_bytes(row['limit'])}" if row["limit"] else ""
        yield (
            f"  {bar(share, 12)} {format_bytes(row['observed']):>8}  peak {format_bytes(row['peak'])},"
            f" estimate {format_bytes(row['reserved'])}{limit}  {row['label']}"
        )


def _queue(live: Mapping[str, Any]) -> Iterator[str]:
    yield from _section("Waiting", live["queue"])
    yield from (f"  {row['label']}: {row['reason']}" for row in live["queue"])


def _incidents(live: Mapping[str, Any]) -> Iterator[str]:
    yield from _section("Incidents", live["incidents"][:5])
    yield from (f"  {row['at'][:19]}  {row['title']}: {row['message']}" for row in live["incidents"][:5])


def _section(title: str, rows: Sequence[object]) -> Iterator[str]:
    yield ""
    yield title if rows else f"{title}: none"
