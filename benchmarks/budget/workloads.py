"""What is run: pieces of work that take memory and time, made from a seed.

Covers the pieces and how one is worked. Who runs them and how many at once are `strategies`; what happens around them
(neighbours, page cache, a limit that moves) is named here and done by `runner` and `child`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CALLS", "WORKLOADS", "Piece", "Workload", "work", "work_batch"]

MB = 1_000_000
CALLS = 10_000
"""A fixed setting for batches is calls in flight times this, plus the items of a batch."""
_SIGMA = math.log(30) / 2.326


@dataclass(frozen=True, slots=True)
class Piece:
    """One item."""

    size: int
    """Bytes it holds."""
    hold_s: float = 0.0
    """Seconds it holds them."""
    shape: str = "bytes"
    """What it holds: "bytes" in one block, "objects" of Python, or "blocks" of 60 kB that glibc keeps when freed."""
    burst: int = 0
    """Bytes that it takes besides, for 5 ms."""
    kept: int = 0
    """Bytes of its result, which the caller keeps."""
    operation: str = "one"
    """Which operation it belongs to."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A set of pieces, and what happens around them."""

    name: str
    """What it is called."""
    make: Callable[[random.Random, int], list[Piece]]
    """(source of chance, share of the usual number in per mille) -> pieces."""
    kind: str = "items"
    """"items" or "batches"."""
    around: str = ""
    """"neighbour", "page_cache", "moving_limit", or nothing."""
    call_s: float = 0.0
    """Seconds of a batch whatever its items."""
    item_s: float = 0.0
    """Seconds more for each of its items."""
    serial: bool = False
    """Batches share one server."""
    may_fail: int = 0
    """Pieces that can't fit and have to fail, each by itself."""
    alike: bool = False
    """All pieces are the same, so that a tenth of them shows the rate of a slow strategy."""
    ladder: Sequence[int] = (1, 2, 5, 10, 20, 30, 40, 60, 90, 130, 200, 300, 400)
    """Concurrencies (or batch sizes) that the search for the best fixed setting tries."""


def heavy(hold_s: float) -> Callable[[random.Random, int], list[Piece]]:
    def make(chance: random.Random, share: int) -> list[Piece]:
        count = max(20, 2 * share)
        sizes = [min(150 * MB, int(MB * math.exp(chance.gauss(0, _SIGMA)))) for _ in range(count)]
        sizes[chance.randrange(count)] = 302 * MB
        return [Piece(size, hold_s) for size in sizes]

    return make


