"""What joins an analyzer to its settings, to memory where nobody reads it, and to threads that must not keep it.

Covers small functions that decide nothing. Judging is the work of `memflow.analysis.detectors` and its siblings.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from memflow.analysis.detectors import Thresholds
from memflow.memory.probe import default_probe
from memflow.memory.readings import MemoryReading
from memflow.memory.state import MemoryState
from memflow.settings import HeapAnalyzerSettings, MemoryManagerSettings

__all__ = ["make_sites", "make_thresholds", "read_once", "weakly"]

if TYPE_CHECKING:
    from memflow.analysis.allocation_sites import AllocationSites

T = TypeVar("T")


def make_thresholds(settings: HeapAnalyzerSettings) -> Thresholds:
    """Return the plain numbers that detectors take."""
    return Thresholds(
        high_pct=settings.high_utilization_threshold,
        near_pct=settings.near_limit_threshold,
        sustained_s=settings.sustained_s,
        growth_mb_per_min=settings.leak_threshold_rate,
        min_window_s=settings.min_window_s,
        stall_s=settings.stall_threshold_s,
    )


def make_sites(
    settings: HeapAnalyzerSettings, state: MemoryState, *, told: Callable[[], None]
) -> AllocationSites | None:
    """Return what traces allocations, None where that is off.

    Raises:
        ConfigurationError: what is to trace them cannot be imported.
    """
    if settings.allocation_sites == "off":
        return None
    from memflow.analysis.allocation_sites import AllocationSites  # not loaded for those who do without
    from memflow.analysis.tracers import make_tracer

    tracer = make_tracer(settings.allocation_sites, frames=settings.allocation_frames)
    return AllocationSites(
        tracer,
        window_s=settings.allocation_window_s,
        told=told,
        items=lambda: sum(state.work.items_done().values()),
        room_bytes=lambda: state.reading.headroom_bytes if state.reading is not None else 0,
    )


def read_once() -> tuple[MemoryReading, str]:
    """Take one reading for somebody who has no sampler, and say where its limit comes from."""
    probe = default_probe(MemoryManagerSettings(exact_peaks=False))
    try:
        now_s = time.monotonic()
        limit = probe.limit(now_s)
        return probe.read(now_s), limit.source
    finally:
        probe.close()


def weakly(owner: T, method: Callable[[T], None]) -> Callable[[], None]:
    """Return what calls a method as long as its owner is there, and keeps it for nobody."""
    held = weakref.ref(owner)

    def call() -> None:
        alive = held()
        if alive is not None:
            method(alive)

    return call
