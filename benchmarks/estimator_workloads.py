"""Programs whose bytes per item are known, run with real memory while their windows are written down.

Covers the workloads of `benchmarks.estimator`: `python -m benchmarks.estimator_workloads NAME SEED` prints one trace
as JSON, and `... NAME SEED --truth` what an item of it really takes. Each is meant to run in a process of its own, so
that no run inherits another's heap. Judging estimators on the traces is `benchmarks.estimator`'s.

Every parameter (bytes per item and their spread, items a batch, calls in flight, how long they are held, whether a
call allocates at once or bit by bit) is drawn from the seed. Native truth is what was asked for, rounded up to whole
pages where the kernel does so. For Python objects it is the sum of `sys.getsizeof` over the objects of an item, each
rounded up to the allocator's 16 bytes; it is never taken from RSS. (With less than a few MB in flight, CPython's arenas
of 1 MB are most of the difference: such jobs need no estimate.)
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import mmap
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20
BATCHES = 110
TICK_S = 0.05
BOUNDARY_S = 0.001

Allocate = Callable[[int], Any]


def pages(size: int) -> mmap.mmap:
    """Map pages and touch each: given back to the kernel as soon as it is freed."""
    block = mmap.mmap(-1, size)
    for offset in range(0, size, mmap.PAGESIZE):
        block[offset] = 1
    return block


def block(size: int) -> bytes:
    """Take one block from malloc: glibc keeps many of these once its mmap threshold has risen."""
    return b"\x01" * size


def small_blocks(size: int) -> list[bytes]:
    """Take blocks of 20 kB from the heap of malloc."""
    whole, rest = divmod(size, 20_000)
    return [b"\x01" * 20_000 for _ in range(whole)] + [b"\x01" * rest]


def records(size: int) -> list[dict[str, Any]]:
    """Make dicts, strings, lists and floats, about 700 bytes a record."""
    return [
        {"id": i * 1_000_003, "name": f"item-{i:06d}" * 3, "tags": [f"a{i}", f"b{i}"], "score": i * 0.37}
        for i in range(max(1, size // 700))
    ]


ALLOCATORS: dict[str, Allocate] = {"pages": pages, "block": block, "small": small_blocks, "python": records}


@dataclass
class Operation:
    """One function that is run over batches."""

    name: str
    mean_bytes: Callable[[int], float]
    batch_items: Callable[[int], int]
    calls: int
    allocator: str = "pages"
    spread: float = 0.3
    fixed_bytes: int = 0
    kept_share: float = 0.0
    gradual: bool = False
    hold_s: float = 0.006

    def draw(self, rng: random.Random, batch: int) -> int:
        """Return the bytes of one item: lognormal around the mean."""
        return max(1, int(self.mean_bytes(batch) * math.exp(rng.gauss(0, self.spread) - self.spread**2 / 2)))


def build(name: str, seed: int) -> list[Operation]:
    """Return the operations of a workload with everything drawn from the seed."""
    rng = random.Random(f"{name}/{seed}")
    mean = math.exp(rng.uniform(math.log(0.05), math.log(0.6))) * MIB
    items = rng.choice([8, 12, 16, 24, 32, 48])
    calls = rng.choice([1, 2, 3, 4, 6, 8])
    while items * calls * mean > 400 * MIB:
        items = max(4, items // 2)
        calls = max(1, calls - 1)
    operation = Operation("work", lambda _: mean, lambda _: items, calls)
    operation.spread = rng.uniform(0.1, 0.5)
    operation.gradual = rng.random() < 0.5
    operation.hold_s = rng.uniform(0.002, 0.012)
    return WORKLOADS[name](operation, mean, items, rng)


# Each of these takes the drawn operation, its mean bytes, its items a batch and the source of randomness.


def _steady(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    return [operation]


def _steady_small(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.allocator = "small"
    return [operation]


def _retention(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.allocator, operation.mean_bytes = "block", lambda _: mean + 0.5 * MIB
    return [operation]


def _python(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.allocator, operation.mean_bytes = "python", lambda _: mean / 1.5
    return [operation]


def _ramp_up(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.mean_bytes = lambda batch: mean * (1 + batch / 60)
    return [operation]


def _ramp_down(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.mean_bytes = lambda batch: mean * (2.8 - batch / 60)
    return [operation]


def _python_ramp(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.allocator, operation.mean_bytes = "python", lambda batch: mean / 3 * (1 + batch / 60)
    return [operation]


def _step(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.mean_bytes = lambda batch: (0.5 if batch < 50 else 4) * MIB
    operation.batch_items = lambda _: 8
    operation.allocator = rng.choice(["pages", "block"])
    operation.calls = min(operation.calls, 4)
    return [operation]


def _vary(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    sizes = [max(1, int(items * rng.choice([0.25, 0.5, 1, 1.5, 2]))) for _ in range(BATCHES)]
    operation.batch_items = lambda batch: sizes[batch]
    return [operation]


def _fixed_cost(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.fixed_bytes = int(rng.uniform(0.3, 1.5) * items * mean)
    return _vary(operation, mean, items, rng)


def _growing(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.fixed_bytes = int(rng.uniform(0.3, 1.5) * 8 * mean)
    turn = 2 * operation.calls
    operation.batch_items = lambda batch: min(items * 2, 4 * 2 ** min(8, batch // turn))
    return [operation]


def _kept(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.kept_share = 0.1
    return [operation]


def _tail(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.spread = 1.2
    return [operation]


def _two(operation: Operation, mean: float, items: int, rng: random.Random) -> list[Operation]:
    operation.calls = 1 + operation.calls // 3
    share = rng.uniform(2, 8)
    other = Operation("other", lambda _: mean / share, lambda _: items, rng.choice([1, 2, 3]))
    other.spread, other.gradual, other.hold_s = operation.spread, operation.gradual, rng.uniform(0.002, 0.012)
    other.allocator = operation.allocator = rng.choice(["pages", "small"])
    return [operation, other]


Shape = Callable[[Operation, float, int, random.Random], list[Operation]]
WORKLOADS: dict[str, Shape] = {
    "steady native": _steady,
    "steady small": _steady_small,
    "steady python": _python,
    "retention": _retention,
    "ramp up": _ramp_up,
    "ramp down": _ramp_down,
    "python ramp": _python_ramp,
    "step 0.5-4 MB": _step,
    "varying size": _vary,
    "fixed cost": _fixed_cost,
    "growing size": _growing,
    "results kept": _kept,
    "heavy tail": _tail,
    "two at once": _two,
}
"""Name to what makes it different from a steady job."""


class Meter:
    """Reads RSS and its exact peak between two readings, as the project does, with nothing else around it."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY)

    def read(self) -> tuple[int, int]:
        """Return RSS and the peak since the reading before, in bytes."""
        text = os.pread(self._status, 8192, 0)
        os.pwrite(self._clear, b"5", 0)
        rss, peak = _kilobytes(text, b"VmRSS:"), _kilobytes(text, b"VmHWM:")
        return rss, max(rss, peak)


