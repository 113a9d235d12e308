"""`on_memory_critical=`: `memflow.processing.critical_hook` and the decision in `memflow.processing.critical`."""

from __future__ import annotations

import logging
import threading
from typing import Any

import anyio
import pytest

from memflow.exceptions import ConfigurationError, MemoryPressureError
from memflow.memory.pressure import PressureLevel
from memflow.processing.critical import CriticalGauge, MemoryCritical
from memflow.processing.processor import BatchProcessor
from memflow.settings import (
    BatchOptimizerSettings,
    BatchProcessorSettings,
    HeapAnalyzerSettings,
    MemflowSettings,
    MemoryManagerSettings,
)
from memflow.testing import ScriptedProbe, make_processor
from tests.processing.parts import GIB, MIB

STOP, SHRINK = PressureLevel.STOP, PressureLevel.SHRINK


# ---- when -------------------------------------------------------------------------------------------------------


@pytest.fixture
def gauge() -> CriticalGauge:
    return CriticalGauge(near_pct=95, clear_pct=85, sustained_s=1)


def test_near_the_limit_is_critical_at_once(gauge: CriticalGauge) -> None:
    assert gauge.update(94, STOP, 0) is None
    assert gauge.update(95, STOP, 0.1) == "near the limit"
    assert gauge.lasted_s(0.1) == pytest.approx(0.1)


def test_the_last_level_is_critical_once_it_has_lasted(gauge: CriticalGauge) -> None:
    assert gauge.update(91, STOP, 0) is None
    assert gauge.update(91, STOP, 0.9) is None
    assert gauge.update(91, STOP, 1) == "stopped for long"


def test_the_wait_begins_anew_when_the_level_falls_or_the_clock_goes_back(gauge: CriticalGauge) -> None:
    for level, pct, now_s in [(STOP, 91, 10), (SHRINK, 84, 10.5), (STOP, 91, 10.9), (STOP, 91, 5), (STOP, 91, 5.9)]:
        assert gauge.update(pct, level, now_s) is None
    assert gauge.update(91, STOP, 6) == "stopped for long"


def test_it_is_told_again_only_after_memory_was_below_both_thresholds(gauge: CriticalGauge) -> None:
    assert gauge.update(99, STOP, 0) == "near the limit"
    assert gauge.update(99, STOP, 1) == "near the limit"  # nobody has taken it up
    gauge.told = True
    for level, pct, now_s in [(STOP, 99, 2), (SHRINK, 86, 3), (STOP, 99, 4)]:
        assert gauge.update(pct, level, now_s) is None
    assert gauge.update(84, SHRINK, 5) is None
    assert gauge.update(99, STOP, 6) == "near the limit"


# ---- calling ----------------------------------------------------------------------------------------------------


class Memory:
    """Memory that is set by hand, with a processor around it and what was told of it."""

    def __init__(self, hook: Any = None, *, sustained_s: float = 1000, **overrides: Any) -> None:
        self.in_use = 100 * MIB
        self.told: list[MemoryCritical] = []
        self.probe = ScriptedProbe(lambda now_s: self.in_use, limit=GIB)
        settings = MemflowSettings(
            memory_manager=MemoryManagerSettings(
                boundary_interval_s=0, auto_gc=False, sample_interval_s=0.002, cooldown_s=0
            ),
            heap_analyzer=HeapAnalyzerSettings(sustained_s=sustained_s),
            batch_optimizer=BatchOptimizerSettings(),
            batch_processor=BatchProcessorSettings(),
        )
        self.processor: BatchProcessor = make_processor(
            self.probe, settings=settings, on_memory_critical=hook or self.tell, process_name="service", **overrides
        )

    async def tell(self, critical: MemoryCritical) -> None:
        self.told.append(critical)

    async def fill(self, pct: float) -> None:
        """Set what is in use, and wait until it was read a few times and acted on."""
        self.in_use = int(pct / 100 * GIB)
        before = self.probe.reads
        while self.probe.reads < before + 8:
            await anyio.sleep(0.001)

    async def play(self, *steps: float) -> None:
        """Run one item, during which memory takes these steps, in per cent of the limit."""

        async def work(item: int) -> int:
            for pct in steps:
                await self.fill(pct)
            return item

        assert await self.processor.process([7], work) == [7]


def test_a_function_is_told_how_memory_stands(run) -> None:
    async def main() -> None:
        memory = Memory()
        async with memory.processor:
            await memory.play(50, 97, 97, 99)
        (critical,) = memory.told
        assert critical.reason == "near the limit"
        assert critical.in_use_bytes == int(0.97 * GIB)
        assert (critical.limit_bytes, critical.limit_source) == (GIB, "a script")
        assert critical.in_flight == ("service.work",)
        assert critical.statistics.items_in_flight == 1
        assert critical.statistics.process_name == "service"
        assert critical.statistics.level == "stop"

    run(main)


def test_the_last_level_that_lasts_is_told(run) -> None:
    async def main() -> None:
        memory = Memory(sustained_s=0.01)
        async with memory.processor:
            await memory.play(92)
        (critical,) = memory.told
        assert critical.reason == "stopped for long"
        assert critical.lasted_s >= 0.01

    run(main)


def test_it_is_called_again_only_after_memory_was_below(run) -> None:
    async def main() -> None:
        memory = Memory()
        async with memory.processor:
            await memory.play(97, 88, 97)
            assert len(memory.told) == 1
            memory.in_use = 100 * MIB
            await memory.play(97, 50, 97)  # and it is told in later calls, too
            assert len(memory.told) == 3

    run(main)


