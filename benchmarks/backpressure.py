"""How far work runs ahead of a slow consumer: items that were started and not yet taken.

Covers a consumer that takes one result a millisecond while an item takes no time at all, and leaves early. memflow
promises at most 2 x concurrency + 16; nothing here depends on how fast the machine is, as long as work is faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.common import Scale, is_installed, print_goal, print_table, say_missing
from benchmarks.rivals import PEERS, fixed_settings
from memflow import BatchProcessor

__all__ = ["run"]

ITEMS = 4_000
TAKEN = 300
PAUSE_S = 0.001
CONCURRENCIES = (10, 100)
BATCH_SIZE = 10


@dataclass
class Lead:
    """Counts items ahead of the consumer."""

    started: int = 0
    taken: int = 0
    worst: int = 0

    async def item(self, item: int) -> int:
        """Run one item."""
        self._start(1)
        await asyncio.sleep(0)
        return item

    async def batch(self, items: list[int]) -> list[int]:
        """Run a batch."""
        self._start(len(items))
        await asyncio.sleep(0)
        return items

    def _start(self, count: int) -> None:
        self.started += count
        self.worst = max(self.worst, self.started - self.taken)


Open = Callable[[Lead, int, int], AbstractAsyncContextManager[Any]]
"""(lead, items, concurrency) -> results."""


@asynccontextmanager
async def _memflow(lead: Lead, items: int, concurrency: int, *, ordered: bool) -> AsyncIterator[Any]:
    settings = fixed_settings(auto=False, concurrency=concurrency)
    async with (
        BatchProcessor(settings) as processor,
        processor.stream(range(items), lead.item, ordered=ordered) as results,
    ):
        yield results


@asynccontextmanager
async def _memflow_batches(lead: Lead, items: int, concurrency: int) -> AsyncIterator[Any]:
    settings = fixed_settings(auto=False, concurrency=max(1, concurrency // BATCH_SIZE), batch_size=BATCH_SIZE)
    async with BatchProcessor(settings) as processor, processor.stream_batches(range(items), lead.batch) as results:
        yield results


@asynccontextmanager
async def _streamable(lead: Lead, items: int, concurrency: int) -> AsyncIterator[Any]:
    from streamable import stream

    yield stream(range(items)).map(lead.item, concurrency=concurrency)


@asynccontextmanager
async def _aiometer(lead: Lead, items: int, concurrency: int) -> AsyncIterator[Any]:
    import aiometer

    async with aiometer.amap(lead.item, range(items), max_at_once=concurrency) as results:
        yield results


def _streams() -> dict[str, Open]:
    found: dict[str, Open] = {
        "memflow stream ordered": partial(_memflow, ordered=True),
        "memflow stream unordered": partial(_memflow, ordered=False),
        f"memflow stream_batches of {BATCH_SIZE}": _memflow_batches,
    }
    if is_installed("streamable"):
        found["streamable ordered"] = _streamable
    if is_installed("aiometer"):
        found["aiometer.amap"] = _aiometer
    return found


async def _worst_lead(open_stream: Open, items: int, concurrency: int, taken: int) -> int:
    lead = Lead()
    async with open_stream(lead, items, concurrency) as results:
        async for _ in results:
            lead.taken += 1
            if lead.taken >= taken:
                break
            await asyncio.sleep(PAUSE_S)
    return lead.worst


def run(scale: Scale) -> None:
    """Measure everybody, print a table and the promise."""
    say_missing(*PEERS)
    items, taken = scale.of(ITEMS, least=400), scale.of(TAKEN)
    streams = _streams()
    leads = {
        (name, concurrency): asyncio.run(_worst_lead(open_stream, items, concurrency, taken))
        for name, open_stream in streams.items()
        for concurrency in CONCURRENCIES
    }
    print_table(
        f"asyncio: most items ahead of a consumer that takes one a millisecond ({items} items, {taken} taken)",
        ["", *(f"{concurrency} at once" for concurrency in CONCURRENCIES)],
        [[name, *(str(leads[name, concurrency]) for concurrency in CONCURRENCIES)] for name in streams],
    )
    for name, concurrency in leads:
        if name.startswith("memflow"):
            promise = 2 * concurrency + 16
            print_goal(f"{name}, {concurrency} at once, items ahead", leads[name, concurrency], promise, form=".0f")
