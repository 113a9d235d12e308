"""Parts that the tests of `memflow.processing` put together by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from memflow.memory.readings import AllocatorReading
from memflow.memory.sampler import Sampler
from memflow.processing.bundle import MemoryBundle, create_memory_manager
from memflow.processing.cadence import Cadence
from memflow.processing.call import Call
from memflow.processing.gate import Gate
from memflow.processing.plan import CallPlan
from memflow.processing.processor import BatchProcessor
from memflow.processing.source import open_source
from memflow.processing.stream import RunningCall
from memflow.processing.totals import Totals
from memflow.processing.workers import track_weights, work_batches, work_items
from memflow.settings import BatchProcessorSettings, MemflowSettings
from memflow.testing import ScriptedProbe

GIB = 2**30
MIB = 2**20


class FakeSizer:
    """Sizes that stay as they are set; notes what it is told."""

    guard_bytes = 0
    base_bytes: int | None = None
    reusable_bytes = 0
    guesses = False

    def __init__(self, *, batch_size: int = 4, concurrency: int = 2, bytes_each: int = 0) -> None:
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.bytes_each = bytes_each
        self.told: list[dict[str, Any]] = []
        self.closed = 0
        self.shrunk = 0
        self.waits = 0

    def predict_bytes(self, weight: float) -> int:
        return int(weight * self.bytes_each)

    def finished(self, **told: Any) -> None:
        self.told.append(told)

    def shrink(self, now_s: float) -> None:
        self.shrunk += 1

    def most_weight(self) -> float:
        return float("inf")

    def held_back(self, now_s: float) -> None:
        self.waits += 1

    def close(self) -> None:
        self.closed += 1


def plan(kind: str = "items", **changes: Any) -> CallPlan:
    """A plan with the defaults of `process`."""
    fields: dict[str, Any] = {
        "operation": "test.work",
        "kind": kind,
        "hint": None,
        "ordered": True,
        "keep": False,
        "collect": False,
        "preemptible": False,
        "rerun": True,
        "delay_s": 0.0,
        **changes,
    }
    return CallPlan(**fields)


def bundle_with(
    probe: ScriptedProbe, *, clock: Callable[[], float] | None = None, **memory_manager: Any
) -> MemoryBundle:
    """A bundle of its own that reads `probe` at every boundary and reclaims nothing."""
    sections = {
        "memory_manager": {"boundary_interval_s": 0, "auto_gc": False, **memory_manager},
        "batch_processor": BatchProcessorSettings(),
    }
    if clock is None:
        return create_memory_manager(sections, probe=probe)
    settings = MemflowSettings(**sections)
    return MemoryBundle(settings, sampler=Sampler(settings.memory_manager, probe=probe, clock=clock))


def virtual_processor(probe: ScriptedProbe, **memory_manager: Any) -> BatchProcessor:
    """A whole processor that goes by the time of the running backend, for `run_virtual`: it sees no clock and no heap.

    Sizes are the real optimizer's; as `bundle_with`, it reads `probe` at every boundary and reclaims nothing.
    """
    bundle = bundle_with(probe, clock=anyio.current_time, **memory_manager)
    bundle.state.allocator = lambda: AllocatorReading(100_000, None, None)  # type: ignore[method-assign]  # no heap
    bundle.analyzer._watches = False  # no thread asks the loop in virtual time
    return BatchProcessor(bundle=bundle)


def call_of(
    items: Any,
    function: Callable[[Any], Any],
    *,
    kind: str = "items",
    sizer: FakeSizer | None = None,
    bundle: MemoryBundle | None = None,
    totals: Totals | None = None,
    settings: BatchProcessorSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
    **plan_changes: Any,
) -> Call:
    """A call that was put together by hand: sizes are a `FakeSizer`'s, memory is scripted."""
    if bundle is None:
        bundle = bundle_with(ScriptedProbe())
        bundle.sampler.sample()
    settings = settings if settings is not None else BatchProcessorSettings()
    sizer = sizer if sizer is not None else FakeSizer()
    totals = totals if totals is not None else Totals()
    cadence, of = Cadence(clock=clock), plan(kind, **plan_changes)
    load = bundle.state.work.load(of.operation)
    return Call(
        of,
        open_source(items, cadence=cadence, linger_s=settings.linger_s),
        track_weights(function, load) if of.hint is not None and kind == "items" else function,
        work_items if kind == "items" else work_batches,
        sizer=sizer,  # type: ignore[arg-type]
        gate=Gate(of.operation, bundle, sizer, totals, settings, clock=clock),  # type: ignore[arg-type]
        load=load,
        cadence=cadence,
        totals=totals,
    )


async def results_of(call: Call) -> list[Any]:
    """Run a call that keeps its results, and return them."""
    async with RunningCall(call, None, lambda: None):
        await call.finished.wait()
    call.raise_outcome()
    return call.delivery.take_results()


async def settle(rounds: int = 20) -> None:
    """Let everybody run until they wait for something else than the loop."""
    for _ in range(rounds):
        await checkpoint()
