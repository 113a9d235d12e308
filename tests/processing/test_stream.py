"""Results on their way to the consumer: `memflow.processing.stream`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed, MemflowError, SourceFailed
from memflow.processing.call import Call
from memflow.processing.stream import ResultStream, RunningCall
from tests.processing.parts import FakeSizer, call_of, settle

ORDERS = pytest.mark.parametrize("ordered", [True, False])
KINDS = pytest.mark.parametrize("kind", ["items", "batches"])


@asynccontextmanager
async def streaming(call: Call) -> AsyncIterator[ResultStream]:
    async with RunningCall(call, None, lambda: None):
        results = ResultStream(call)
        try:
            yield results
        finally:
            results.close()


async def same(item: Any) -> Any:
    await anyio.sleep(0)
    return item


async def arriving(count: int) -> AsyncIterator[int]:
    for number in range(count):
        if number % 3 == 0:
            await anyio.sleep(0)
        yield number


# ---- order ------------------------------------------------------------------------------------------------------


@ORDERS
@KINDS
@pytest.mark.parametrize("count", [0, 1, 100, 1000])
def test_every_result_comes_once(run, ordered: bool, kind: str, count: int) -> None:
    async def main() -> None:
        for items in (range(count), arriving(count)):
            async with streaming(call_of(items, same, kind=kind, ordered=ordered)) as results:
                got = [result async for result in results]
            assert (got if ordered else sorted(got)) == list(range(count))

    run(main)


@ORDERS
@KINDS
def test_falsy_results_are_results(run, ordered: bool, kind: str) -> None:
    async def main() -> None:
        items = [None, 0, False, "", [], None]
        async with streaming(call_of(items, same, kind=kind, ordered=ordered)) as results:
            got = [result async for result in results]
        assert sorted(map(repr, got)) == sorted(map(repr, items))

    run(main)


def test_results_come_in_the_order_of_the_items_however_they_finish(run_virtual) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(10 - item % 10)
            return item

        async with streaming(call_of(range(100), work, sizer=FakeSizer(concurrency=10))) as results:
            assert [result async for result in results] == list(range(100))

    run_virtual(main)


def test_unordered_results_come_as_completed(run_virtual) -> None:
    async def main() -> None:
        async def work(seconds: int) -> int:
            await anyio.sleep(seconds)
            return seconds

        items = [5, 3, 1, 4, 2]
        async with streaming(call_of(items, work, sizer=FakeSizer(concurrency=5), ordered=False)) as results:
            assert [result async for result in results] == [1, 2, 3, 4, 5]

    run_virtual(main)


def test_a_slow_item_holds_up_later_ones_only_when_ordered(run_virtual) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(100 if item == 0 else 1)
            return item

        for ordered in (True, False):
            began_s = anyio.current_time()
            async with streaming(call_of(range(10), work, sizer=FakeSizer(concurrency=2), ordered=ordered)) as results:
                first = await anext(results)
            assert first == (0 if ordered else 1)
            assert anyio.current_time() - began_s == pytest.approx(100 if ordered else 1)

    run_virtual(main)


# ---- backpressure -----------------------------------------------------------------------------------------------


@ORDERS
@pytest.mark.parametrize("concurrency", [1, 4, 30])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("take_every", [1, 7])
def test_work_runs_no_further_ahead_than_the_window(
    run, ordered: bool, concurrency: int, asynchronous: bool, take_every: int
) -> None:
    window = 2 * concurrency + 16

    async def main() -> None:
        pulled = started = taken = 0

        def sync_source() -> Any:
            nonlocal pulled
            for number in range(10**9):
                pulled += 1
                yield number

        async def async_source() -> AsyncIterator[int]:
            nonlocal pulled
            for number in range(10**9):
                pulled += 1
                yield number

        async def work(item: int) -> int:
            nonlocal started
            started += 1
            await anyio.sleep(0)
            return item

        source = async_source() if asynchronous else sync_source()
        call = call_of(source, work, sizer=FakeSizer(concurrency=concurrency), ordered=ordered)
        waits_here = max(16, concurrency // 2) if asynchronous else 0  # what a feeder has ready
        async with streaming(call) as results:
            async for _ in results:
                taken += 1
                if taken % take_every == 0:
                    await settle(60)
                assert started - taken <= window
                assert pulled - taken <= window + waits_here
                assert call.delivery.handed - call.delivery.delivered <= window
                if taken >= 200:
                    break
            await settle(100)
            assert started - taken >= window // 2  # and it does run ahead

    run(main)


@ORDERS
def test_batches_run_no_further_ahead_than_the_window(run, ordered: bool) -> None:
    async def main() -> None:
        pulled = taken = 0

        def source() -> Any:
            nonlocal pulled
            for number in range(10**9):
                pulled += 1
                yield number

        call = call_of(source(), same, kind="batches", sizer=FakeSizer(batch_size=5, concurrency=3), ordered=ordered)
        async with streaming(call) as results:
            async for _ in results:
                taken += 1
                await settle(30)
                assert pulled - taken <= 2 * 3 * 5 + 16
                if taken == 100:
                    break

    run(main)


@ORDERS
def test_a_consumer_that_stops_for_long_loses_nothing(run, ordered: bool) -> None:
    async def main() -> None:
        async with streaming(call_of(range(500), same, ordered=ordered)) as results:
            got = []
            async for result in results:
                got.append(result)
                if len(got) % 50 == 0:
                    await settle(100)
        assert sorted(got) == list(range(500))

    run(main)


# ---- leaving ----------------------------------------------------------------------------------------------------


@ORDERS
@KINDS
def test_leaving_early_cancels_what_is_in_flight(run, ordered: bool, kind: str) -> None:
    async def main() -> None:
        running = 0

        async def work(item: Any) -> Any:
            nonlocal running
            running += 1
            try:
                await anyio.sleep(0.002 if item == 0 else 60)
            finally:
                running -= 1
            return item

        call = call_of(range(100), work if kind == "items" else same, kind=kind, ordered=ordered)
        async with streaming(call) as results:
            await anext(results)
        assert running == 0
        assert call.ended

    run(main)


def test_leaving_early_closes_the_generator_in_its_own_task(run) -> None:
    async def main() -> None:
        tasks = []

        async def source() -> AsyncIterator[int]:
            tasks.append(anyio.get_current_task().id)
            try:
                for number in range(10**9):
                    yield number
            finally:
                await anyio.sleep(0)
                tasks.append(anyio.get_current_task().id)

        async with streaming(call_of(source(), same)) as results:
            await anext(results)
        assert tasks[0] == tasks[1] != anyio.get_current_task().id

    run(main)


@pytest.mark.parametrize(
    "error", [KeyError("mine"), KeyboardInterrupt(), SystemExit(2), ExceptionGroup("g", [OSError()])]
)
def test_what_the_body_raises_arrives_bare(run, error: BaseException) -> None:
    async def main() -> None:
        with pytest.raises(type(error)) as caught:  # noqa: PT012 - raised on the way out
            async with streaming(call_of(range(100), same)) as results:
                async for _ in results:
                    raise error
        assert caught.value is error

    run(main)


def test_a_closed_stream_says_so(run) -> None:
    async def main() -> None:
        for ordered in (True, False):
            async with streaming(call_of(range(100), same, ordered=ordered)) as results:
                await anext(results)
                await settle()
            with pytest.raises(MemflowError, match="iterate inside"):
                await anext(results)

    run(main)


def test_a_stream_that_ended_stays_ended(run) -> None:
    async def main() -> None:
        async with streaming(call_of([1], same)) as results:
            assert [result async for result in results] == [1]
            assert [result async for result in results] == []

    run(main)


@ORDERS
def test_several_tasks_may_share_a_stream(run, ordered: bool) -> None:
    async def main() -> None:
        got: list[int] = []

        async def consume(results: ResultStream) -> None:
            async for result in results:
                got.append(result)
                await anyio.sleep(0)

        async with streaming(call_of(range(300), same, ordered=ordered)) as results, anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(consume, results)
        assert sorted(got) == list(range(300))

    run(main)


@pytest.mark.parametrize("rounds", [0, 3])
def test_whoever_else_waits_for_a_stream_that_is_left_is_told(run, rounds: int) -> None:
    async def main() -> None:
        told = []

        async def consume(results: ResultStream) -> None:
            try:
                async for _ in results:
                    pass
            except MemflowError:
                told.append(True)

        call = call_of(range(9), lambda item: anyio.sleep_forever())
        async with anyio.create_task_group() as group, streaming(call) as results:
            group.start_soon(consume, results)
            await settle(rounds)
        assert told == [True]

    run(main)


def test_a_cancelled_consumer_loses_no_result(run) -> None:
    """It may be cancelled while it waits, and another goes on from there."""

    async def main() -> None:
        async with streaming(call_of(range(200), same)) as results:
            got: list[int] = []
            while len(got) < 200:
                with anyio.CancelScope() as scope:

                    async def stop(scope: anyio.CancelScope = scope) -> None:
                        await settle(2)
                        scope.cancel()

                    async with anyio.create_task_group() as group:
                        group.start_soon(stop)
                        async for result in results:
                            got.append(result)
                            await anyio.lowlevel.cancel_shielded_checkpoint()
                        break
            assert got == list(range(200))

    run(main)


# ---- errors -----------------------------------------------------------------------------------------------------


def test_errors_come_where_results_are_taken_after_what_was_finished(run) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0)
            if item == 20:
                raise ValueError("twenty")
            return item

        async with streaming(call_of(range(100), work, sizer=FakeSizer(concurrency=1))) as results:
            got = []
            with pytest.raises(BatchFailed, match="item 20"):  # noqa: PT012 - raised on the way out
                async for result in results:
                    got.append(result)
            assert got == list(range(20))
            with pytest.raises(BatchFailed):
                await anext(results)

    run(main)


@ORDERS
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failing_source_is_told_after_everything_it_gave(run, ordered: bool, asynchronous: bool) -> None:
    def sync_source() -> Any:
        yield from range(30)
        raise OSError("disk")

    async def async_source() -> AsyncIterator[int]:
        for number in range(30):
            yield number
        raise OSError("disk")

    async def main() -> None:
        async with streaming(
            call_of(async_source() if asynchronous else sync_source(), same, ordered=ordered)
        ) as results:
            got = []
            with pytest.raises(SourceFailed, match="delivered first") as caught:  # noqa: PT012 - raised on the way out
                async for result in results:
                    got.append(result)
            assert sorted(got) == list(range(30))
            assert caught.value.results is None
            assert isinstance(caught.value.__cause__, OSError)

    run(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_from_inside_the_function_arrives_bare(error: type[BaseException]) -> None:
    """On trio; asyncio's loop itself is stopped by these and passes them on bare."""
    from tests import backends

    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0)
            if item == 5:
                raise error
            return item

        call = call_of(range(100), work)
        try:
            with pytest.raises(error):  # noqa: PT012 - raised on the way out
                async with streaming(call) as results:
                    async for _ in results:
                        pass
        finally:
            assert call.totals.items_in_flight == 0

    backends.run("trio", main)


@pytest.mark.parametrize(
    "errors",
    [
        ExceptionGroup("both", [RuntimeError("a"), RuntimeError("b")]),
        BatchFailed("inside", [ValueError("c")], [(1,)]),
    ],
)
def test_several_crashes_come_together_and_a_group_with_names_keeps_them(run, errors: Exception) -> None:
    async def main() -> None:
        async def crash() -> None:
            raise errors

        call = call_of(range(4), same)
        call.run = crash  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - raised on the way out
            async with streaming(call) as results:
                async for _ in results:
                    pass
        assert caught.group_contains(type(errors.exceptions[0]))  # type: ignore[attr-defined]

    run(main)
