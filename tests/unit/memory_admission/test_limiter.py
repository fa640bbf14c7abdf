"""Reservations: what one process sees of admission."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from memory.conf import MIB, MemorySettings
from memory.limiter import ConcurrentOperationLimiter, NotAdmitted
from memory.models import Host, IncidentKind, MemoryIncident, Reservation, UsageSample
from memory.pressure import SILENT_AFTER
from memory.queueing import Candidate
from tests.unit.memory_admission.builders import FakeProbe, candidate, memory, probe

pytestmark = pytest.mark.django_db


def limiter(host: FakeProbe | None = None, **changes: object) -> ConcurrentOperationLimiter:
    settings: Callable[[], MemorySettings] = lambda: memory(**changes)  # noqa: E731
    return ConcurrentOperationLimiter(probe=host or probe(), settings=settings)


def accept(_candidate: Candidate, _reservation: Reservation) -> bool:
    return True


def claim(subject: ConcurrentOperationLimiter, *candidates: Candidate, lease: float = 60) -> Reservation | None:
    return subject.claim(candidates, kind="separate", lease_seconds=lease, on_admit=accept)


def lapse(reservation: Reservation) -> None:
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=Now() - timedelta(seconds=1))


def test_a_candidate_that_fits_gets_a_reservation_on_this_host() -> None:
    reservation = claim(limiter(), candidate("a", 1000))
    assert reservation is not None
    assert (reservation.host_id, reservation.key, reservation.bytes) == ("alpha", "a", 1000 * MIB)


def test_a_second_one_that_does_not_fit_beside_the_first_waits() -> None:
    subject = limiter()
    claim(subject, candidate("a", 1000))
    assert claim(subject, candidate("b", 1000)) is None


def test_the_released_memory_is_given_to_the_next() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 1000))
    assert first is not None
    subject.release(first.pk)
    assert claim(subject, candidate("b", 1000)) is not None


def test_no_more_than_the_set_number_of_operations_run_at_once() -> None:
    subject = limiter(max_concurrent_operations=2)
    admitted = [claim(subject, candidate(key, 10)) for key in "abc"]
    assert [bool(one) for one in admitted] == [True, True, False]


def test_a_holder_who_says_no_leaves_no_reservation_and_the_next_is_tried() -> None:
    reservation = limiter().claim(
        [candidate("a", 10, waited=9), candidate("b", 10)],
        kind="separate",
        lease_seconds=60,
        on_admit=lambda one, _: one.key == "b",
    )
    assert reservation is not None
    assert list(Reservation.objects.values_list("key", flat=True)) == ["b"]


def test_what_the_holder_changed_before_saying_no_is_undone() -> None:
    def change_and_refuse(_candidate: Candidate, _reservation: Reservation) -> bool:
        Host.objects.create(name="written by the holder")
        return False

    limiter().claim([candidate("a", 10)], kind="separate", lease_seconds=60, on_admit=change_and_refuse)
    assert not Host.objects.filter(name="written by the holder").exists()


def test_an_operation_that_uses_more_than_reserved_is_charged_what_it_uses() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 1000))
    assert first is not None
    subject.renew(first.pk, observed_bytes=1700 * MIB)
    assert claim(subject, candidate("b", 100)) is None


def test_a_lease_that_ran_out_no_longer_counts() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 1500))
    assert first is not None
    lapse(first)
    assert claim(subject, candidate("b", 1500)) is not None


@pytest.mark.parametrize("reaped", [False, True])
def test_a_lapsed_reservation_counts_again_when_its_operation_is_heard_of(reaped: bool) -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 1500))
    assert first is not None
    lapse(first)
    if reaped:
        assert subject.expire() == 1
    assert subject.renew(first.pk, observed_bytes=1)
    assert claim(subject, candidate("b", 1500)) is None
    assert (subject.expire(), Reservation.objects.held().get().pk) == (0, first.pk)


def test_a_released_reservation_cannot_be_renewed() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 10))
    assert first is not None
    subject.release(first.pk)
    assert subject.renew(first.pk, observed_bytes=1) is False
    assert not Reservation.objects.held().exists()


def test_renewing_extends_the_lease_and_keeps_the_peak() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 10), lease=30)
    assert first is not None
    assert subject.renew(first.pk, observed_bytes=9 * MIB)
    assert subject.renew(first.pk, observed_bytes=4 * MIB)
    now = Reservation.objects.get(pk=first.pk)
    assert (now.observed_bytes, now.peak_bytes) == (4 * MIB, 9 * MIB)
    assert now.expires_at > first.expires_at


def test_renewing_keeps_one_sample_per_check_interval() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 10))
    assert first is not None
    for megabytes in (3, 4, 5):
        subject.renew(first.pk, observed_bytes=megabytes * MIB)
    assert list(UsageSample.objects.values_list("bytes", flat=True)) == [3 * MIB]


def test_expire_releases_what_lost_holders_hold_once() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 10))
    assert first is not None
    lapse(first)
    assert (subject.expire(), subject.expire()) == (1, 0)
    assert Reservation.objects.get(pk=first.pk).expired


def test_a_lost_holder_is_an_incident() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 10))
    assert first is not None
    lapse(first)
    subject.expire()
    incident = MemoryIncident.objects.get()
    assert (incident.kind, incident.operation_key, incident.host_id) == (IncidentKind.LEASE_LOST, "a", first.host_id)


def test_releasing_twice_keeps_the_first_release() -> None:
    subject = limiter()
    first = claim(subject, candidate("a", 10))
    assert first is not None
    subject.release(first.pk, peak_bytes=7)
    released_at = Reservation.objects.get(pk=first.pk).released_at
    subject.release(first.pk, peak_bytes=99)
    again = Reservation.objects.get(pk=first.pk)
    assert (again.released_at, again.peak_bytes) == (released_at, 7)


def test_reservations_of_another_host_do_not_count_here() -> None:
    other = ConcurrentOperationLimiter(host="beta", probe=probe(), settings=memory)
    claim(other, candidate("a", 1700))
    assert claim(limiter(), candidate("b", 1700)) is not None


def test_each_claim_moves_the_hosts_version() -> None:
    subject = limiter()
    claim(subject, candidate("a", 10))
    claim(subject, candidate("b", 10))
    assert Host.objects.get(name="alpha").version == 2


def test_a_small_operation_finds_its_share_while_heavy_ones_fill_theirs() -> None:
    subject = limiter()
    claim(subject, candidate("a", 1792))
    assert subject.reserve(kind="probe", key="p", bytes=128 * MIB, lease_seconds=60).heavy is False


def test_a_reservation_that_does_not_fit_now_says_so_with_numbers() -> None:
    subject = limiter()
    claim(subject, candidate("a", 1792))
    with pytest.raises(NotAdmitted) as refusal:
        subject.reserve(kind="probe", key="p", bytes=1024 * MIB, lease_seconds=60)
    assert refusal.value.reason == "needs 1.0 GB, 256 MB free"
    assert refusal.value.can_never_fit is False


def test_a_reservation_larger_than_the_budget_can_never_fit() -> None:
    with pytest.raises(NotAdmitted) as refusal:
        limiter().reserve(kind="separate", key="s", bytes=1793 * MIB, lease_seconds=60)
    assert refusal.value.can_never_fit is True


def test_the_context_manager_gives_the_reservation_back_when_the_work_fails() -> None:
    subject = limiter()
    with pytest.raises(ZeroDivisionError), subject.admitted(kind="probe", key="p", bytes=1, lease_seconds=60):
        raise ZeroDivisionError
    assert not Reservation.objects.held().exists()


def test_nothing_is_admitted_while_the_host_has_too_little_memory_available() -> None:
    short = limiter(probe(effective_mb=8192, available_mb=300))
    assert claim(short, candidate("a", 10)) is None


def test_available_memory_counts_even_when_the_budget_has_room() -> None:
    subject = limiter(probe(effective_mb=8192, available_mb=1000))
    assert claim(subject, candidate("a", 800)) is None


def test_what_running_operations_have_yet_to_take_is_not_available() -> None:
    host = probe(effective_mb=8192, available_mb=1500)
    subject = limiter(host)
    claim(subject, candidate("a", 600))
    assert claim(subject, candidate("b", 600)) is None


def test_the_automatic_budget_is_a_share_less_what_the_service_needs() -> None:
    subject = limiter(probe(effective_mb=10000), memory_budget=None)
    assert subject.budget() == (8500 - 384) * MIB


def test_an_operation_over_the_process_limit_can_never_fit() -> None:
    subject = limiter(memory_budget=9000 * MIB, process_memory_limit=1000 * MIB)
    assert subject.can_ever_fit(1000 * MIB)
    assert not subject.can_ever_fit(1001 * MIB)


def test_an_operation_fits_if_another_live_host_can_take_it() -> None:
    Host.objects.create(name="beta", heavy_bytes=3000 * MIB)
    assert limiter().can_ever_fit(3000 * MIB)


def worker_on(name: str, *, heavy_mb: int = 0, seen: timedelta = timedelta(0)) -> None:
    """A worker on host `name`, which said at its last admission that heavy operations may have `heavy_mb`."""
    defaults = {"heavy_bytes": heavy_mb * MIB, "workers_seen": Now() - seen}
    Host.objects.update_or_create(name=name, defaults=defaults)


def test_what_only_a_host_without_workers_could_hold_can_never_fit() -> None:
    Host.objects.create(name="web", heavy_bytes=3000 * MIB)
    worker_on("alpha")
    assert limiter().largest_operation() == 1792 * MIB


def test_a_host_without_workers_does_not_count_itself() -> None:
    worker_on("beta", heavy_mb=1000)
    assert limiter().largest_operation() == 1000 * MIB


def test_the_largest_host_with_workers_counts_though_it_was_silent_for_minutes() -> None:
    worker_on("alpha")
    worker_on("beta", heavy_mb=3000, seen=timedelta(minutes=4))
    worker_on("gamma", heavy_mb=4000, seen=timedelta(minutes=6))
    assert limiter().largest_operation() == 3000 * MIB


def test_workers_that_have_not_said_what_their_host_can_take_refuse_nothing() -> None:
    worker_on("beta")
    assert limiter().largest_operation() == 1792 * MIB


def test_a_host_that_has_gone_does_not_count() -> None:
    Host.objects.create(name="beta", heavy_bytes=3000 * MIB, last_seen=Now() - timedelta(hours=1))
    assert not limiter().can_ever_fit(3000 * MIB)


def test_an_error_in_the_holder_undoes_the_reservation() -> None:
    def fail(_candidate: Candidate, _reservation: Reservation) -> bool:
        raise OperationalError("no such table: songs")

    with pytest.raises(OperationalError, match="songs"):
        limiter().claim([candidate("a", 10)], kind="separate", lease_seconds=60, on_admit=fail)
    assert not Reservation.objects.exists()


def test_a_database_that_stays_busy_admits_nothing_and_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object) -> None:
        raise OperationalError("database is locked")

    subject = limiter()
    monkeypatch.setattr(subject, "_take_turn", locked)
    assert claim(subject, candidate("a", 10)) is None
    with pytest.raises(NotAdmitted, match="the database is busy"):
        subject.reserve(kind="probe", key="p", bytes=1, lease_seconds=60)


def test_waiting_reasons_state_this_hosts_numbers() -> None:
    subject = limiter()
    claim(subject, candidate("a", 1536))
    assert subject.waiting_reasons([candidate("b", 512)]) == {"b": "needs 512 MB, 256 MB free"}


def test_a_head_that_was_held_up_for_long_keeps_heavy_newcomers_out() -> None:
    subject = limiter(backfill_seconds=0.0)
    claim(subject, candidate("a", 1000))
    assert claim(subject, candidate("big", 1500, waited=9), candidate("small", 10)) is None
    with pytest.raises(NotAdmitted, match="a job that has waited for long is next"):
        subject.reserve(kind="separate", key="from a terminal", bytes=10 * MIB, lease_seconds=60)
    assert subject.reserve(kind="probe", key="p", bytes=10 * MIB, lease_seconds=60).pk


def test_a_head_that_nobody_has_met_for_a_while_holds_nobody_back() -> None:
    subject = limiter(backfill_seconds=0.0)
    claim(subject, candidate("a", 1000))
    claim(subject, candidate("big", 1500, waited=9))
    Host.objects.update(blocked_seen=Now() - timedelta(minutes=2))
    assert subject.reserve(kind="separate", key="from a terminal", bytes=10 * MIB, lease_seconds=60).pk


def test_a_host_without_workers_speaks_of_the_one_that_has_them() -> None:
    worker_on("beta")
    Host.objects.update(budget_bytes=1024 * MIB, effective_bytes=8192 * MIB, available_bytes=8192 * MIB)
    reasons = limiter().waiting_reasons([candidate("a", 900)])
    assert reasons == {"a": "needs 900 MB, more than the 832 MB that one operation can have here"}


def test_what_only_another_host_can_take_waits_for_that_one() -> None:
    worker_on("alpha")
    worker_on("beta", heavy_mb=4096 - 512)
    beta = Host.objects.get(name="beta")
    Host.objects.filter(name="beta").update(
        budget_bytes=4096 * MIB, effective_bytes=8192 * MIB, available_bytes=8192 * MIB
    )
    Reservation.objects.create(
        host=beta, key="there", bytes=1024 * MIB, lease_seconds=60, expires_at=Now() + timedelta(minutes=1)
    )
    reasons = limiter().waiting_reasons([candidate("small", 900), candidate("big", 3000)])
    assert reasons == {"small": "starts when a worker is free", "big": "needs 2.9 GB, 2.5 GB free"}


def test_a_calm_host_has_no_victim() -> None:
    subject = limiter()
    claim(subject, candidate("a", 10))
    assert subject.choose_victim() is None


def using(subject: ConcurrentOperationLimiter, key: str, mb: int) -> Reservation:
    """An operation that was admitted and has said that it holds what it was promised."""
    reservation = claim(subject, candidate(key, mb))
    assert reservation is not None and subject.renew(reservation.pk, observed_bytes=mb * MIB)
    return reservation


def test_a_host_that_runs_out_gives_everyone_the_same_victim() -> None:
    host = probe(effective_mb=8192)
    subject = limiter(host)
    using(subject, "older", 10)
    using(subject, "newer", 10)
    subject.reserve(kind="probe", key="light", bytes=10, lease_seconds=60)
    host.reading.available = 100 * MIB
    chosen = [subject.choose_victim(), limiter(host).choose_victim()]
    assert [one.key for one in chosen if one] == ["newer", "newer"]


def test_an_operation_that_holds_nothing_any_more_is_no_victim() -> None:
    host = probe(effective_mb=8192)
    subject = limiter(host)
    older, publishing = using(subject, "older", 10), using(subject, "publishing", 10)
    subject.renew(publishing.pk, observed_bytes=0)
    host.reading.available = 100 * MIB
    assert subject.choose_victim() == older


def test_an_operation_that_was_not_heard_of_lately_is_no_victim() -> None:
    host = probe(effective_mb=8192)
    subject = limiter(host)
    older, lost = using(subject, "older", 10), using(subject, "lost", 10)
    Reservation.objects.filter(pk=lost.pk).update(renewed_at=Now() - SILENT_AFTER - timedelta(seconds=1))
    host.reading.available = 100 * MIB
    assert subject.choose_victim() == older


def test_with_nothing_to_be_won_there_is_no_victim() -> None:
    host = probe(effective_mb=8192)
    subject = limiter(host)
    claim(subject, candidate("its input is being fetched", 10))
    host.reading.available = 100 * MIB
    assert subject.choose_victim() is None


def test_a_process_limit_below_the_budget_refuses_larger_reservations() -> None:
    with pytest.raises(NotAdmitted) as refusal:
        limiter(process_memory_limit=100 * MIB).reserve(kind="separate", key="s", bytes=101 * MIB, lease_seconds=60)
    assert refusal.value.can_never_fit is True
