"""What a supervised program says reaches its caller, in bounded memory, whatever it says."""

import time
import tracemalloc

from memory.processes import EndReason, OperationLimits, ProcessResourceManager, TreeSample
from memory.processes.lines import CUT_MARK, MAX_LINE_BYTES, TAIL_BYTES
from memory.quantities import MIB
from tests.integration.memory_processes.conftest import Lab


def test_every_line_arrives_in_order(lab: Lab) -> None:
    lines: list[str] = []
    lab.run("for n in range(50_000): print(n)", on_line=lines.append)
    assert lines == [str(n) for n in range(50_000)]


def test_a_last_line_without_an_end_arrives(lab: Lab) -> None:
    lines: list[str] = []
    lab.run("print('one\\ntwo', end='')", on_line=lines.append)
    assert lines == ["one", "two"]


def test_a_line_without_end_is_held_in_bounded_memory(lab: Lab) -> None:
    lines: list[str] = []
    code = "import sys\nfor _ in range(64): sys.stdout.write('x' * (1 << 20))\nprint()\nprint('next')"
    tracemalloc.start()
    lab.run(code, on_line=lines.append)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(line) for line in lines] == [MAX_LINE_BYTES + len(CUT_MARK), 4]
    assert peak < 8 * MIB


def test_only_the_end_of_a_long_standard_error_is_kept(lab: Lab) -> None:
    outcome = lab.run("import sys\nfor n in range(100_000): print(n, file=sys.stderr)\nsys.exit(3)")
    assert outcome.returncode == 3
    assert len(outcome.stderr_tail) <= TAIL_BYTES
    assert outcome.stderr_tail.endswith("99998\n99999\n")


def test_bytes_that_are_no_text_do_no_harm(lab: Lab) -> None:
    lines: list[str] = []
    outcome = lab.run("import os; os.write(1, b'\\xff\\xfe\\n'); os.write(2, b'\\xff')", on_line=lines.append)
    assert (outcome.reason, lines) == (EndReason.COMPLETED, ["\ufffd\ufffd"])


def test_a_program_that_closes_its_output_goes_on(lab: Lab) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.2); os._exit(5)"
    assert lab.run(code).returncode == 5


def test_a_program_that_reads_finds_its_input_empty(lab: Lab) -> None:
    lines: list[str] = []
    lab.run("import sys; print(repr(sys.stdin.read()))", on_line=lines.append)
    assert lines == ["''"]


def test_samples_arrive_while_it_runs(lab: Lab) -> None:
    samples: list[TreeSample] = []
    lab.run(
        "held = b'x' * (50 << 20)\nimport time; time.sleep(60)",
        on_sample=samples.append,
        should_stop=lambda: EndReason.CANCELLED if len(samples) >= 5 else None,
        wall_seconds=30,
    )
    assert len(samples) >= 5
    assert max(sample.rss_bytes for sample in samples) > 50 * MIB
    assert max(sample.processes for sample in samples) == 1
    assert samples[-1].at <= time.monotonic()


def test_the_peak_of_a_short_spike_is_known(lab: Lab) -> None:
    """Held for less than one look at the tree: the kernel's own high-water mark tells."""
    outcome = lab.run("held = b'x' * (90 << 20)\ndel held")
    assert 90 * MIB < outcome.peak_bytes < 120 * MIB


def test_processor_time_is_told(lab: Lab) -> None:
    outcome = lab.run("import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass")
    assert 0.2 <= outcome.cpu_seconds < outcome.wall_seconds + 1


def test_a_caller_that_listens_to_nothing_still_learns_the_end(manager: ProcessResourceManager) -> None:
    outcome = manager.run(["sh", "-c", "echo hello; exit 4"], limits=OperationLimits(64 * MIB), label="test")
    assert (outcome.reason, outcome.returncode) == (EndReason.FAILED, 4)
