"""A batch function that takes any number of items: what `BatchOptimizer.optimize_process_function` returns.

Covers splitting, measuring and putting results together, one batch after another. Batches side by side, lazy sources,
admission and errors per item are `memflow.processing`'s.
"""

from __future__ import annotations

import functools
import gc
import inspect
import time
from collections.abc import Callable, Coroutine, Sequence, Sized
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from memflow.exceptions import BatchResultError
from memflow.memory.sampler import Sampler

if TYPE_CHECKING:
    from memflow.sizing.call import CallSizer
    from memflow.sizing.optimizer import BatchOptimizer

__all__ = ["wrap"]


def wrap(
    optimizer: BatchOptimizer, fn: Callable[[list[Any]], Any], *, operation: str | None, sampler: Sampler | None
) -> Callable[[Sequence[Any]], Coroutine[Any, Any, list[Any]]]:
    """Return the coroutine function; see `BatchOptimizer.optimize_process_function`."""
    name = operation if operation is not None else getattr(fn, "__name__", type(fn).__name__)
    run = _in_thread(fn) if not _is_async(fn) else fn

    async def process(items: Sequence[Any]) -> list[Any]:
        if optimizer.settings.pre_process_gc:
            await anyio.to_thread.run_sync(gc.collect)
        if sampler is None:
            return await _work_through(optimizer, run, items, name, None)
        return await _while_sampling(sampler, lambda: _work_through(optimizer, run, items, name, sampler))

    return functools.update_wrapper(process, fn, updated=())


async def _while_sampling(sampler: Sampler, work: Callable[[], Coroutine[Any, Any, list[Any]]]) -> list[Any]:
    """Run work while memory is read; its errors come out bare, not in the task group's ExceptionGroup."""
    error: Exception | None = None
    results: list[Any] = []
    async with anyio.create_task_group() as group:
        with sampler.attached(group):
            try:
                results = await work()
            except Exception as raised:
                error = raised
    if error is None:
        return results
    try:
        raise error
    finally:
        error = None  # a frame that its own traceback refers to would pin the batch


def _is_async(fn: Callable[..., Any]) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _in_thread(fn: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Coroutine[Any, Any, Any]]:
    async def run(batch: list[Any]) -> Any:
        return await anyio.to_thread.run_sync(fn, batch)

    return run


async def _work_through(
    optimizer: BatchOptimizer,
    run: Callable[[list[Any]], Any],
    items: Sequence[Any],
    name: str,
    sampler: Sampler | None,
) -> list[Any]:
    sizer = optimizer.open_call(
        name, kind="batches", batch_size=None, concurrency=1, auto=True, now_s=time.monotonic(), most_concurrency=1
    )
    results: list[Any] = []
    try:
        while len(results) < len(items):
            wanted = sizer.batch_size
            batch = list(items[len(results) : len(results) + wanted])
            results += await _run_one(optimizer, sizer, run, batch, name, sampler, full=len(batch) == wanted)
    finally:
        sizer.close()
    return results


async def _run_one(
    optimizer: BatchOptimizer,
    sizer: CallSizer,
    run: Callable[[list[Any]], Any],
    batch: list[Any],
    name: str,
    sampler: Sampler | None,
    *,
    full: bool,
) -> list[Any]:
    """Run one batch between two readings, and learn from it."""
    load, size = optimizer.state.work.load(name), len(batch)
    began_s = time.monotonic()
    if sampler is not None:
        sampler.at_boundary(began_s)
    load.start(size)
    try:
        results = await run(batch)
        if not isinstance(results, Sized) or len(results) != size:
            came = len(results) if isinstance(results, Sized) else None
            raise BatchResultError(name, size, came, type(results).__name__)
        ended_s = time.monotonic()
        if sampler is not None:
            sampler.at_boundary(ended_s)
    finally:
        load.stop(size)
    load.finish(size)
    sizer.finished(items=size, weight=float(size), seconds=ended_s - began_s, full=full, in_flight=1, now_s=ended_s)
    return list(results)  # type: ignore[call-overload, no-any-return]
