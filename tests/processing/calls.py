"""Calls of a whole processor, in each of its four ways, and what must be left of them: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from memflow.processing.processor import BatchProcessor

WAYS = ("process", "process_batches", "stream", "stream_batches")
METHODS = pytest.mark.parametrize("method", WAYS)


async def double(item: int) -> int:
    await anyio.sleep(0)
    return item * 2


async def arriving(count: int) -> AsyncIterator[int]:
    for number in range(count):
        if number % 5 == 0:
            await anyio.sleep(0)
        yield number


async def through(processor: BatchProcessor, method: str, items: Any, fn: Any = None, **options: Any) -> list[Any]:
    """Run items through any of the four methods; functions are given for one item."""
    if fn is None:
        fn = double
    if "batches" in method and not options.pop("as_it_is", False):
        one = fn

        async def fn(batch: list[Any]) -> list[Any]:
            return [await one(item) for item in batch]

    if "stream" in method:
        async with getattr(processor, method)(items, fn, **options) as results:
            return [result async for result in results]
    return await getattr(processor, method)(items, fn, **options)


def check_quiet(processor: BatchProcessor) -> None:
    """Nothing may be left of any call."""
    statistics, bundle = processor.statistics(), processor.memory
    assert (statistics.items_in_flight, statistics.calls_open) == (0, 0)
    assert (bundle.admission.reserved_bytes, bundle.admission.holders) == (0, 0)
    assert bundle.state.work.drained
    assert not bundle.sampler._hosts
    assert not [each for each in bundle.optimizer._operations.values() if each.open]
