"""One program in a fresh process: `python -m benchmarks.leaks.child SPEC`; prints one line of JSON.

Covers the run, its pace, the noise, and what is told meanwhile. The spec names program, seed, batches, pace and noise.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

from benchmarks.leaks.noise import make_noise
from benchmarks.leaks.program import ITEMS_OF_A_BATCH, LEDGER, Item, Program
from benchmarks.leaks.score import TOP
from benchmarks.leaks.sets import ALL
from memflow import BatchProcessor, BatchProcessorSettings, HeapAnalyzerSettings, MemflowSettings

__all__ = ["main", "paced", "run"]

_ITEM_S = 0.002
_PROCESS_NAME = "corpus"  # a program's own name would be found in every message, and taken for the culprit's
_DRAIN_S = 0.2
_MOST_EVENTS = 400


class _Clock:
    """Keeps the pace, and counts batches and items."""

    def __init__(self, program: Program, batches: int, pace_s: float) -> None:
        self.batches = batches
        self.done = 0
        self.items = 0
        self._program = program
        self._pace_s = pace_s
        self._next_s = time.monotonic()

    def next_batch(self) -> range:
        size = self._program.batch_items
        count = size(self.done / self.batches) if size else ITEMS_OF_A_BATCH
        return range(self.items, self.items + count)

    async def finish(self, batch: range) -> None:
        self.items, self.done = batch.stop, self.done + 1
        self._next_s = max(self._next_s + self._pace_s, time.monotonic() - self._pace_s)
        await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))


async def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run one program, and return what was told of it."""
    program, seed, batches = ALL[spec["program"]], int(spec["seed"]), int(spec["batches"])
    item = paced(program.make(Random(f"{program.name} {seed}"), batches * ITEMS_OF_A_BATCH), spec["pace_s"])
    settings = MemflowSettings(
        batch_processor=BatchProcessorSettings(process_name=_PROCESS_NAME),
        heap_analyzer=HeapAnalyzerSettings(leak_threshold_rate=0.1, update_interval_s=0.5),
    )
    began_s, cpu_s = time.perf_counter(), time.process_time()
    clock = _Clock(program, batches, spec["pace_s"])
    events: list[dict[str, Any]] = []
    async with BatchProcessor(settings) as processor:
        beside = [
            asyncio.create_task(_record(processor, clock, events)),
            asyncio.create_task(make_noise(Random(f"noise {seed}"), share=spec["noise"])),
        ]
        await asyncio.sleep(0)
        await (_stream if program.streams else _call)(processor, clock, item)
        await asyncio.sleep(_DRAIN_S)
        samples = processor.memory.analyzer.analyze().history_samples
        for task in beside:
            task.cancel()
        for ended in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
    return {
        "batches": clock.done,
        "items": clock.items,
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - cpu_s,
        "leaked_bytes": LEDGER.leaked_bytes,
        "samples": samples,
        "events": events,
    }


def paced(item: Item, pace_s: float) -> Item:
    """Have an item take its time after its work, or only let others have theirs where the run has no pace."""

    async def work(number: int) -> object:
        result = await item(number)
        await asyncio.sleep(_ITEM_S if pace_s else 0)
        return result

    return work


async def _call(processor: BatchProcessor, clock: _Clock, item: Item) -> None:
    while clock.done < clock.batches:
        batch = clock.next_batch()
        await processor.process(batch, item)
        await clock.finish(batch)


async def _stream(processor: BatchProcessor, clock: _Clock, item: Item) -> None:
    async def source() -> AsyncIterator[int]:
        while clock.done < clock.batches:
            batch = clock.next_batch()
            for number in batch:
                yield number
            await clock.finish(batch)

    async with processor.stream(source(), item) as results:
        async for _ in results:
            pass


async def _record(processor: BatchProcessor, clock: _Clock, events: list[dict[str, Any]]) -> None:
    async with processor.issues() as told:
        async for event in told:
            issue = event.issue
            if issue is None or len(events) >= _MOST_EVENTS:
                continue
            events.append(
                {
                    "batch": clock.done,
                    "event": type(event).__name__.removeprefix("Issue").lower(),
                    "id": issue.id,
                    "kind": str(issue.kind),
                    "leaked_bytes": LEDGER.leaked_bytes,
                    "suspects": [str(each) for each in getattr(issue, "suspects", ())[:TOP]],
                    "message": issue.message,
                    "advice": " ".join(issue.recommendations),
                }
            )


def main() -> None:
    """Run what the first argument says."""
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
