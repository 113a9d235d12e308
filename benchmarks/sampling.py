"""What a reading of memory costs, whole and in its parts.

Covers one full sample (the tick every 50 ms), one boundary sample (at the start or end of a batch), and what they are
made of: the probe, the window, the level, the history, the analyzer and the optimizer. When samples are taken is
`memflow.memory.sampler`'s; what they cost a batch is in `benchmarks.batching`.

Time is passed in, so that everything that is due every so many milliseconds is due here as often as in earnest: ticks
come 50 ms apart, boundaries 1 ms. The optimizer is also shown windows in which memory grew, since then it learns.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from typing import Any

from benchmarks.common import Scale, Spread, print_goal, print_table
from memflow import BatchOptimizer, HeapAnalyzer, MemflowSettings
from memflow.memory.pressure import PressureGauge
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.sampler import Sampler
from memflow.memory.state import History, MemoryState
from memflow.processing.bundle import MemoryBundle

__all__ = ["run"]

TICK_S = 0.05
BOUNDARY_S = 0.001
CALLS = 400
BLOCKS = 5
MIB = 1 << 20
GOAL_US = 10.0

Step = Callable[[], object]


class Parts:
    """Everything that a sample goes through, once more and by itself.

    Args:
        step_s: seconds between two samples.
    """

    def __init__(self, step_s: float) -> None:
        self.boundary = step_s < TICK_S
        ticks = (number * step_s for number in itertools.count(1))
        self.now_s: Callable[[], float] = lambda: next(ticks)
        # The limit is looked up once a second, which costs more than all else: it has a row of its own.
        settings = MemflowSettings(memory_manager={"limit_refresh_s": 1e9})
        memory = settings.memory_manager
        self.sampler = Sampler(memory, clock=self.now_s)
        self.bundle = MemoryBundle(settings, sampler=self.sampler)
        self.alone = Sampler(memory, clock=self.now_s)
        self.gauge = PressureGauge(
            hold_pct=memory.hold_pct,
            shrink_pct=memory.shrink_pct,
            stop_pct=memory.stop_pct,
            hysteresis_pct=memory.hysteresis_pct,
            cooldown_s=memory.cooldown_s,
        )
        self.history = History(memory.history_size)
        self.state = MemoryState()
        self.analyzer = HeapAnalyzer(state=self.state, watch=False)
        self.flat, self.grown = (BatchOptimizer(state=MemoryState()) for _ in range(2))
        for optimizer in (self.bundle.optimizer, self.flat, self.grown):
            optimizer.open_call(
                "work", kind="items", batch_size=None, concurrency=100, auto=True, now_s=time.monotonic()
            )
        ledgers = (self.bundle.state.work, self.alone.state.work, self.state.work)
        self.loads = [ledger.load("work") for ledger in ledgers]
        for load in self.loads:
            load.start(100)
        self.reading = self.sampler.sample()
        self._turn = itertools.count()

    def sample(self, sampler: Sampler) -> object:
        """Take a sample after some items were finished, since nobody looks for growth where nothing is."""
        self.finish_items()
        return sampler.sample(boundary=self.boundary)

    def finish_items(self) -> None:
        """Count a few items as finished, at next to no cost."""
        for load in self.loads:
            load.items_done += 10

    def window(self, grown_bytes: int = 0) -> MemoryWindow:
        """Make a window as the sampler does."""
        self.finish_items()
        now_s, reading, work = self.now_s(), self.reading, self.state.work
        peak = reading.rss_bytes + grown_bytes
        fresh = MemoryReading(now_s, reading.rss_bytes, peak, reading.in_use_bytes, reading.limit_bytes)
        return MemoryWindow(reading.rss_bytes, fresh, work.cut(), work.items_done(), work.drained)

    def _grown(self) -> None:
        self.grown.observe(self.window((90 + next(self._turn) % 20) * MIB))

    def steps(self) -> dict[str, Step]:
        """Return what is measured; the names of parts that include making a window say so."""
        probe, reading, boundary = self.sampler.probe, self.reading, self.boundary
        return {
            "whole sample, analyzer and optimizer told": lambda: self.sample(self.sampler),
            "  the same with nobody told": lambda: self.sample(self.alone),
            "  probe": lambda: probe.read(self.now_s(), boundary=boundary),
            "  level": lambda: self.gauge.update(reading.utilization_pct, self.now_s()),
            "  history": lambda: self.history.append(self.window().reading),
            "  window and its reading": self.window,
            "  analyzer, with window": lambda: self.analyzer.observe(self.window()),
            "  optimizer, with window, memory flat": lambda: self.flat.observe(self.window()),
            "  optimizer, with window, memory grown": self._grown,
            "look-up of the limit (once a second)": lambda: probe.limit(self.now_s()),
        }

    def close(self) -> None:
        """Release what the probes hold open."""
        self.sampler.close()
        self.alone.close()


def _block_us(step: Step, calls: int) -> float:
    began_s = time.process_time()
    for _ in range(calls):
        step()
    return (time.process_time() - began_s) / calls * 1e6


def _measure(step_s: float, calls: int, rounds: int) -> tuple[dict[str, Spread], Any]:
    parts = Parts(step_s)
    try:
        steps = parts.steps()
        for step in steps.values():
            _block_us(step, calls)
        gc.collect()
        found: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                found[name].append(_block_us(step, calls))
        return {name: Spread.of(values) for name, values in found.items()}, parts.sampler.state.limit
    finally:
        parts.close()


def run(scale: Scale) -> None:
    """Measure both kinds of sample, print a table and the goal."""
    calls, rounds = scale.of(CALLS), max(1, scale.rounds * BLOCKS)
    full, limit = _measure(TICK_S, calls, rounds)
    boundary, _ = _measure(BOUNDARY_S, calls, rounds)
    print_table(
        f"µs of CPU a sample, blocks of {calls}; deciding limit: {limit.source}",
        ["", "full, every 50 ms", "boundary, every 1 ms"],
        [[name, f"{full[name]:.1f}", f"{boundary[name]:.1f}"] for name in full],
    )
    whole, *_, look_up = full
    print_goal("full sample, µs", full[whole].median, GOAL_US, form=".1f")
    print_goal("boundary sample, µs", boundary[whole].median, GOAL_US, form=".1f")
    ticking = full[whole].median / TICK_S + full[look_up].median
    print(
        f"          ticks and look-ups of the limit take {ticking / 1e4:.2f} % of a core while something is in flight"
    )
