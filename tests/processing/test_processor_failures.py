"""`BatchProcessor` when things fail: errors, timeouts, retries; and its pauses."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from memflow.exceptions import (
    BatchFailed,
    ItemTimeoutError,
    SizeHintError,
    SourceFailed,
)
from memflow.processing.outcome import ItemFailure
from memflow.testing import make_processor
from tests import backends
from tests.processing.calls import METHODS, arriving, check_quiet, through
from tests.processing.parts import settle

# ---- errors -----------------------------------------------------------------------------------------------------


@METHODS
def test_the_first_failure_cancels_the_rest(run, method: str) -> None:
    async def main() -> None:
        cancelled = 0

        async def work(item: int) -> int:
            nonlocal cancelled
            if item == 3:
                await settle(3)
                raise ValueError("three")
            try:
                await anyio.sleep(60 if item > 3 else 0)
            except anyio.get_cancelled_exc_class():
                cancelled += 1
                raise
            return item

        async with make_processor(concurrency=8, batch_size=1, auto_optimize=False) as processor:
            with pytest.raises(BatchFailed) as caught:
                await through(processor, method, range(100), work)
            assert caught.value.indices == ((3,),)
            assert str(caught.value.exceptions[0]) == "three"
            assert cancelled >= 1
            assert processor.statistics().items_failed == 1
            check_quiet(processor)

    run(main)


@METHODS
def test_failures_are_collected_in_their_places(run, method: str) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0)
            if item % 10 == 3:
                raise ValueError(f"no {item}")
            return item

        async with make_processor(batch_size=1, auto_optimize=False) as processor:
            results = await through(processor, method, range(50), work, on_error="collect")
            for index, result in enumerate(results):
                expected = ItemFailure(index, "ValueError", f"no {index}", 1) if index % 10 == 3 else index
                assert result == expected
            statistics = processor.statistics()
            assert (statistics.items_done, statistics.items_failed) == (45, 5)
            check_quiet(processor)

    run(main)


@pytest.mark.parametrize("method", ["stream", "stream_batches"])
def test_a_stream_gives_failures_in_either_order(run, method: str) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            raise ValueError(item)

        async with make_processor() as processor:
            for ordered in (True, False):
                results = await through(processor, method, range(30), work, on_error="collect", ordered=ordered)
                assert sorted(each.index for each in results) == list(range(30))

    run(main)


def test_a_group_raised_by_the_function_is_one_failure(run) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            async with anyio.create_task_group():
                raise ValueError(item)

        async with make_processor(concurrency=1, auto_optimize=False) as processor:
            with pytest.raises(BatchFailed) as caught:
                await processor.process([1], work)
            assert isinstance(caught.value.exceptions[0], ExceptionGroup)

    run(main)


@METHODS
@pytest.mark.parametrize("hint", [lambda item: -1, lambda item: "big", lambda item: None, lambda item: item.size])
def test_nonsense_from_a_size_hint_is_named(run, method: str, hint: Any) -> None:
    async def main() -> None:
        async with make_processor() as processor:
            with pytest.raises(SizeHintError, match="item 0"):
                await through(processor, method, range(10), size_hint=hint)
            check_quiet(processor)

    run(main)


@METHODS
@pytest.mark.parametrize("hint", [lambda item: 0, lambda item: 1000 * item, lambda item: 0.1])
def test_size_hints_change_no_result(run, method: str, hint: Any) -> None:
    async def main() -> None:
        async with make_processor() as processor:
            assert await through(processor, method, range(100), size_hint=hint) == [2 * n for n in range(100)]
            check_quiet(processor)

    run(main)


@METHODS
def test_a_stray_cancellation_inside_the_function_hangs_nobody(method: str) -> None:
    """On asyncio, where awaiting a task that somebody else cancelled raises it."""

    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0)
            if item == 7:
                raise asyncio.CancelledError
            return item

        async with make_processor(concurrency=4) as processor:
            with pytest.raises(asyncio.CancelledError):
                await through(processor, method, range(100), work)
            check_quiet(processor)
            assert await through(processor, method, range(5)) == [0, 2, 4, 6, 8]

    backends.run("asyncio", main)


@METHODS
def test_a_stray_cancellation_inside_the_source_truncates_nothing(method: str) -> None:
    async def main() -> None:
        async def stray() -> AsyncIterator[int]:
            for number in range(5):
                yield number
            raise asyncio.CancelledError

        async with make_processor(concurrency=4) as processor:
            with pytest.raises(SourceFailed) as caught:
                await through(processor, method, stray())
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)
            assert caught.value.pulled == 5

    backends.run("asyncio", main)


@METHODS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_from_the_function_leaves_nothing_behind(method: str, backend: str, error: type[BaseException]) -> None:
    processor = make_processor(concurrency=4)

    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0)
            if item == 7:
                raise error
            return item

        await through(processor, method, range(100), work)

    with pytest.raises(error):
        anyio.run(main, backend=backend)
    check_quiet(processor)


# ---- timeouts and retries ---------------------------------------------------------------------------------------


@METHODS
def test_an_item_that_overruns_fails(run, method: str) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(60 if item == 3 else 0)
            return item

        async with make_processor(item_timeout_s=0.02, batch_size=1, auto_optimize=False) as processor:
            with pytest.raises(BatchFailed) as caught:
                await through(processor, method, range(6), work)
            assert isinstance(caught.value.exceptions[0], ItemTimeoutError)
            results = await through(processor, method, range(6), work, on_error="collect")
            assert results[3].error_type == "memflow.exceptions.ItemTimeoutError"
            assert [each for each in results if each is not results[3]] == [0, 1, 2, 4, 5]
            check_quiet(processor)

    run(main)


def test_a_thread_that_overruns_is_abandoned_and_harms_no_other_item(run) -> None:
    go_on = threading.Event()

    def work(item: int) -> int:
        if item < 2:
            go_on.wait(60)
        return item

    async def main() -> None:
        async with make_processor(item_timeout_s=0.1, concurrency=2, auto_optimize=False) as processor:
            results = await processor.process(range(20), work, on_error="collect")
            go_on.set()
            assert results[2:] == list(range(2, 20))
            assert [each.error_type for each in results[:2]] == ["memflow.exceptions.ItemTimeoutError"] * 2

    run(main)


@METHODS
def test_retries_are_counted(run, method: str) -> None:
    async def main() -> None:
        tried: dict[int, int] = {}

        async def work(item: int) -> int:
            tried[item] = tried.get(item, 0) + 1
            if item == 2 and tried[item] < 3:
                raise OSError("flaky")
            if item == 4:
                raise OSError("broken")
            return item

        async with make_processor(attempts=3, retry_wait_s=0, batch_size=1, auto_optimize=False) as processor:
            results = await through(processor, method, range(6), work, on_error="collect")
            assert results == [0, 1, 2, 3, ItemFailure(4, "OSError", "broken", 3), 5]
            assert processor.statistics().retries == 4
            assert (tried[2], tried[4]) == (3, 3)
            with pytest.raises(BatchFailed) as caught:
                await through(processor, method, [4], work, on_error="raise")
            assert isinstance(caught.value.exceptions[0], OSError)
            check_quiet(processor)

    run(main)


def test_a_wrapper_of_the_user_s_own_retries(run) -> None:
    async def main() -> None:
        calls = 0

        def thrice(function: Any) -> Any:
            async def wrapped(item: Any) -> Any:
                for _ in range(2):
                    try:
                        return await function(item)
                    except OSError:
                        pass
                return await function(item)

            return wrapped

        async def work(item: int) -> int:
            nonlocal calls
            calls += 1
            raise OSError("broken")

        async with make_processor(retry=thrice) as processor:
            results = await processor.process([1, 2], work, on_error="collect")
            assert [each.attempts for each in results] == [1, 1]  # a foreign wrapper's own are not seen
            assert calls == 6

    run(main)


# ---- pauses -----------------------------------------------------------------------------------------------------


def test_a_delay_between_batches(run_virtual) -> None:
    async def main() -> None:
        times = []

        async def work(items: list[int]) -> list[int]:
            times.append(anyio.current_time())
            return items

        processor = make_processor(batch_size=2, concurrency=1, auto_optimize=False, delay_between_batches_s=4)
        async with processor:
            await processor.process_batches(range(6), work)
        assert [after - before for before, after in itertools.pairwise(times)] == pytest.approx([4, 4])

    run_virtual(main)


def test_a_part_of_a_batch_goes_out_after_lingering(run) -> None:
    async def main() -> None:
        go_on, sizes = anyio.Event(), []

        async def slow() -> AsyncIterator[int]:
            for number in range(3):
                yield number
            await go_on.wait()
            yield 3

        async def work(items: list[int]) -> list[int]:
            sizes.append(len(items))
            go_on.set()
            return items

        async with make_processor(batch_size=10, auto_optimize=False, linger_s=0.005) as processor:
            assert await processor.process_batches(slow(), work) == [0, 1, 2, 3]
        assert sizes == [3, 1]

    run(main)


def test_without_lingering_a_batch_waits_until_it_is_full(run) -> None:
    async def main() -> None:
        sizes = []

        async def work(items: list[int]) -> list[int]:
            sizes.append(len(items))
            return items

        async with make_processor(batch_size=10, auto_optimize=False) as processor:
            await processor.process_batches(arriving(25), work)
        assert sizes == [10, 10, 5]

    run(main)
