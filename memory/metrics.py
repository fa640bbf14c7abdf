"""Memory as Prometheus text: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).

Owns names, types and escaping. What is measured is `live.py`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from memory.live import live_snapshot
from memory.models import IncidentKind, MemoryIncident

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, object]


@dataclass(frozen=True)
class Metric:
    """One family: its samples are (labels, value)."""

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[Labels, float]]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            yield f"{self.name}{_labels(labels)} {value:.17g}"


def render(snapshot: Mapping[str, Any] | None = None) -> str:
    """The metrics of `snapshot` (default: as of now), each family with its help and type."""
    families = _families(snapshot or live_snapshot())
    return "\n".join(line for metric in families for line in metric.lines()) + "\n"


def _families(live: Mapping[str, Any]) -> Iterator[Metric]:
    yield from _host(live["host"], live["pressure"])
    yield from _service(live)
    yield from _operations(live)
    yield Metric("memory_queue_length", "gauge", "Operations that wait.", [({}, live["queue_length"])])
    yield Metric("memory_incidents", "gauge", "Incidents on record, by kind.", _incident_counts())
    yield Metric("memory_layer_active", "gauge", "Enforcement layers this machine has.", _layers(live["layers"]))


def _host(host: Mapping[str, Any], pressure: Mapping[str, Any]) -> Iterator[Metric]:
    label = {"host": host["name"]}
    gauges = {
        "effective_limit": "Least of physical memory, control groups and resource limits.",
        "available": "Least of what each of these leaves.",
        "used": "Effective limit less available.",
        "swap_used": "Swap in use.",
        "budget": "For all operations together.",
        "charged": "Charged for running operations: the greater of reserved and observed.",
        "free": "Left for one more heavy operation.",
    }
    for key, text in gauges.items():
        yield Metric(f"memory_host_{key}_bytes", "gauge", text, [(label, host[key])])
    if host["psi_some_avg10"] is not None:
        yield Metric("memory_host_psi_some_avg10", "gauge", "Stalled on memory, %.", [(label, host["psi_some_avg10"])])
    paused = pressure["level"] != "calm"
    yield Metric("memory_admission_paused", "gauge", "Whether the host is too short to admit.", [(label, int(paused))])
    yield Metric("memory_places", "gauge", "MAX_CONCURRENT_OPERATIONS.", [(label, host["places"])])
    yield Metric("memory_places_taken", "gauge", "Heavy operations running.", [(label, host["places_taken"])])


def _service(live: Mapping[str, Any]) -> Iterator[Metric]:
    hosts = [({"host": host["name"]}, host["admissions"]) for host in live["hosts"]]
    yield Metric("memory_admissions_total", "counter", "Admissions tried, by host.", hosts)
    rows = [({"host": p["host"], "role": p["role"], "pid": p["pid"]}, p) for p in live["processes"]]
    text = "Resident memory of the service's own processes."
    yield Metric("memory_process_resident_bytes", "gauge", text, [(labels, p["rss"]) for labels, p in rows])
    text = "Whether the process takes new work."
    yield Metric("memory_process_accepting", "gauge", text, [(labels, int(p["accepting"])) for labels, p in rows])


def _operations(live: Mapping[str, Any]) -> Iterator[Metric]:
    texts = {
        "reserved": "What a running operation was admitted with.",
        "observed": "What its process tree was last seen to use.",
        "peak": "The most it was seen to use.",
        "limit": "At which it is ended.",
    }
    rows = [({"host": o["host"], "kind": o["kind"], "id": o["id"]}, o) for o in live["operations"]]
    for key, text in texts.items():
        yield Metric(f"memory_operation_{key}_bytes", "gauge", text, [(labels, o[key]) for labels, o in rows])


def _incident_counts() -> list[tuple[Labels, float]]:
    counted = MemoryIncident.objects.order_by().values_list("kind").annotate(n=Count("id"))
    counts = dict(counted)
    return [({"kind": kind}, counts.get(kind, 0)) for kind in IncidentKind.values]


def _layers(layers: Iterable[Mapping[str, Any]]) -> list[tuple[Labels, float]]:
    return [({"layer": layer["name"]}, int(layer["active"])) for layer in layers]


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{_escape(str(value))}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
