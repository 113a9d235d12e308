"""The loops that run the user's function: the hot path.

Covers one worker for item functions and one for batch functions. What they share is `memflow.processing.call`'s.
Each line inside the loop over items is paid for every item (1 µs is the whole price of a hand-written worker pool),
hence the local names, and one condition where a method call would read better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set, Sized
from typing import Any

import anyio

from memflow.exceptions import BatchResultError
from memflow.execution.base import AsyncFunction
from memflow.memory.work import OperationLoad
from memflow.processing.batch import Batch
from memflow.processing.call import Call
from memflow.processing.rerun import AGAIN, ALONE, RERUNS, rerun_batch, rerun_item

__all__ = ["check_results", "track_weights", "work_batches", "work_items"]


async def work_items(call: Call) -> None:
    """Run items, one at a time, until there are no more or there are too many workers."""
    function, sizer, cadence, crew = call.function, call.sizer, call.cadence, call.crew
    delivery, ordered, delay_s = call.delivery, call.plan.ordered, call.plan.delay_s
    deliver, clock = delivery.ready.append, cadence.clock
    batch, me = call.current, object()
    with crew.shift():
        while True:
            if batch is not None:
                items, results = batch.items, batch.results
                for position in batch.indices:
                    try:
                        value = await function(items[position])
                    except Exception as error:
                        value = call.failed(batch, position, error)
                        if value is None:
                            return
                    if value is ALONE or value is AGAIN:
                        value = await rerun_item(call, batch, position, value)
                        if value is None and call.ended:
                            return
                    if call.ended:
                        return
                    items[position] = None
                    if ordered:
                        results[position] = value
                    else:
                        deliver(value)
                    value = None  # the next item may take long; this result must not wait for it
                    batch.left -= 1
                    if delivery.awaited is not None:
                        delivery.tell()
                    if not batch.left:
                        call.finish(batch)
                        if delay_s:
                            await anyio.sleep(delay_s)
                    if cadence.last is not me:
                        cadence.last = me
                    elif clock() >= cadence.deadline_s:
                        await cadence.checkpoint()
                if crew.size > sizer.concurrency:
                    return
            if batch is not call.current:
                batch = call.current  # somebody else has moved on already: by far the most frequent case
            else:
                batch = call.next_batch() or await call.wait_batch()
                if batch is None:
                    return


async def work_batches(call: Call) -> None:
    """Run batches, one at a time, until there are no more or there are too many workers."""
    cadence, delivery, plan = call.cadence, call.delivery, call.plan
    clock, me = cadence.clock, object()
    with call.crew.shift():
        while True:
            batch = call.next_batch() or await call.wait_batch()
            if batch is None or not await _run_batch(call, batch):
                return
            if not plan.ordered:
                delivery.ready.extend(batch.results)
            if delivery.awaited is not None:
                delivery.tell()
            call.finish(batch)
            del batch  # a waiting worker holds no results
            if plan.delay_s:
                await anyio.sleep(plan.delay_s)
            if cadence.last is not me:
                cadence.last = me
            elif clock() >= cadence.deadline_s:
                await cadence.checkpoint()
            if call.crew.size > call.sizer.concurrency:
                return


async def _run_batch(call: Call, batch: Batch) -> bool:
    """Run one batch and put its results, or a failure, in every place; False when the call is over."""
    load, verdict = call.load, None
    load.start(batch.weight)
    try:
        results = check_results(call.plan.operation, batch.size, await call.function(batch.items))
    except Exception as error:
        verdict = _fail_batch(call, batch, error)
        if verdict is None:
            return False
    else:
        batch.results[:] = results
    finally:
        load.stop(batch.weight)
    if verdict in RERUNS and not await rerun_batch(call, batch, verdict, check_results):
        return False
    batch.items = []
    if call.ended:
        return False
    batch.left = 0
    return True


def _fail_batch(call: Call, batch: Batch, error: Exception) -> Any:
    """Put a failure in every place of a batch; the last verdict, None when the call is over."""
    verdict: Any = None
    for position in range(batch.size):
        verdict = call.failed(batch, position, error)
        if verdict is None or verdict in RERUNS:
            break
        batch.results[position] = verdict
    return verdict


def check_results(operation: str, due: int, returned: Any) -> Sequence[Any]:
    """Return what a batch function returned, if it is one result for each item.

    Raises:
        BatchResultError: it is no sequence, or one of another length.
    """
    if type(returned) is list and len(returned) == due:
        return returned  # nearly always, and ten times as fast as asking abstract classes
    if not isinstance(returned, Sized) or isinstance(returned, str | bytes | Mapping | Set):
        raise BatchResultError(operation, due, None, type(returned).__name__)
    if len(returned) != due:
        raise BatchResultError(operation, due, len(returned), type(returned).__name__)
    return returned if isinstance(returned, Sequence) else list(returned)  # type: ignore[call-overload]


def track_weights(function: AsyncFunction, load: OperationLoad) -> AsyncFunction:
    """Count the size hint of each item while it runs; the items are then pairs of item and hint."""

    async def tracked(pair: tuple[Any, float]) -> Any:
        load.start(pair[1])
        try:
            return await function(pair[0])
        finally:
            load.stop(pair[1])

    return tracked
