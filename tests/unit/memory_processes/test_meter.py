"""How a tree's use is counted, and how often what is dear is read."""

from memory.guardian.meter import Meter
from memory.policy import TreeLimits
from memory.probes.tree import Reading
from memory.quantities import MIB


class FakeTree:
    """Members and shares as a test sets them; counts what is read. `cost` is processor time per share read."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.shares: dict[int, int | None] = {}
        self.scans = self.share_reads = 0
        self.cpu = 0.0
        self.cost = 0.0

    def descendants(self, root: int) -> dict[int, float]:
        self.scans += 1
        return {pid: float(pid) for pid in self.held}

    def groups(self, root: int) -> set[int]:
        return set()

    def started(self, pid: int) -> float | None:
        return float(pid) if pid in self.held else None

    def reading(self, pid: int) -> Reading | None:
        held = self.held.get(pid)
        return None if held is None else Reading(rss=held * MIB, anon=held * MIB, peak=held * MIB)

    def pss(self, pid: int) -> int | None:
        self.share_reads += 1
        self.cpu += self.cost
        share = self.shares.get(pid, self.held.get(pid))
        return None if share is None else share * MIB

    def uss(self, pid: int) -> int | None:
        return self.pss(pid)


LIMITS = TreeLimits(1000 * MIB, warn_fraction=0.8)


def meter_of(tree: FakeTree) -> Meter:
    return Meter(tree, 1, LIMITS, cpu_clock=lambda: tree.cpu)


def test_one_process_is_its_resident_size() -> None:
    tree = FakeTree()
    tree.held = {2: 900}
    usage = meter_of(tree).look(0.0)
    assert (usage.used, usage.pss, tree.share_reads) == (900 * MIB, None, 0)


def test_far_from_the_limit_shares_are_not_read() -> None:
    tree = FakeTree()
    tree.held = {2: 300, 3: 300}
    assert meter_of(tree).look(0.0).used == 600 * MIB
    assert tree.share_reads == 0


def test_near_the_limit_shared_pages_count_once() -> None:
    tree = FakeTree()
    tree.held, tree.shares = {2: 600, 3: 600}, {2: 310, 3: 310}
    usage = meter_of(tree).look(0.0)
    assert (usage.rss, usage.used) == (1200 * MIB, 620 * MIB)


def test_what_members_gain_between_two_readings_is_their_own() -> None:
    tree = FakeTree()
    tree.cost = 0.01
    tree.held, tree.shares = {2: 600, 3: 600}, {2: 310, 3: 310}
    meter = meter_of(tree)
    meter.look(0.0)
    tree.held[2] = 1000
    assert meter.look(0.001).used == 1020 * MIB
    assert tree.share_reads == 2


def test_a_new_fork_makes_shares_be_read_again() -> None:
    tree = FakeTree()
    tree.cost = 0.01
    tree.held, tree.shares = {2: 600, 3: 600}, {2: 310, 3: 310}
    meter = meter_of(tree)
    meter.look(0.0)
    tree.held[4], tree.shares = 600, {2: 210, 3: 210, 4: 210}
    assert meter.look(0.001).used == 630 * MIB


def test_pages_that_stop_being_shared_are_noticed_at_the_next_reading() -> None:
    tree = FakeTree()
    tree.cost = 0.01
    tree.held, tree.shares = {2: 600, 3: 600}, {2: 310, 3: 310}
    meter = meter_of(tree)
    meter.look(0.0)
    tree.shares = {2: 600, 3: 600}
    assert meter.look(0.1).used == 620 * MIB
    assert meter.look(0.3).used == 1200 * MIB


def test_unreadable_shares_fall_back_to_resident_sizes() -> None:
    tree = FakeTree()
    tree.held, tree.shares = {2: 600, 3: 600}, {2: None, 3: None}
    assert meter_of(tree).look(0.0).used == 1200 * MIB


def test_a_member_that_has_just_ended_does_not_count() -> None:
    tree = FakeTree()
    tree.held = {2: 300, 3: 300}
    meter = meter_of(tree)
    meter.look(0.0)
    del tree.held[3]
    assert meter.look(1.0).processes == 1


def test_the_peak_is_the_highest_use_seen() -> None:
    tree = FakeTree()
    tree.held = {2: 700}
    meter = meter_of(tree)
    meter.look(0.0)
    tree.held[2] = 100
    meter.look(0.1)
    assert meter.peak == 700 * MIB
