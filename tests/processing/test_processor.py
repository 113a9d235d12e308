"""`BatchProcessor`, the front door: `memflow.processing.processor`; results, life and settings."""

from __future__ import annotations

import functools
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from memflow.exceptions import (
    BatchFailed,
    ConfigurationError,
    ProcessorClosedError,
)
from memflow.processing.processor import BatchProcessor
from memflow.settings import BatchProcessorSettings, MemflowSettings
from memflow.testing import ScriptedProbe, collect_events, make_processor
from tests import backends
from tests.processing.calls import METHODS, WAYS, arriving, check_quiet, double, through
from tests.processing.parts import bundle_with, settle

# ---- results ----------------------------------------------------------------------------------------------------


@METHODS
@pytest.mark.parametrize("count", [0, 1, 10, 333])
def test_results_are_aligned_with_the_input(run, method: str, count: int) -> None:
    async def main() -> None:
        async with make_processor() as processor:
            expected = [2 * n for n in range(count)]
            assert await through(processor, method, range(count)) == expected
            assert await through(processor, method, (n for n in range(count))) == expected
            assert await through(processor, method, arriving(count)) == expected
            statistics = processor.statistics()
            assert (statistics.items_done, statistics.items_failed) == (3 * count, 0)
            check_quiet(processor)

    run(main)


@METHODS
def test_falsy_results_are_kept(run, method: str) -> None:
    async def main() -> None:
        items = [None, 0, False, "", [], {}, 0.0]

        async def same(item: Any) -> Any:
            return item

        async with make_processor() as processor:
            assert await through(processor, method, items, same) == items

    run(main)


@METHODS
@pytest.mark.parametrize("auto", [False, True])
def test_sizes_of_the_user_change_only_with_auto_optimize(run, method: str, auto: bool) -> None:
    async def main() -> None:
        async with make_processor(batch_size=7, concurrency=3, auto_optimize=auto) as processor:
            assert await through(processor, method, range(2000)) == [2 * n for n in range(2000)]
            statistics = processor.statistics()
            assert statistics.size_changes[0].concurrency == 3 or auto
            if not auto:
                assert statistics.concurrency == 3
                assert len(statistics.size_changes) == 1
                assert statistics.batch_size == (7 if "batches" in method else 1)

    run(main)


def test_batches_have_the_size_of_the_user_without_auto_optimize(run) -> None:
    async def main() -> None:
        sizes = []

        async def noting(items: list[int]) -> list[int]:
            assert type(items) is list
            sizes.append(len(items))
            return items

        async with make_processor(batch_size=7, auto_optimize=False) as processor:
            await processor.process_batches(range(24), noting)
            await processor.process_batches(arriving(24), noting)
        assert sizes == [7, 7, 7, 3] * 2

    run(main)