def _kilobytes(text: bytes, key: bytes) -> int:
    start = text.index(key) + len(key)
    return int(text[start : text.index(b"kB", start)]) * 1024


@dataclass
class Trace:
    """What a run writes down."""

    base_bytes: int
    windows: list[dict[str, Any]] = field(default_factory=list)


class Recorder:
    """Cuts windows at the start and end of every batch, and at ticks."""

    def __init__(self) -> None:
        self.meter = Meter()
        gc.collect()
        self.meter.read()
        rss, _ = self.meter.read()
        self.trace = Trace(rss)
        self.start_rss = rss
        self.load: dict[str, float] = {}
        self.most: dict[str, float] = {}
        self.batches: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.last_s = time.monotonic()

    def cut(self) -> None:
        """Close the window, unless it was opened a moment ago."""
        now_s = time.monotonic()
        if now_s - self.last_s < BOUNDARY_S:
            return
        rss, peak = self.meter.read()
        self.trace.windows.append(
            {
                "start": self.start_rss,
                "peak": peak,
                "rss": rss,
                "loads": {name: load for name, load in self.most.items() if load},
                "items": dict(self.items),
                "batches": dict(self.batches),
            }
        )
        self.start_rss, self.last_s, self.most = rss, now_s, dict(self.load)

    def change(self, name: str, weight: float) -> None:
        """Count weight that starts (or, negative, ends)."""
        self.load[name] = self.load.get(name, 0.0) + weight
        self.most[name] = max(self.most.get(name, 0.0), self.load[name])


