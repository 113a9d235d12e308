"""What a batch costs: memflow's batch calls beside the same work in a loop written by hand.

Covers batch functions that do nothing, at batch sizes 1, 10 and 100. The price of a batch is (memflow less the loop)
by the number of batches, within one round: cutting, admission, readings, learning, and handing on its results, all in.

The loop by hand does what the user would have written: workers that cut batches off one shared iterator; for a
stream, an async generator that hands on one result at a time. Processes and order as in `benchmarks.overhead`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any

import anyio

from benchmarks.common import Scale, Spread, backends, in_fresh_process, print_goal, print_table, rotated, timed
from benchmarks.rivals import fixed_settings
from memflow import BatchProcessor

__all__ = ["child", "run"]

BATCHES = 5_000
SIZES = (1, 10, 100)
CONCURRENCY = 8
GOAL_US = 15.0

Run = Callable[[int, int], Awaitable[int]]
"""(batches, items of a batch) -> number of results."""


async def do_nothing(batch: list[int]) -> list[int]:
    """Return the items as they are."""
    return batch


async def process_by_hand(batches: int, size: int) -> int:
    """Collect results with a pool of workers."""
    results: list[list[int] | None] = [None] * batches
    items = iter(range(batches * size))
    numbered = enumerate(iter(lambda: list(islice(items, size)), []))

    async def worker() -> None:
        for position, batch in numbered:
            results[position] = await do_nothing(batch)

    async with anyio.create_task_group() as group:
        for _ in range(CONCURRENCY):
            group.start_soon(worker)
    return len([result for batch in results if batch is not None for result in batch])


async def _results(batches: int, size: int) -> AsyncIterator[int]:
    items = iter(range(batches * size))
    for batch in iter(lambda: list(islice(items, size)), []):
        for result in await do_nothing(batch):
            yield result


async def stream_by_hand(batches: int, size: int) -> int:
    """Count what an async generator hands on."""
    count = 0
    async for _ in _results(batches, size):
        count += 1
    return count


async def process_with_memflow(batches: int, size: int, *, auto: bool) -> int:
    """Collect results with memflow."""
    async with BatchProcessor(_settings(size, auto=auto)) as processor:
        return len(await processor.process_batches(range(batches * size), do_nothing))


async def stream_with_memflow(batches: int, size: int, *, auto: bool, ordered: bool) -> int:
    """Count what a stream of memflow hands on."""
    count = 0
    items = range(batches * size)
    async with (
        BatchProcessor(_settings(size, auto=auto)) as processor,
        processor.stream_batches(items, do_nothing, ordered=ordered) as results,
    ):
        async for _ in results:
            count += 1
    return count


def _settings(size: int, *, auto: bool) -> Any:
    # With auto, the size is held by its bounds, so that the number of batches is the same.
    return fixed_settings(auto=auto, concurrency=CONCURRENCY, batch_size=size, auto_batch=auto)


RUNS: dict[str, tuple[Run, str | None]] = {
    "process by hand": (process_by_hand, None),
    "stream by hand": (stream_by_hand, None),
    "process_batches, fixed": (partial(process_with_memflow, auto=False), "process by hand"),
    "process_batches, auto": (partial(process_with_memflow, auto=True), "process by hand"),
    "stream_batches ordered, fixed": (partial(stream_with_memflow, auto=False, ordered=True), "stream by hand"),
    "stream_batches ordered, auto": (partial(stream_with_memflow, auto=True, ordered=True), "stream by hand"),
    "stream_batches unordered, fixed": (partial(stream_with_memflow, auto=False, ordered=False), "stream by hand"),
}
"""What is measured, and what it is compared with."""


def child(spec: dict[str, Any]) -> Any:
    """Measure everything once: microseconds of CPU a batch, by run and size."""
    return anyio.run(_measure, spec["batches"], spec["turn"], backend=spec["backend"])


async def _measure(batches: int, turn: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in RUNS}
    order = rotated(list(RUNS), turn)
    for name in order:
        await RUNS[name][0](50, 10)
    for size in SIZES:
        for name in order:
            timing = await timed(partial(RUNS[name][0], batches, size))
            found[name].append(timing.cpu_s / batches * 1e6)
    return found


def run(scale: Scale) -> None:
    """Measure on every event loop, print tables and goals."""
    loops, batches = backends(), scale.of(BATCHES)
    rounds: dict[str, list[dict[str, list[float]]]] = {backend: [] for backend in loops}
    for turn in range(scale.rounds):
        for backend in loops:
            rounds[backend].append(in_fresh_process(__name__, backend=backend, batches=batches, turn=turn))
    for backend in loops:
        _print(backend, batches, rounds[backend])


def _print(backend: str, batches: int, rounds: list[dict[str, list[float]]]) -> None:
    heads = [f"{kind} of {size}" for size in SIZES for kind in ("batch", "extra")]
    rows = []
    for name, (_, base) in RUNS.items():
        cells = [name]
        for column in range(len(SIZES)):
            cells.append(f"{Spread.of(each[name][column] for each in rounds):.1f}")
            cells.append(f"{_extra(rounds, name, base, column):.1f}" if base else "")
        rows.append(cells)
    print_table(
        f"{backend}: µs of CPU a batch, {batches} batches that do nothing; extra = less the loop by hand",
        ["", *heads],
        rows,
    )
    for name, (_, base) in RUNS.items():
        if base:
            most, size = max((_extra(rounds, name, base, column).median, size) for column, size in enumerate(SIZES))
            print_goal(f"{backend}, {name}, µs a batch all in, most (size {size})", most, GOAL_US, form=".1f")


def _extra(rounds: list[dict[str, list[float]]], name: str, base: str, column: int) -> Spread:
    return Spread.of(each[name][column] - each[base][column] for each in rounds)
