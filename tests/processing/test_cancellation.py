"""Cancelling a call at every step that any of its tasks takes: nothing may be left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed, MemoryPressureError
from memflow.memory.sampler import Sampler
from memflow.processing.bundle import MemoryBundle
from memflow.processing.processor import BatchProcessor
from memflow.settings import BatchOptimizerSettings, MemflowSettings, MemoryManagerSettings
from memflow.testing import ScriptedProbe
from tests.processing.calls import check_quiet
from tests.processing.parts import GIB, MIB


@dataclass
class Scene:
    """A processor, and a count of whatever the user's code has open."""

    processor: BatchProcessor
    running: int = 0
    sources: int = 0
    finished: list[Any] = field(default_factory=list)

    async def work(self, item: Any) -> Any:
        self.running += 1
        try:
            await anyio.sleep(0)
            return item
        finally:
            self.running -= 1

    async def work_all(self, items: list[Any]) -> list[Any]:
        return [await self.work(item) for item in items]

    async def fails(self, item: Any) -> Any:
        if item == 7:
            raise ValueError(item)
        return await self.work(item)

    async def source(self, count: int = 12) -> AsyncIterator[int]:
        self.sources += 1
        try:
            for number in range(count):
                if number % 2:
                    await anyio.sleep(0)
                yield number
        finally:
            self.sources -= 1
            await anyio.sleep(0)


def scene(script: Any = 0, **overrides: Any) -> Scene:
    settings = MemflowSettings(
        memory_manager=MemoryManagerSettings(boundary_interval_s=0, auto_gc=False, sample_interval_s=0.001),
        batch_optimizer=BatchOptimizerSettings(),
    )
    sampler = Sampler(settings.memory_manager, probe=ScriptedProbe(script, limit=GIB))
    sampler.reclaim_if_allowed = _not_now  # type: ignore[method-assign]  # threads take no steps that can be counted
    fields = {"concurrency": 3, "batch_size": 2, **overrides}
    return Scene(BatchProcessor(bundle=MemoryBundle(settings, sampler=sampler), **fields))


async def _not_now(wanted_bytes: int = 0) -> None:
    """Reclaim nothing."""


# ---- what is run ------------------------------------------------------------------------------------------------


async def process(of: Scene) -> None:
    assert await of.processor.process(range(12), of.work) == list(range(12))


async def process_batches(of: Scene) -> None:
    assert await of.processor.process_batches(range(12), of.work_all) == list(range(12))


async def process_async_source(of: Scene) -> None:
    assert await of.processor.process(of.source(), of.work) == list(range(12))


async def process_with_hints(of: Scene) -> None:
    assert await of.processor.process(range(12), of.work, size_hint=lambda item: 10.5 * item) == list(range(12))


async def stream(of: Scene) -> None:
    async with of.processor.stream(of.source(), of.work) as results:
        assert [result async for result in results] == list(range(12))


async def stream_unordered(of: Scene) -> None:
    async with of.processor.stream(range(12), of.work, ordered=False) as results:
        assert sorted([result async for result in results]) == list(range(12))


async def stream_batches(of: Scene) -> None:
    async with of.processor.stream_batches(of.source(), of.work_all) as results:
        assert [result async for result in results] == list(range(12))


async def stream_left_early(of: Scene) -> None:
    async with of.processor.stream(of.source(10**6), of.work) as results:
        async for result in results:
            if result == 5:
                break


async def slow_consumer(of: Scene) -> None:
    async with of.processor.stream(range(60), of.work) as results:
        async for _ in results:
            await anyio.sleep(0)


async def failing(of: Scene) -> None:
    with pytest.raises(BatchFailed):
        await of.processor.process(of.source(), of.fails)


async def collecting(of: Scene) -> None:
    results = await of.processor.process_batches(of.source(), of.work_all, on_error="collect")
    assert results == list(range(12))


async def two_calls(of: Scene) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(process, of)
        group.start_soon(stream, of)


async def with_issues(of: Scene) -> None:
    async with of.processor.issues():
        await process(of)


SCENARIOS: list[tuple[Callable[[Scene], Awaitable[None]], dict[str, Any]]] = [
    (process, {}),
    (process_batches, {}),
    (process_async_source, {}),
    (process_async_source, {"linger_s": 0.001}),
    (process_with_hints, {}),
    (process, {"item_timeout_s": 30.0}),
    (process, {"attempts": 2, "retry_wait_s": 0.0}),
    (process, {"delay_between_batches_s": 1e-5}),
    (process, {"memory_monitoring": False}),
    (stream, {}),
    (stream_unordered, {}),
    (stream_batches, {}),
    (stream_left_early, {}),
    (slow_consumer, {}),
    (failing, {}),
    (collecting, {}),
    (two_calls, {}),
    (with_issues, {}),
]


def check(of: Scene, step: int) -> None:
    assert (of.running, of.sources) == (0, 0), f"cancelled at step {step}"
    check_quiet(of.processor)


@pytest.mark.parametrize(("what", "overrides"), SCENARIOS, ids=lambda value: getattr(value, "__name__", None))
def test_cancelled_at_every_step_nothing_is_left(
    cancel_everywhere, what: Callable[[Scene], Awaitable[None]], overrides: dict[str, Any]
) -> None:
    def scenario() -> tuple[Callable[[], Awaitable[None]], Scene]:
        of = scene(**overrides)
        return lambda: what(of), of

    assert cancel_everywhere(scenario, check) > 10


def test_cancelled_while_memory_is_short_nothing_is_left(cancel_everywhere) -> None:
    """Memory comes and goes, so that batches wait, are admitted alone, and wait again."""

    def scenario() -> tuple[Callable[[], Awaitable[None]], Scene]:
        of = scene([500 * MIB, *([800 * MIB, 1000 * MIB, 1000 * MIB, 500 * MIB] * 10)])

        async def run() -> None:
            try:
                await process(of)
                await stream(of)
            except MemoryPressureError:
                pass  # what the script makes an item look like may be too large for good

        return run, of

    assert cancel_everywhere(scenario, check) > 10


def test_a_processor_goes_on_working_after_a_cancelled_call(run) -> None:
    async def main() -> None:
        of = scene()
        for rounds in range(30):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(stream, of)
                    for _ in range(rounds):
                        await anyio.sleep(0)
                    scope.cancel()
            check(of, rounds)
        await process(of)
        check(of, -1)

    run(main)


def test_cancellation_waits_for_threads_and_counts_them_until_then(run) -> None:
    import threading

    go_on, ended = threading.Event(), []

    def work(item: int) -> int:
        go_on.wait(60)
        ended.append(item)
        return item

    async def main() -> None:
        of = scene()
        async with anyio.create_task_group() as group:
            group.start_soon(of.processor.process, range(3), work)
            while not of.processor.statistics().items_in_flight:
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
            assert of.processor.statistics().items_in_flight > 0
            go_on.set()
        assert len(ended) <= 3
        check(of, -1)

    run(main)


def test_a_deadline_passes_through(run_virtual) -> None:
    async def main() -> None:
        of = scene(memory_monitoring=False)
        with anyio.move_on_after(5) as scope:
            await of.processor.process(range(3), _sleep_long)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(5):  # noqa: PT012 - raised on the way out
            async with of.processor.stream(range(3), _sleep_long) as results:
                async for _ in results:
                    pass
        check(of, -1)

    run_virtual(main)


async def _sleep_long(item: int) -> None:
    await anyio.sleep(100)
