"""Process trees, recorded and real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memory.probes.sharing import one_memory
from memory.probes.tree import ProcTree, PsutilTree, Reading, Tree, default_reader, tree_for
from memory.quantities import KIB, MIB
from tests.unit.memory_processes.trees import write

STATUS = "Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t 150 kB\nVmData:\t 900 kB\nVmSwap:\t  50 kB\n"
ROLLUP = "00-ff ---p 0 00:00 0 [rollup]\nRss: 200 kB\nPss: 120 kB\nPss_Anon: 1 kB\n"
ROLLUP += "Private_Clean: 30 kB\nPrivate_Dirty: 40 kB\nSwap: 9 kB\nSwapPss: 5 kB\n"


def stat(pid: int, parent: int, *, state: str = "S", command: str = "python3", threads: int = 1) -> dict[str, str]:
    rest = [str(pid), *["0"] * 14, str(threads), "0", str(1000 + pid)]
    return {f"{pid}/stat": f"{pid} ({command}) {state} {parent} {' '.join(rest)} 0\n"}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """1 -> 10 -> (11 -> 12, 13 a zombie), 20 unrelated."""
    for process in (stat(1, 0), stat(10, 1), stat(11, 10), stat(12, 11), stat(13, 10, state="Z"), stat(20, 1)):
        write(tmp_path, process)
    return tmp_path


def test_all_live_descendants_are_found(proc: Path) -> None:
    assert ProcTree(str(proc)).descendants(10) == {11: 1011.0, 12: 1012.0}


def test_children_lists_are_used_where_the_kernel_has_them(proc: Path) -> None:
    write(proc, {"thread-self/children": "", "10/task/10/children": "11 ", "10/task/19/children": "13"})
    write(proc, {"11/task/11/children": "12 "})
    assert ProcTree(str(proc)).descendants(10) == {11: 1011.0, 12: 1012.0}


def test_a_scan_finds_what_the_children_lists_missed(proc: Path) -> None:
    write(proc, {"thread-self/children": "", "10/task/10/children": ""})
    tree = ProcTree(str(proc))
    assert tree.descendants(10) == {}
    assert tree.scan(10) == {11: 1011.0, 12: 1012.0}


def test_a_command_with_brackets_and_spaces_is_no_trouble(proc: Path) -> None:
    write(proc, stat(14, 10, command="a) R 1 (b"))
    assert 14 in ProcTree(str(proc)).descendants(10)


def test_a_zombie_is_not_alive(proc: Path) -> None:
    assert ProcTree(str(proc)).started(13) is None


def test_a_process_whose_first_thread_has_ended_is_alive(proc: Path) -> None:
    write(proc, stat(15, 10, state="Z", threads=3))
    assert 15 in ProcTree(str(proc)).descendants(10)


def test_a_process_that_is_gone_has_no_reading(proc: Path) -> None:
    tree = ProcTree(str(proc))
    assert (tree.reading(99), tree.pss(99), tree.uss(99), tree.started(99)) == (None, None, None, None)


def test_a_reading_counts_swapped_pages(proc: Path) -> None:
    write(proc, {"11/status": STATUS})
    reading = ProcTree(str(proc)).reading(11)
    assert reading == Reading(rss=200 * KIB, swap=50 * KIB, peak=300 * KIB, data=900 * KIB, anon=200 * KIB)
    assert reading.held == 250 * KIB


def test_shares_are_read_from_the_rollup(proc: Path) -> None:
    write(proc, {"11/smaps_rollup": ROLLUP})
    tree = ProcTree(str(proc))
    assert (tree.pss(11), tree.uss(11)) == (125 * KIB, 70 * KIB)


def test_a_child_that_still_runs_in_its_parents_memory_holds_nothing(proc: Path) -> None:
    sizes = "VmPeak:\t 900 kB\n" + STATUS.removeprefix("Name:\tx\n")
    write(proc, {"11/status": f"Name:\tx\nPPid:\t10\n{sizes}", "12/status": f"Name:\tx\nPPid:\t11\n{sizes}"})
    write(proc, {"12/smaps_rollup": ROLLUP})
    tree = ProcTree(str(proc))
    assert (tree.reading(12), tree.pss(12), tree.uss(12)) == (Reading(0), 0, 0)


def test_a_fork_of_a_little_other_size_holds_what_it_shows(proc: Path) -> None:
    sizes = "VmPeak:\t 900 kB\n" + STATUS.removeprefix("Name:\tx\n")
    other = sizes.replace("200 kB", "196 kB")
    write(proc, {"11/status": f"Name:\tx\nPPid:\t10\n{sizes}", "12/status": f"Name:\tx\nPPid:\t11\n{other}"})
    reading = ProcTree(str(proc)).reading(12)
    assert reading is not None and reading.rss == 196 * KIB


def test_the_kernel_tells_one_address_space_from_two() -> None:
    if one_memory(os.getpid(), os.getpid()) is None:
        pytest.skip("this kernel does not answer kcmp(2)")
    assert one_memory(os.getpid(), os.getpid()) is True
    assert one_memory(os.getpid(), os.getppid()) is False


def test_where_the_kernel_says_nothing_nothing_is_assumed() -> None:
    assert one_memory(os.getpid(), 2**30) is None


@pytest.mark.parametrize("tree", [ProcTree(), PsutilTree()], ids=["proc", "psutil"])
def test_a_real_child_is_seen_while_it_lives(tree: Tree) -> None:
    code = "import sys; held = b'x' * (40 << 20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        found = tree.descendants(os.getpid())
        reading, pss, uss = tree.reading(child.pid), tree.pss(child.pid), tree.uss(child.pid)
        assert found[child.pid] == tree.started(child.pid)
        assert reading is not None and reading.rss > 40 * MIB
        assert pss is not None and uss is not None and 40 * MIB < uss <= pss
        child.stdin.close()
    assert child.pid not in tree.descendants(os.getpid())


def test_this_machine_s_reader_is_the_process_filesystem() -> None:
    assert default_reader() == "proc"
    assert isinstance(tree_for("proc"), ProcTree)
    assert isinstance(tree_for("psutil"), PsutilTree)


def test_an_ended_member_still_tells_its_group(proc: Path) -> None:
    assert ProcTree(str(proc)).groups(10) == {11, 12, 13}