def test_no_more_than_the_concurrency_runs_at_once(run) -> None:
    async def main() -> None:
        running = most = 0

        async def work(item: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await settle(3)
            running -= 1
            return item

        async with make_processor(concurrency=6, auto_optimize=False) as processor:
            await processor.process(range(100), work)
        assert most == 6

    run(main)


# ---- life -------------------------------------------------------------------------------------------------------


@METHODS
def test_a_closed_processor_says_so(run, method: str) -> None:
    async def main() -> None:
        async with make_processor(process_name="job") as processor:
            pass
        with pytest.raises(ProcessorClosedError, match="'job' is closed"):
            await through(processor, method, [1])
        with pytest.raises(ProcessorClosedError):
            processor.issues()
        with pytest.raises(ProcessorClosedError):
            await processor.__aenter__()
        await processor.aclose()
        assert processor.statistics().items_done == 0

    run(main)


def test_a_stream_that_was_asked_for_before_closing_does_not_start_after(run) -> None:
    async def main() -> None:
        processor = make_processor()
        stream = processor.stream([1], double)
        await processor.aclose()
        with pytest.raises(ProcessorClosedError):
            async with stream:
                pass

    run(main)


def test_calls_that_run_at_closing_go_on_to_their_end(run) -> None:
    async def main() -> None:
        processor = make_processor(concurrency=2, auto_optimize=False)
        async with processor.stream(range(100), double) as results:
            await anext(results)
            await processor.aclose()
            assert [result async for result in results] == [2 * n for n in range(1, 100)]

    run(main)


def test_enter_and_exit_may_happen_in_different_tasks(run) -> None:
    async def main() -> None:
        processor = make_processor()

        async def enter() -> None:
            await processor.__aenter__()

        async def leave() -> None:
            await processor.__aexit__(None, None, None)

        for step in (enter, functools.partial(through, processor, "process", range(5)), leave):
            async with anyio.create_task_group() as group:
                group.start_soon(step)
        check_quiet(processor)
        assert processor.statistics().items_done == 5

    run(main)


def test_a_processor_serves_many_event_loops_one_after_another() -> None:
    processor = make_processor()
    for backend in ("asyncio", "trio", "asyncio", "trio"):
        assert backends.run(backend, processor.process, range(5), double) == [0, 2, 4, 6, 8]
    check_quiet(processor)


def test_many_calls_at_once(run) -> None:
    async def main() -> None:
        async with make_processor(concurrency=3) as processor:
            done = []

            async def call(method: str, number: int) -> None:
                items = range(number)
                assert await through(processor, method, items) == [2 * n for n in items]
                done.append(number)

            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(call, WAYS[number % 4], number)
                await settle(3)
                assert processor.statistics().calls_open > 1
            assert sum(done) == processor.statistics().items_done
            check_quiet(processor)

    run(main)


def test_a_failing_call_does_not_disturb_another(run) -> None:
    async def main() -> None:
        async def broken(item: int) -> int:
            raise ValueError(item)

        async with make_processor() as processor:

            async def fails() -> None:
                for _ in range(10):
                    with pytest.raises(BatchFailed):
                        await processor.process(range(5), broken)

            async with anyio.create_task_group() as group:
                group.start_soon(fails)
                assert await processor.process(range(500), double) == [2 * n for n in range(500)]
            check_quiet(processor)

    run(main)


def test_a_call_may_run_inside_another_s_function(run) -> None:
    async def main() -> None:
        async with make_processor(concurrency=3) as processor:

            async def outer(count: int) -> int:
                return sum(await processor.process(range(count), double))

            assert await processor.process(range(10), outer) == [n * (n - 1) for n in range(10)]
            check_quiet(processor)

    run(main)


def test_streams_may_be_chained(run) -> None:
    async def main() -> None:
        async with (
            make_processor(concurrency=3) as processor,
            processor.stream(range(200), double) as first,
            processor.stream(first, double) as second,
        ):
            assert [result async for result in second] == [4 * n for n in range(200)]

    run(main)


def test_two_processors_share_state_when_their_settings_are_equal(run) -> None:
    async def main() -> None:
        async with BatchProcessor(process_name="a") as first, BatchProcessor(process_name="b") as second:
            assert first.memory.state is second.memory.state
            assert first.memory.admission is second.memory.admission
            async with anyio.create_task_group() as group:
                group.start_soon(first.process, range(50), double)
                group.start_soon(second.process, range(50), double)
            assert first.statistics().items_done == second.statistics().items_done == 50
            check_quiet(first)
            check_quiet(second)

    run(main)


def test_closing_one_processor_leaves_another_on_the_same_bundle_alone(run) -> None:
    async def main() -> None:
        bundle = bundle_with(ScriptedProbe("1000MiB", limit="1GiB"))
        one, other = BatchProcessor(bundle=bundle), BatchProcessor(bundle=bundle)
        async with one.issues() as of_one, collect_events(other) as of_other:
            await one.aclose()
            assert [event async for event in of_one] == []
            bundle.monitor()
        assert of_other
        await other.aclose()

    run(main)


def test_issues_end_when_the_processor_is_closed(run) -> None:
    async def main() -> None:
        for processor in (make_processor(), BatchProcessor()):
            ended = []

            async def listen(processor: BatchProcessor = processor, ended: list[bool] = ended) -> None:
                async with processor.issues() as issues:
                    async for _ in issues:
                        pass
                ended.append(True)

            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                await settle()
                await processor.aclose()
            assert ended == [True]

    run(main)


def test_memory_issues_arrive(run) -> None:
    async def main() -> None:
        probe = ScriptedProbe("500MiB", limit="1GiB")
        async with make_processor(probe) as processor:
            async with collect_events(processor) as events:
                await processor.process(range(5), double)
                assert events == []
                probe.set("1000MiB")
                processor.memory.sampler.sample()
            assert events
            assert processor.statistics().issues_open >= 1

    run(main)


# ---- settings ---------------------------------------------------------------------------------------------------


def test_settings_come_in_several_ways() -> None:
    assert BatchProcessor(BatchProcessorSettings(process_name="a")).settings.process_name == "a"
    whole = MemflowSettings(batch_processor=BatchProcessorSettings(process_name="b"))
    assert BatchProcessor(whole).settings.process_name == "b"
    assert BatchProcessor(whole, concurrency=3).settings.concurrency == 3
    with pytest.raises(ValidationError, match="concurrency"):
        BatchProcessor(concurrency=0)
    with pytest.raises(ConfigurationError):
        BatchProcessor({"concurrency": 3})  # type: ignore[arg-type]


def test_memory_is_collected_before_and_after_when_asked_for(run) -> None:
    async def main() -> None:
        settings = MemflowSettings(batch_optimizer={"pre_process_gc": True})
        async with make_processor(settings=settings, force_gc_on_completion=True) as processor:
            reclaims = processor.memory.sampler.reclaims
            await processor.process([1], double)
            assert processor.memory.sampler.reclaims - reclaims == 2
            async with processor.stream([1], double) as results:
                assert processor.memory.sampler.reclaims - reclaims == 3
                async for _ in results:
                    pass
            assert processor.statistics().reclaims - reclaims == 4

    run(main)