async def run(name: str, seed: int) -> dict[str, Any]:
    """Run a workload for BATCHES batches of each operation and return its trace."""
    recorder = Recorder()
    rng = random.Random(f"run/{name}/{seed}")
    ticker = asyncio.create_task(_tick(recorder))
    kept: list[Any] = []
    operations = build(name, seed)
    workers = []
    for operation in operations:
        numbers = iter(range(BATCHES))
        workers += [_worker(operation, numbers, recorder, rng, kept) for _ in range(operation.calls)]
    await asyncio.gather(*workers)
    ticker.cancel()
    calls = {operation.name: operation.calls for operation in operations}
    return {"base": recorder.trace.base_bytes, "windows": recorder.trace.windows, "calls": calls}


async def _tick(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        recorder.cut()


async def _worker(
    operation: Operation, numbers: Iterator[int], recorder: Recorder, rng: random.Random, kept: list[Any]
) -> None:
    for batch in numbers:
        items = operation.batch_items(batch)
        recorder.cut()
        recorder.change(operation.name, items)
        await _call(operation, batch, items, rng)
        if operation.kept_share:
            kept.append(
                ALLOCATORS[operation.allocator](int(items * operation.mean_bytes(batch) * operation.kept_share))
            )
        recorder.cut()
        recorder.change(operation.name, -items)
        recorder.items[operation.name] = recorder.items.get(operation.name, 0) + items
        recorder.batches[operation.name] = recorder.batches.get(operation.name, 0) + 1


async def _call(operation: Operation, batch: int, items: int, rng: random.Random) -> None:
    """Hold the memory of a batch for a while: the function that a user would bring."""
    allocate = ALLOCATORS[operation.allocator]
    held = [pages(operation.fixed_bytes)] if operation.fixed_bytes else []
    for number in range(items):
        held.append(allocate(operation.draw(rng, batch)))
        if operation.gradual and number % 4 == 3:
            await asyncio.sleep(0.0005)
    await asyncio.sleep(operation.hold_s * rng.uniform(0.5, 1.5))


def truth(name: str, seed: int, batches: tuple[int, ...]) -> dict[str, list[float]]:
    """Return what an item of each operation takes at the given batches, in bytes."""
    return {
        operation.name: [_true_bytes(operation, batch, seed) for batch in batches] for operation in build(name, seed)
    }


def _true_bytes(operation: Operation, batch: int, seed: int) -> float:
    if operation.allocator == "pages":
        return operation.mean_bytes(batch) + mmap.PAGESIZE / 2
    if operation.allocator != "python":
        return operation.mean_bytes(batch)
    rng = random.Random(seed)
    return sum(_footprint(records(operation.draw(rng, batch))) for _ in range(400)) / 400


def _footprint(value: Any) -> int:
    """Return what a tree of containers takes, each object rounded up to the 16 bytes that CPython hands out."""
    own = -(-sys.getsizeof(value) // 16) * 16
    if isinstance(value, dict):
        return own + sum(_footprint(each) for each in value.values())
    return own + sum(map(_footprint, value)) if isinstance(value, list) else own


def main() -> None:
    """Print one trace, or its truth, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=WORKLOADS)
    parser.add_argument("seed", type=int)
    parser.add_argument("--truth", type=int, nargs="*", metavar="BATCH")
    asked = parser.parse_args()
    if asked.truth is not None:
        print(json.dumps(truth(asked.name, asked.seed, tuple(asked.truth))))
    else:
        print(json.dumps(asyncio.run(run(asked.name, asked.seed))))


if __name__ == "__main__":
    main()
