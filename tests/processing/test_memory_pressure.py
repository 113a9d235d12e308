"""Calls while memory is short, with memory that follows what the functions hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed, MemoryPressureError
from memflow.memory.readings import MemoryReading
from memflow.processing.outcome import ProcessorStatistics
from memflow.processing.processor import BatchProcessor
from memflow.settings import (
    BatchOptimizerSettings,
    BatchProcessorSettings,
    HeapAnalyzerSettings,
    MemflowSettings,
    MemoryManagerSettings,
)
from memflow.testing import ScriptedProbe, make_processor
from tests.processing.calls import METHODS, check_quiet, double, through
from tests.processing.parts import GIB, MIB, settle, virtual_processor


class Machine:
    """Memory in which items hold bytes while they run, beside what others hold."""

    def __init__(self, *, limit: int = GIB, others: int = 100 * MIB) -> None:
        self.others = others
        self.held = 0
        self.most = 0
        self._peak = 0
        self.probe = ScriptedProbe(self._read, limit=limit, source="the script")

    def _read(self, now_s: float) -> MemoryReading:
        in_use = self.others + self.held
        peak, self._peak = max(self._peak, in_use), in_use
        return MemoryReading(now_s, in_use, peak, in_use, 0)

    def hold(self, count: int) -> None:
        """Take bytes (or give them back, when negative)."""
        self.held += count
        self._peak = max(self._peak, self.others + self.held)
        self.most = max(self.most, self.others + self.held)

    def working(self, each: Callable[[Any], int], *, rounds: int = 3) -> Any:
        """A function of one item that holds `each(item)` bytes for a few rounds of the loop."""

        async def work(item: Any) -> Any:
            self.hold(each(item))
            try:
                await settle(rounds)
            finally:
                self.hold(-each(item))
            return item

        return work

    def processor(self, *, memory_manager: dict[str, Any] | None = None, **overrides: Any) -> BatchProcessor:
        manager = {"boundary_interval_s": 0, "auto_gc": False, "sample_interval_s": 0.002, **(memory_manager or {})}
        settings = MemflowSettings(
            memory_manager=MemoryManagerSettings(**manager),
            heap_analyzer=HeapAnalyzerSettings(),
            batch_optimizer=BatchOptimizerSettings(),
            batch_processor=BatchProcessorSettings(),
        )
        return make_processor(self.probe, settings=settings, **overrides)


# ---- never past the limit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", [1 * MIB, 60 * MIB, 120 * MIB, 300 * MIB, 700 * MIB])
@pytest.mark.parametrize("hinted", [False, True])
def test_items_stay_within_the_limit_and_run_side_by_side(run, each: int, hinted: bool) -> None:
    async def main() -> None:
        machine = Machine()
        async with machine.processor(concurrency=8) as processor:
            hint = (lambda item: each) if hinted else None
            work = machine.working(lambda item: each)
            assert await processor.process(range(150), work, size_hint=hint) == list(range(150))
            check_quiet(processor)
        assert machine.most <= GIB
        assert machine.most >= machine.others + each * min(8, max(1, int(0.35 * GIB // each)))

    run(main)


def test_items_of_all_sizes_stay_within_the_limit_when_sizes_are_hinted(run) -> None:
    sizes = [(7919 * n % 400 + 1) * MIB for n in range(200)]

    async def main() -> None:
        machine = Machine()
        async with machine.processor(concurrency=8) as processor:
            assert await processor.process(sizes, machine.working(int), size_hint=float) == sizes
            check_quiet(processor)
        assert machine.most <= GIB

    run(main)


TIGHT_BYTES = 256 * MIB


async def share_a_tight_limit(method: str, *, grow: bool, virtual: bool) -> tuple[ProcessorStatistics, Machine, int]:
    """Sizes differ eightfold and are told by nobody; later on, items are twice as large. Memory is what is scarce.

    Returns the figures, the machine, and how many items were in hand at once, at most.
    """
    count = 12_000 if "batches" in method else 1500
    machine, done = Machine(limit=TIGHT_BYTES, others=80 * MIB), []
    most_at_once = inside = 0

    def each(item: int) -> int:
        size = (7919 * item % 8 + 1) * MIB // (8 if "batches" in method else 1)
        return 2 * size if grow and item > count // 2 else size

    async def work(given: Any) -> Any:
        nonlocal most_at_once, inside
        items = given if isinstance(given, list) else [given]
        done.extend(items)
        inside += len(items)
        most_at_once = max(most_at_once, inside)
        machine.hold(sum(map(each, items)))
        try:
            await anyio.sleep(0.008)
        finally:
            machine.hold(-sum(map(each, items)))
            inside -= len(items)
        return given

    making = virtual_processor(machine.probe, sample_interval_s=0.002) if virtual else machine.processor()
    async with making as processor:
        options = {"as_it_is": True} if "batches" in method else {}
        assert await through(processor, method, range(count), work, **options) == list(range(count))
        figures = processor.statistics()
        assert (figures.items_done, figures.items_failed, figures.items_rerun) == (count, 0, 0)
        check_quiet(processor)
    assert sorted(done) == list(range(count))  # each once
    assert machine.held == 0
    assert machine.most <= TIGHT_BYTES
    return figures, machine, most_at_once


@METHODS
@pytest.mark.parametrize("grow", [False, True])
def test_many_items_of_unknown_size_share_a_tight_limit(run_virtual, method: str, grow: bool) -> None:
    async def main() -> None:
        figures, machine, most_at_once = await share_a_tight_limit(method, grow=grow, virtual=True)
        assert machine.most >= 0.7 * TIGHT_BYTES  # it was tight
        assert figures.waits > 0
        assert most_at_once > 16

    run_virtual(main)


@METHODS
def test_a_tight_limit_holds_in_real_time_too(run, method: str) -> None:
    """How full memory gets, and who waits, is up to how fast the machine is; what must never be is not.

    Where items double, nobody knows before they have been seen: on a machine that stands still at that moment, what is
    in flight may be a few percent too much, which is for the bound on the heap to catch.
    """

    async def main() -> None:
        await share_a_tight_limit(method, grow=False, virtual=False)

    run(main)


# ---- waiting ----------------------------------------------------------------------------------------------------


@METHODS
def test_admission_waits_and_goes_on_when_memory_comes_back(run, method: str) -> None:
    async def main() -> None:
        machine = Machine(others=1100 * MIB)
        async with machine.processor(concurrency=4, batch_size=4) as processor:

            async def give_back() -> None:
                while not processor.statistics().waits:
                    await anyio.sleep(0.001)
                statistics = processor.statistics()
                assert statistics.level == "stop"
                assert statistics.items_done == 0
                machine.others = 100 * MIB

            async with anyio.create_task_group() as group:
                group.start_soon(give_back)
                assert await through(processor, method, range(50)) == [2 * n for n in range(50)]
            statistics = processor.statistics()
            assert statistics.waits >= 1
            assert statistics.waited_s > 0
            check_quiet(processor)

    run(main)


@METHODS
def test_no_memory_for_too_long_is_an_error_with_the_numbers(run, method: str) -> None:
    async def main() -> None:
        machine = Machine(others=1100 * MIB)
        async with machine.processor(admission_timeout_s=0.02, process_name="job") as processor:
            with pytest.raises(MemoryPressureError) as caught:
                await through(processor, method, range(50))
            error = caught.value
            assert error.operation.startswith("job.")
            assert (error.in_use_bytes, error.limit_bytes, error.limit_source) == (1100 * MIB, GIB, "the script")
            assert error.waited_s >= 0.02
            assert "1.07 GiB" in str(error) or "1.1 GiB" in str(error)
            assert processor.statistics().items_done == 0
            check_quiet(processor)

    run(main)


def test_a_hint_larger_than_the_limit_is_refused_at_once(run) -> None:
    async def main() -> None:
        machine = Machine()
        async with machine.processor(admission_timeout_s=60) as processor:
            work = machine.working(int)
            await processor.process([100 * MIB] * 20, work, size_hint=float)
            with pytest.raises(MemoryPressureError) as caught:
                await processor.process([100 * MIB, 100 * GIB], work, size_hint=float)
            assert caught.value.waited_s < 5
            assert caught.value.requested_bytes > GIB
            check_quiet(processor)

    run(main)


def test_batches_are_split_when_they_no_longer_fit(run) -> None:
    async def main() -> None:
        machine, sizes = Machine(), []

        async def work(items: list[int]) -> list[int]:
            sizes.append(len(items))
            machine.hold(20 * MIB * len(items))
            await settle(3)
            machine.hold(-20 * MIB * len(items))
            if len(sizes) == 8:
                machine.probe.limit_bytes = 350 * MIB
            return items

        manager = {"limit_refresh_s": 1e-9}
        settings = {"batch_size": 16, "concurrency": 1, "auto_optimize": False, "memory_manager": manager}
        async with machine.processor(**settings) as processor:
            assert await processor.process_batches(range(16 * 16), work) == list(range(16 * 16))
            assert processor.statistics().waits > 0
            check_quiet(processor)
        assert sizes[:8] == [16] * 8
        assert max(sizes[8:]) < 16

    run(main)


def test_what_others_come_to_hold_meanwhile_stops_nobody(run) -> None:
    """A third of the limit is still free, and an item takes a fiftieth."""

    async def main() -> None:
        machine, done = Machine(), 0

        async def work(item: int) -> int:
            nonlocal done
            machine.hold(20 * MIB)
            await settle(3)
            machine.hold(-20 * MIB)
            done += 1
            if done == 50:
                machine.others = 650 * MIB
            return item

        async with machine.processor(concurrency=1, auto_optimize=False, admission_timeout_s=0.2) as processor:
            assert await processor.process(range(200), work) == list(range(200))

    run(main)


def test_one_item_at_a_time_while_memory_is_nearly_full(run) -> None:
    async def main() -> None:
        machine, running, most = Machine(others=1000 * MIB), 0, 0

        async def work(item: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await settle(3)
            running -= 1
            return item

        async with machine.processor(concurrency=8) as processor:
            assert await processor.process(range(20), work) == list(range(20))
            assert most == 1
            assert processor.statistics().waits > 0
            check_quiet(processor)

    run(main)


def test_collection_is_tried_while_waiting(run) -> None:
    async def main() -> None:
        machine = Machine(others=1100 * MIB)
        manager = {"auto_gc": True, "trim": False}
        async with machine.processor(memory_manager=manager, admission_timeout_s=0.05) as processor:
            with pytest.raises(MemoryPressureError):
                await processor.process(range(5), double)
            assert processor.statistics().reclaims >= 1

    run(main)


def test_two_calls_share_the_memory_there_is(run) -> None:
    async def main() -> None:
        machine = Machine()
        async with machine.processor(concurrency=6) as processor:
            work = machine.working(lambda item: 80 * MIB)
            async with anyio.create_task_group() as group:
                for operation in ("a", "b"):
                    group.start_soon(_process, processor, work, operation)
            check_quiet(processor)
        assert machine.most <= GIB

    run(main)


async def _process(processor: BatchProcessor, work: Any, operation: str) -> None:
    assert await processor.process(range(100), work, operation=operation) == list(range(100))


# ---- reading ----------------------------------------------------------------------------------------------------


@METHODS
def test_without_monitoring_nothing_is_read(run, method: str) -> None:
    async def main() -> None:
        machine = Machine(others=2 * GIB)
        async with machine.processor(memory_monitoring=False) as processor:
            assert await through(processor, method, range(50)) == [2 * n for n in range(50)]
            assert (machine.probe.reads, machine.probe.limits) == (0, 0)
            statistics = processor.statistics()
            assert (statistics.limit_bytes, statistics.limit_source, statistics.level) == (0, "", "normal")
            check_quiet(processor)

    run(main)


def test_readings_go_on_while_one_long_item_runs_and_end_with_it(run) -> None:
    async def main() -> None:
        machine = Machine()
        async with machine.processor() as processor:

            async def work(item: int) -> int:
                before = machine.probe.reads
                with anyio.fail_after(60):
                    while machine.probe.reads < before + 5:
                        await anyio.sleep(0.002)
                return item

            assert await processor.process([1], work) == [1]
            reads = machine.probe.reads
            await anyio.sleep(0.02)
            assert machine.probe.reads == reads

    run(main)


def test_readings_go_on_when_the_call_that_began_first_ends_first(run) -> None:
    async def main() -> None:
        machine = Machine()
        async with machine.processor() as processor:

            async def work(go_on: anyio.Event) -> None:
                await go_on.wait()

            first, second = anyio.Event(), anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(processor.process, [first], work)
                await settle()
                group.start_soon(processor.process, [second], work)
                await settle()
                first.set()
                await settle(50)
                before = machine.probe.reads
                with anyio.fail_after(60):
                    while machine.probe.reads < before + 5:
                        await anyio.sleep(0.002)
                second.set()
            check_quiet(processor)

    run(main)


@METHODS
@pytest.mark.parametrize("good_reads", [0, 1, 2, 5])
def test_a_probe_that_fails_ends_the_call_bare(run, method: str, good_reads: int) -> None:
    async def main() -> None:
        probe = ScriptedProbe([*([100 * MIB] * good_reads), OSError("no /proc")])
        async with make_processor(probe, concurrency=3, batch_size=3, auto_optimize=False) as processor:
            with pytest.raises(OSError, match="no /proc"):
                await through(processor, method, range(100))
            probe.set(100 * MIB)
            check_quiet(processor)
            assert await through(processor, method, range(10)) == [2 * n for n in range(10)]

    run(main)


def test_a_probe_that_fails_between_batches_ends_the_call_bare(run) -> None:
    async def main() -> None:
        machine = Machine()
        async with machine.processor() as processor:

            async def work(item: int) -> int:
                machine.probe.set(OSError("no /proc"))
                await anyio.sleep(60)
                return item

            with pytest.raises(OSError, match="no /proc"):
                await processor.process([1], work)
            machine.probe.set(0)
            check_quiet(processor)

    run(main)


def test_a_failure_under_pressure_is_still_the_function_s(run) -> None:
    async def main() -> None:
        machine = Machine(others=1000 * MIB)
        async with machine.processor() as processor:

            async def broken(item: int) -> int:
                raise MemoryError("too much")

            with pytest.raises(BatchFailed) as caught:
                await processor.process(range(5), broken)
            assert isinstance(caught.value.exceptions[0], MemoryError)
            check_quiet(processor)

    run(main)


def test_the_limit_may_move_while_working(run) -> None:
    async def main() -> None:
        machine = Machine(others=500 * MIB)
        manager = {"limit_refresh_s": 0.001}
        async with machine.processor(concurrency=1, memory_manager=manager) as processor:

            async def work(item: int) -> int:
                machine.probe.limit_bytes = 2 * GIB if item >= 5 else GIB
                await anyio.sleep(0.002)
                return item

            await processor.process(range(10), work)
            assert processor.statistics().limit_bytes == 2 * GIB

    run(main)


def test_room_that_comes_from_elsewhere_is_used_while_all_of_ours_take_long(run) -> None:
    """Nobody of ours ends, so nobody of ours looks for room at the end of its work: somebody must look out for it."""

    async def main() -> None:
        others, started = 0, 0

        def read(now_s: float) -> MemoryReading:
            ours = 100 * MIB * (1 + started)
            return MemoryReading(now_s, ours, ours, ours + others, 0)

        probe = ScriptedProbe(read, limit=GIB)
        go_on = anyio.Event()

        async def long(item: int) -> int:
            nonlocal started
            started += 1
            await go_on.wait()
            return item

        async def watch() -> None:
            nonlocal others
            await anyio.sleep(0.4)
            before, others = started, 0
            assert before <= 4
            with anyio.fail_after(60):
                while started < 7:
                    await anyio.sleep(0.01)
            go_on.set()

        others = 500 * MIB
        async with make_processor(probe, concurrency=8, auto_optimize=False) as processor:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                assert await processor.process(range(8), long, size_hint=lambda item: 100.0 * MIB) == list(range(8))
            check_quiet(processor)

    run(main)


@pytest.mark.parametrize("at", [60, 200, 240])
def test_a_large_item_that_waits_and_runs_leaves_as_many_in_flight_as_before(run_virtual, at: int) -> None:
    """While it does, hardly anything else ends: that says nothing about how many should be in flight."""
    machine = Machine()

    async def main() -> None:
        async def work(size: int) -> None:
            machine.hold(size)
            await anyio.sleep(1.0 if size > MIB else 0.1)
            machine.hold(-size)

        sizes = [800 * MIB if place % 400 == at else MIB for place in range(1000)]
        async with virtual_processor(machine.probe) as processor:
            await processor.process(sizes, work, size_hint=float)
            waits, decisions = processor.statistics().waits, processor.memory.optimizer.explain()
        assert waits >= 2
        assert max(each.after for each in decisions) >= 64
        assert [str(each) for each in decisions if each.after < each.before] == []

    run_virtual(main)
