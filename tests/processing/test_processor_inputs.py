"""What `BatchProcessor` takes: functions of every kind, sources of every kind, and what it refuses."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from memflow.exceptions import (
    BatchFailed,
    BatchResultError,
    ConfigurationError,
    SourceFailed,
)
from memflow.testing import make_processor
from tests.processing.calls import METHODS, arriving, check_quiet, double, through

# ---- functions --------------------------------------------------------------------------------------------------


class AsyncCallable:
    async def __call__(self, item: int) -> int:
        return item * 2


class SyncCallable:
    def __call__(self, item: int) -> int:
        return item * 2


def returns_awaitable(item: int) -> Awaitable[int]:
    return double(item)


def plain(item: int) -> int:
    return item * 2


async def scaled(item: int, *, by: int) -> int:
    return item * by


def plain_scaled(by: int, item: int) -> int:
    return item * by


@pytest.mark.parametrize(
    "fn",
    [
        double,
        AsyncCallable(),
        SyncCallable(),
        plain,
        returns_awaitable,
        functools.partial(scaled, by=2),
        functools.partial(plain_scaled, 2),
        functools.partial(functools.partial(AsyncCallable())),
        (2).__mul__,
        lambda item: item * 2,
        lambda item: double(item),
    ],
)
def test_every_kind_of_function_will_do(run, fn: Any) -> None:
    async def main() -> None:
        async with make_processor(concurrency=4) as processor:
            assert await processor.process(range(20), fn) == [2 * n for n in range(20)]
            check_quiet(processor)

    run(main)


def test_sync_functions_run_in_threads_side_by_side(run) -> None:
    together = threading.Barrier(3, timeout=60)

    def work(item: int) -> int:
        together.wait()
        assert threading.current_thread() is not threading.main_thread()
        return item

    async def main() -> None:
        async with make_processor(concurrency=3, auto_optimize=False) as processor:
            assert await processor.process(range(9), work) == list(range(9))

    run(main)


def test_sync_batch_functions_run_in_threads(run) -> None:
    def work(items: list[int]) -> list[int]:
        assert threading.current_thread() is not threading.main_thread()
        return [item * 2 for item in items]

    async def main() -> None:
        async with make_processor(batch_size=4, auto_optimize=False) as processor:
            assert await processor.process_batches(range(10), work) == [2 * n for n in range(10)]

    run(main)


def test_a_sync_function_that_raises_stop_iteration_hangs_nobody(run) -> None:
    def work(item: int) -> int:
        return next(iter(()))

    async def main() -> None:
        async with make_processor() as processor:
            with pytest.raises(BatchFailed):
                await processor.process(range(3), work)

    run(main)


@pytest.mark.parametrize("returned", [[], [1], [1, 2, 3], None, "ab", {1, 2}, 7])
def test_a_batch_function_must_return_one_result_an_item(run, returned: Any) -> None:
    async def main() -> None:
        async def work(items: list[int]) -> Any:
            return returned

        async with make_processor(batch_size=2, auto_optimize=False) as processor:
            with pytest.raises(BatchFailed) as caught:
                await processor.process_batches(range(4), work)
            assert all(isinstance(each, BatchResultError) for each in caught.value.exceptions)
            results = await processor.process_batches(range(4), work, on_error="collect")
            assert [each.index for each in results] == [0, 1, 2, 3]
            assert {each.error_type for each in results} == {"memflow.exceptions.BatchResultError"}
            check_quiet(processor)

    run(main)


# ---- sources ----------------------------------------------------------------------------------------------------


@METHODS
def test_bad_arguments_are_refused_by_name(run, method: str) -> None:
    async def main() -> None:
        async with make_processor() as processor:
            for items, fn, options, says in (
                ([1], 7, {}, "fn must be callable"),
                ("text", double, {}, "put it in a list"),
                (7, double, {}, "must be an iterable"),
                (arriving, double, {}, "call the function"),
                ([1], double, {"size_hint": 3}, "size_hint must be callable"),
                ([1], double, {"on_error": "skip"}, "on_error must be"),
            ):
                with pytest.raises(ConfigurationError, match=says):
                    await through(processor, method, items, fn, as_it_is=True, **options) if "batches" in method else (
                        await through(processor, method, items, fn, **options)
                    )
            check_quiet(processor)

    run(main)


@METHODS
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_source_that_fails_midway_loses_nothing(run, method: str, asynchronous: bool) -> None:
    def sync_source() -> Any:
        yield from range(25)
        raise OSError("disk")

    async def async_source() -> AsyncIterator[int]:
        for number in range(25):
            yield number
        raise OSError("disk")

    async def main() -> None:
        async with make_processor(batch_size=4, auto_optimize=False) as processor:
            with pytest.raises(SourceFailed) as caught:
                await through(processor, method, async_source() if asynchronous else sync_source())
            assert caught.value.pulled == 25
            assert caught.value.results == (None if "stream" in method else [2 * n for n in range(25)])
            assert processor.statistics().items_done == 25
            check_quiet(processor)

    run(main)


def test_a_huge_source_is_pulled_lazily(run) -> None:
    async def main() -> None:
        pulled = 0

        def endless() -> Any:
            nonlocal pulled
            while True:
                pulled += 1
                yield pulled

        async with make_processor(concurrency=4, auto_optimize=False) as processor:
            async with processor.stream(endless(), double) as results:
                async for result in results:
                    if result == 2000:
                        break
            assert pulled <= 1000 + 2 * 4 + 16
            check_quiet(processor)

    run(main)


@METHODS
def test_hints_may_all_be_unknown_once_a_cost_was_learnt(run, method: str) -> None:
    async def main() -> None:
        async with make_processor(concurrency=4, batch_size=3, auto_optimize=False) as processor:
            for hint in ({}, {"size_hint": lambda _: 0}):
                found = await through(processor, method, range(40), operation="same", **hint)
                assert found == [2 * n for n in range(40)]

    run(main)
