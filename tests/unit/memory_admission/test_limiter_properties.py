"""The limiter over a real database, whatever is asked of it in whatever order."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.conf import MIB
from memory.limiter import ConcurrentOperationLimiter, NotAdmitted
from memory.models import Host, Reservation
from tests.unit.memory_admission.builders import candidate, memory, probe

actions = st.one_of(
    st.tuples(st.just("claim"), st.lists(st.integers(1, 2000), min_size=1, max_size=4)),
    st.tuples(st.just("heavy"), st.integers(1, 2000)),
    st.tuples(st.just("light"), st.integers(1, 2100)),
    st.tuples(st.just("grow"), st.integers(0, 9)),
    st.tuples(st.just("release"), st.integers(0, 9)),
)


def held() -> list[Reservation]:
    return list(Reservation.objects.held().order_by("id"))


def act(limiter: ConcurrentOperationLimiter, name: str, value: object, step: int) -> None:
    if name == "claim":
        sizes = [candidate(f"{step}-{n}", mb) for n, mb in enumerate(value)]  # type: ignore[arg-type]
        limiter.claim(sizes, kind="separate", lease_seconds=60, on_admit=lambda *_: True)
    elif name in ("heavy", "light"):
        kind = "separate" if name == "heavy" else "probe"
        try:
            limiter.reserve(kind=kind, key=str(step), bytes=int(str(value)) * MIB, lease_seconds=60)
        except NotAdmitted:
            return
    elif running := held():
        chosen = running[int(str(value)) % len(running)]
        if name == "grow":
            limiter.renew(chosen.pk, observed_bytes=chosen.bytes)
        else:
            limiter.release(chosen.pk)


@pytest.mark.django_db
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(actions, min_size=1, max_size=25))
def test_never_over_the_budget_the_heavy_share_or_the_places(asked: list[tuple[str, object]]) -> None:
    Host.objects.all().delete()
    limiter = ConcurrentOperationLimiter(probe=probe(), settings=lambda: memory(backfill_seconds=0.0))
    for step, (name, value) in enumerate(asked):
        act(limiter, name, value, step)
        heavy = [one.bytes for one in held() if one.heavy]
        assert len(heavy) <= 3
        assert sum(heavy) <= 1792 * MIB
        assert sum(one.bytes for one in held()) <= 2048 * MIB
