"""A processor in pytest-asyncio's own fixtures and tests, where set-up and tear-down run in tasks of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from memflow.exceptions import BatchFailed, ProcessorClosedError
from memflow.processing.processor import BatchProcessor
from memflow.testing import ScriptedProbe, collect_events, make_processor

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("leaves_no_tasks")]


@pytest_asyncio.fixture
async def processor() -> AsyncIterator[BatchProcessor]:
    async with make_processor(concurrency=4) as made:
        yield made


@pytest_asyncio.fixture
async def opened_by_hand() -> AsyncIterator[BatchProcessor]:
    made = make_processor()
    await made.__aenter__()
    yield made
    await made.aclose()
    with pytest.raises(ProcessorClosedError):
        await made.process([1], double)


@pytest_asyncio.fixture
async def doubled(processor: BatchProcessor) -> AsyncIterator[AsyncIterator[int]]:
    """A stream that outlives the task which opened it."""
    async with processor.issues():
        yield await processor.process(range(5), double)  # type: ignore[misc]


async def double(item: int) -> int:
    await asyncio.sleep(0)
    return item * 2


async def test_a_processor_from_a_fixture(processor: BatchProcessor) -> None:
    assert await processor.process(range(50), double) == [2 * n for n in range(50)]
    async with processor.stream(range(50), double) as results:
        assert [result async for result in results] == [2 * n for n in range(50)]


async def test_a_processor_opened_by_hand(opened_by_hand: BatchProcessor) -> None:
    assert await opened_by_hand.process_batches(range(5), len_and_double) == [0, 2, 4, 6, 8]


async def len_and_double(items: list[int]) -> list[int]:
    return [item * 2 for item in items]


async def test_results_made_in_a_fixture(doubled: list[int]) -> None:
    assert doubled == [0, 2, 4, 6, 8]


async def test_many_calls_by_gather(processor: BatchProcessor) -> None:
    every = await asyncio.gather(*(processor.process(range(n), double) for n in range(20)))
    assert [len(each) for each in every] == list(range(20))


async def test_a_call_in_a_task_that_is_cancelled(processor: BatchProcessor) -> None:
    async def forever(item: int) -> None:
        await asyncio.sleep(3600)

    task = asyncio.create_task(processor.process(range(5), forever))
    while not processor.statistics().items_in_flight:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processor.statistics().items_in_flight == processor.statistics().calls_open == 0


async def test_asyncio_s_own_timeout_passes_through(processor: BatchProcessor) -> None:
    async def forever(item: int) -> None:
        await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await processor.process(range(5), forever)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(processor.process_batches(range(5), forever), 0.01)
    assert processor.statistics().items_in_flight == 0
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_inside_asyncio_s_own_task_group(processor: BatchProcessor) -> None:
    async def broken(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - raised on the way out
        async with asyncio.TaskGroup() as group:
            group.create_task(processor.process(range(1000), double))
            group.create_task(processor.process(range(5), broken))
    assert caught.group_contains(ValueError)
    assert isinstance(caught.value.exceptions[0], BatchFailed)
    assert processor.statistics().items_in_flight == 0


async def test_events_are_collected() -> None:
    async with make_processor(ScriptedProbe("1000MiB", limit="1GiB")) as processor:
        async with collect_events(processor) as events:
            await processor.process(range(3), double)
        assert events