def test_a_sync_function_runs_in_a_thread_and_holds_nobody_up(run) -> None:
    async def main() -> None:
        threads: list[int] = []
        release = threading.Event()

        def save(critical: MemoryCritical) -> None:
            assert release.wait(30)
            threads.append(threading.get_ident())

        memory = Memory(save)

        async def work(item: int) -> int:
            await memory.fill(97)
            await memory.fill(50)
            await memory.fill(97)  # it runs still, and is not begun again
            release.set()
            return item

        async with memory.processor:
            assert await memory.processor.process([7], work) == [7]
        assert len(threads) in (1, 2)  # a second time, if a reading came after the first had ended
        assert threading.get_ident() not in threads

    run(main)


def test_it_never_runs_twice_at_the_same_time(run) -> None:
    async def main() -> None:
        inside = most = calls = 0

        async def save(critical: MemoryCritical) -> None:
            nonlocal inside, most, calls
            inside, calls = inside + 1, calls + 1
            most = max(most, inside)
            await anyio.sleep(0.03)
            inside -= 1

        memory = Memory(save)

        async def both() -> None:
            async with memory.processor, anyio.create_task_group() as group:
                group.start_soon(memory.play, *([97, 50] * 8))
                group.start_soon(memory.play, *([97, 50] * 8))

        await both()
        assert most == 1
        assert calls > 1
        assert inside == 0  # the calls waited for it

    run(main)


def test_what_it_raises_is_logged_and_ends_nothing(run, caplog: pytest.LogCaptureFixture) -> None:
    def broken(critical: MemoryCritical) -> None:
        raise OSError("the disk is full")

    async def broken_async(critical: MemoryCritical) -> None:
        raise OSError("the disk is full")

    async def main(hook: Any) -> None:
        memory = Memory(hook)
        async with memory.processor:
            await memory.play(97, 50, 97)

    for hook in (broken, broken_async):
        caplog.clear()
        with caplog.at_level(logging.ERROR, "memflow.processing"):
            run(main, hook)
        assert [each.message for each in caplog.records] == ["on_memory_critical failed; the run goes on"] * 2
        assert "the disk is full" in caplog.text


def test_a_lambda_that_gives_a_coroutine_is_awaited(run) -> None:
    async def main() -> None:
        memory = Memory(lambda critical: memory.tell(critical))
        async with memory.processor:
            await memory.play(97)
        assert len(memory.told) == 1

    run(main)


def test_it_is_told_when_a_wait_gives_up(run) -> None:
    async def main() -> None:
        memory = Memory()

        async def work(item: int) -> int:
            memory.processor._totals.on_giving_up()
            await memory.fill(97)  # and not again for the same want
            return item

        async with memory.processor:
            assert await memory.processor.process([1], work) == [1]
        (critical,) = memory.told
        assert (critical.reason, critical.in_use_bytes, critical.lasted_s) == ("giving up", 100 * MIB, 0)

    run(main)


def test_it_is_called_before_the_error_of_a_call_that_gave_up(run) -> None:
    async def main() -> None:
        memory = Memory(admission_timeout_s=0.05)
        memory.in_use = 2 * GIB
        async with memory.processor:
            with pytest.raises(MemoryPressureError):
                await memory.processor.process([1], len)
            assert [each.reason for each in memory.told] == ["near the limit"]  # which came first

    run(main)


def test_a_function_that_exits_ends_the_program(run) -> None:
    async def leave(critical: MemoryCritical) -> None:
        raise SystemExit(7)

    async def main() -> None:
        memory = Memory(leave)
        async with memory.processor:
            await memory.play(97)

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 7


def test_an_item_larger_than_the_limit_is_nothing_critical(run) -> None:
    async def main() -> None:
        memory = Memory()

        async def work(item: int) -> int:
            return item

        async with memory.processor:
            with pytest.raises(MemoryPressureError):
                await memory.processor.process([1], work, size_hint=lambda item: 2 * GIB)
        assert memory.told == []

    run(main)


def test_streams_are_watched_and_nothing_is_between_calls(run) -> None:
    async def main() -> None:
        memory = Memory()

        async def work(item: int) -> int:
            await memory.fill(97)
            return item

        async with memory.processor:
            memory.in_use = int(0.97 * GIB)
            memory.processor.memory.monitor()
            assert memory.told == []
            memory.in_use = 100 * MIB
            async with memory.processor.stream([1], work) as results:
                assert [each async for each in results] == [1]
            assert len(memory.told) == 1

    run(main)


def test_errors_of_the_function_and_of_the_body_come_out_bare(run) -> None:
    async def main() -> None:
        memory = Memory()

        async def work(item: int) -> int:
            return item

        async with memory.processor:
            with pytest.raises(ZeroDivisionError):
                async with memory.processor.stream([1], work):
                    raise ZeroDivisionError
            with pytest.raises(KeyboardInterrupt):
                async with memory.processor.stream([1], work):
                    raise KeyboardInterrupt

    run(main)


def test_cancelling_the_call_cancels_it(run) -> None:
    async def main() -> None:
        ended: list[str] = []

        async def save(critical: MemoryCritical) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("cancelled")

        memory = Memory(save)

        async def work(item: int) -> int:
            await memory.fill(97)
            scope.cancel()
            await anyio.sleep_forever()
            return item

        async with memory.processor:
            with anyio.CancelScope() as scope:
                await memory.processor.process([1], work)
            assert ended == ["cancelled"]
            memory.in_use = 100 * MIB
            await memory.play(50)
            await memory.processor.process([1], lambda item: item)

    run(main)


def test_what_cannot_be_meant_so_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_memory_critical must be callable, not str"):
        BatchProcessor(on_memory_critical="save")  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(ConfigurationError, match="memory_monitoring=False"):
        BatchProcessor(on_memory_critical=print, memory_monitoring=False)
