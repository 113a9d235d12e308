"""One collection by hand, and what it gave back.

Covers doing it and measuring it; whether it should be done is `memflow.analysis.inquiry`'s, what it says about growth
that of `memflow.analysis.growth_watch`.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

from memflow.analysis.growth_evidence import BYTES_PER_BLOCK
from memflow.memory.allocator import read_allocator
from memflow.memory.readings import AllocatorReading

__all__ = ["Collection", "collect_once"]


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection found and gave back."""

    objects: int
    """Objects that the collector found unreachable."""
    freed_bytes: int
    """What live memory fell by, roughly: 64 bytes for each block of CPython's allocator, and the C library's bytes."""
    took_ms: float
    """How long it held the interpreter, in milliseconds."""


def collect_once() -> Collection:
    """Collect garbage. Holds the interpreter's lock, and so whatever else runs: 50 ms for a million objects."""
    before, began_s = read_allocator(), time.perf_counter()
    objects = gc.collect()
    took_ms = (time.perf_counter() - began_s) * 1000
    return Collection(objects, live_bytes_lost(before, read_allocator()), took_ms)


def live_bytes_lost(before: AllocatorReading, after: AllocatorReading) -> int:
    """Return by how much live memory fell, in bytes; never negative."""
    blocks = before.blocks - after.blocks
    native = (before.native_live_bytes or 0) - (after.native_live_bytes or 0)
    known = before.native_live_bytes is not None and after.native_live_bytes is not None
    return max(0, blocks * BYTES_PER_BLOCK + (native if known else 0))