def uniform(count: int, size: int, hold_s: float, **more: Any) -> Callable[[random.Random, int], list[Piece]]:
    return lambda chance, share: [Piece(size, hold_s, **more)] * max(20, count * share // 1000)


def step(count: int) -> Callable[[random.Random, int], list[Piece]]:
    def make(chance: random.Random, share: int) -> list[Piece]:
        third = max(60, count * share // 1000) // 3
        return [Piece(each) for each in (MB // 2, 4 * MB, MB // 2) for _ in range(third)]

    return make


def ramp(count: int, hold_s: float) -> Callable[[random.Random, int], list[Piece]]:
    def make(chance: random.Random, share: int) -> list[Piece]:
        total = max(60, count * share // 1000)
        return [Piece(int(MB / 2 + 5.5 * MB * n / total), hold_s) for n in range(total)]

    return make


def bursts(chance: random.Random, share: int) -> list[Piece]:
    return [Piece(2 * MB, 0.05, burst=100 * MB if chance.random() < 0.02 else 0) for _ in range(max(60, 2 * share))]


def two_operations(chance: random.Random, share: int) -> list[Piece]:
    count = max(60, 3 * share // 2)
    return [Piece(MB, 0.1, operation="small") if n % 4 else Piece(8 * MB, 0.1, operation="large") for n in range(count)]


def one_among_many(size: int) -> Callable[[random.Random, int], list[Piece]]:
    def make(chance: random.Random, share: int) -> list[Piece]:
        pieces = [Piece(MB, 0.05)] * max(20, share // 5)
        pieces[chance.randrange(len(pieces))] = Piece(size, 0.05)
        return pieces

    return make


_BATCHES = {
    "kind": "batches",
    "call_s": 0.02,
    "item_s": 0.001,
    "ladder": (10, 20, 40, 80, 130, 180, 230, 280, 330, 380),
}

# Calls times items for 384 to 400 items in flight; fewer calls than these are slower still.
_SIDE_BY_SIDE = tuple(
    calls * CALLS + items
    for calls, items in ((8, 48), (16, 24), (32, 12), (40, 10), (64, 6), (100, 4), (134, 3), (200, 2), (400, 1))
)

WORKLOADS = {
    each.name: each
    for each in (
        Workload("heavy_100ms", heavy(0.1)),
        Workload("heavy_1s", heavy(1.0)),
        Workload("uniform_100ms", uniform(20_000, MB, 0.1), alike=True),
        Workload("uniform_4mb", uniform(5_000, 4 * MB, 0.1), alike=True),
        Workload("batches", uniform(120_000, MB, 0), **{**_BATCHES, "ladder": _SIDE_BY_SIDE}, alike=True),
        Workload("batches_serial", uniform(10_000, MB, 0), **_BATCHES, serial=True, alike=True),
        Workload("step", step(30_000), **_BATCHES),
        Workload("ramp_batches", ramp(15_000, 0), **_BATCHES),
        Workload("ramp_items", ramp(3_000, 0.05)),
        Workload("python_objects", uniform(600, 2 * MB, 0.05, shape="objects")),
        Workload("bursts", bursts),
        Workload("kept_results", uniform(1_500, MB, 0.05, kept=100_000)),
        Workload("two_operations", two_operations),
        Workload("neighbour", uniform(6_000, MB, 0.1), around="neighbour"),
        Workload("moving_limit", uniform(6_000, MB, 0.1), around="moving_limit"),
        Workload("page_cache", heavy(0.1), around="page_cache"),
        Workload("nearly_all", one_among_many(-1)),
        Workload("too_large", one_among_many(600 * MB), may_fail=1),
        Workload("returned", uniform(30_000, MB, 0), **_BATCHES),
        Workload("retained", uniform(30_000, MB, 0, shape="blocks"), **_BATCHES),
    )
}
"""By name."""


def take(piece: Piece) -> Any:
    """Take a piece's memory, touched."""
    if piece.shape == "objects":
        return [{"key": n, "text": f"{n:0150d}", "more": [n]} for n in range(piece.size // 560)]
    if piece.shape == "blocks":
        return [b"x" * 60_000 for _ in range(piece.size // 60_000)]
    return b"x" * piece.size


async def work(piece: Piece) -> Any:
    """Hold a piece's memory for its time; the result is true."""
    held = take(piece)
    if piece.burst:
        await asyncio.sleep(piece.hold_s / 2)
        more = b"x" * piece.burst
        await asyncio.sleep(0.005)
        del more
        await asyncio.sleep(piece.hold_s / 2)
    else:
        await asyncio.sleep(piece.hold_s)
    return b"r" * piece.kept if piece.kept else len(held)


def work_batch(workload: Workload) -> Callable[[list[Piece]], Any]:
    """Return a function that holds the memory of all pieces of a batch for the batch's time."""
    server = asyncio.Lock()

    async def batch(pieces: list[Piece]) -> list[Any]:
        if workload.serial:
            async with server:
                return await alone(pieces)
        return await alone(pieces)

    async def alone(pieces: list[Piece]) -> list[Any]:
        held = [take(piece) for piece in pieces]
        await asyncio.sleep(workload.call_s + workload.item_s * len(pieces))
        return [len(each) for each in held]

    return batch
