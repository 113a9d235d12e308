"""Scripted memory at scales no test machine holds: several calls, item sizes by distribution, a neighbour, a limit.

Covers the loop that processing runs (admit, wait in turn, split, start, end, read memory at each boundary) around the
real optimizer, admission, pressure gauge and memory state, in virtual time. Not covered: reclaiming, MemoryError and
preemption; here going over the limit is only counted. Search for speed is in `simulation.py`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from memflow.memory.pressure import PressureGauge
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.state import MemoryState
from memflow.settings import BatchOptimizerSettings
from memflow.sizing.admission import Admission, Refusal
from memflow.sizing.optimizer import BatchOptimizer

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
POLL_S = 0.1
SHARE = 0.85

Draw = Callable[[random.Random], float]
"""Bytes of one item. A large batch draws 32 of them, each for its share of the items."""


def uniform(least: float, most: float) -> Draw:
    """Sizes with bounds."""
    return lambda rng: rng.uniform(least, most)


def heavy_tail(median_bytes: float, sigma: float, most: float) -> Draw:
    """Log-normal sizes, cut at `most`."""
    return lambda rng: min(most, rng.lognormvariate(0, sigma) * median_bytes)


@dataclass(eq=False)
class Call:
    """One call: its items, and what happened to it."""

    name: str
    draw: Draw
    seconds: Callable[[int], float]
    kind: str = "batches"
    hinted: bool = False
    hint_error: Callable[[random.Random], float] = lambda rng: 1.0
    items_left: float = float("inf")
    arguments: dict[str, object] = field(default_factory=dict)
    sizer: object = None
    in_flight: int = 0
    done: int = 0
    most: int = 0
    longest_wait_s: float = 0.0
    waiting: tuple[int, float, float] | None = None
    waits_since_s: float = 0.0
    turn: object = None


class World:
    """Calls that share one limit."""

    def __init__(
        self,
        calls: list[Call],
        *,
        limit_bytes: int,
        base_bytes: int = 50 * MIB,
        retained: float = 0.0,
        seed: int = 1,
        admission: Admission | None = None,
        settings: BatchOptimizerSettings | None = None,
    ) -> None:
        self.calls, self.limit_bytes, self.base, self.retained = calls, limit_bytes, base_bytes, retained
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.state, self.gauge = MemoryState(), PressureGauge()
        self.optimizer = BatchOptimizer(settings, state=self.state)
        self.admission = admission or Admission()
        self.live = self.kept = self.others = self.started = self.batches = 0
        self.peak = self.start = self.highest = base_bytes
        self.over = 0
        self.load: dict[str, float] = {}
        self.most: dict[str, float] = {}
        self.running: list[tuple] = []
        self.sizes: list[tuple[float, str, int, int]] = []
        self.read()
        for call in calls:
            arguments = {"batch_size": None, "concurrency": None, "auto": True, **call.arguments}
            call.sizer = self.optimizer.open_call(call.name, kind=call.kind, now_s=0.0, **arguments)

    @property
    def rss(self) -> int:
        """What the process holds."""
        return self.base + self.live + self.kept

    def read(self) -> None:
        """Close the window."""
        in_use = self.rss + self.others
        reading = MemoryReading(self.now_s, self.rss, self.peak, in_use, self.limit_bytes)
        level = self.gauge.update(reading.utilization_pct, self.now_s)
        loads = {name: load for name, load in self.most.items() if load}
        self.state.accept(MemoryWindow(self.start, reading, loads, {}, not any(self.load.values())), level)
        self.start = self.peak = self.rss
        self.most = dict(self.load)

    def _draw(self, call: Call, items: int) -> tuple[int, float]:
        groups = min(items, 32)
        held = sum(call.draw(self.rng) for _ in range(groups)) * items / groups
        return int(held), held * call.hint_error(self.rng) if call.hinted else float(items)

    def begin(self, call: Call) -> bool:
        """Let the next batch of a call in, halved where nothing else is in flight; False where it has to wait."""
        self.read()
        sizer, first = call.sizer, call.waiting is None
        if first:
            items = int(min(call.items_left, sizer.batch_size if call.kind == "batches" else 1))
            call.waiting, call.waits_since_s = (items, *self._draw(call, items)), self.now_s
        while True:
            items, held, weight = call.waiting
            predicted = sizer.predict_bytes(weight)
            answer = self.admission.try_reserve(
                min(predicted, self.limit_bytes) if items == 1 else predicted,
                reading=self.state.reading,
                now_s=self.now_s,
                single=items == 1,
                guard_bytes=sizer.guard_bytes,
                base_bytes=sizer.base_bytes,
                reusable_bytes=self.kept,
                waiter=None if first else call.turn,
            )
            if not isinstance(answer, Refusal):
                break
            if self.admission.holders or items == 1:
                if first:
                    call.turn = object()
                return False
            call.waiting = (items // 2, held // 2, weight / 2)
        call.longest_wait_s = max(call.longest_wait_s, self.now_s - call.waits_since_s)
        call.waiting = None
        self._start(call, items, held, weight, answer)
        return True

    def _start(self, call: Call, items: int, held: int, weight: float, reservation: object) -> None:
        call.in_flight += 1
        call.items_left -= items
        call.most = max(call.most, call.in_flight)
        self.started += 1
        self.load[call.name] = self.load.get(call.name, 0.0) + weight
        self.most[call.name] = max(self.most.get(call.name, 0.0), self.load[call.name])
        self.live += held
        self.kept = max(0, self.kept - held)
        self.peak = max(self.peak, self.rss)
        self.highest = max(self.highest, self.rss + self.others)
        self.over += self.rss + self.others > self.limit_bytes
        end_s = self.now_s + call.seconds(items) * self.rng.uniform(0.95, 1.05)
        heapq.heappush(self.running, (end_s, self.started, self.now_s, call, items, held, weight, reservation))

    def end(self) -> None:
        """End the batch that ends next."""
        self.now_s, _, started_s, call, items, held, weight, reservation = heapq.heappop(self.running)
        self.live -= held
        self.kept += int(self.retained * held)
        self.read()
        reservation.release()
        self.load[call.name] = self.load[call.name] - weight if call.in_flight > 1 else 0.0
        sizer, before = call.sizer, (call.sizer.batch_size, call.sizer.concurrency)
        full = call.kind == "items" or items == sizer.batch_size
        sizer.finished(
            items=items,
            weight=weight,
            seconds=self.now_s - started_s,
            full=full,
            in_flight=call.in_flight,
            now_s=self.now_s,
        )
        call.in_flight -= 1
        call.done += items
        self.batches += 1
        after = (sizer.batch_size, sizer.concurrency)
        if after != before:
            self.sizes.append((self.now_s, call.name, *after))

    def fill(self) -> None:
        """Let in what may start; whoever waits longest asks first."""
        for call in sorted(self.calls, key=lambda each: each.waits_since_s if each.waiting else self.now_s):
            while call.items_left > 0 and call.in_flight < call.sizer.concurrency:
                if not self.begin(call):
                    call.sizer.held_back(self.now_s)
                    break

    def run(self, until_s: float = float("inf"), *, batches: float = float("inf")) -> World:
        """Go on until then, until so many more batches have ended, or until nothing is left."""
        batches += self.batches
        while self.now_s < until_s and self.batches < batches:
            self.fill()
            if self.running and self.running[0][0] <= self.now_s + POLL_S:
                self.end()
            elif self.running or any(call.items_left > 0 for call in self.calls):
                self.now_s += POLL_S
                self.read()
            else:
                break
        return self

    def waited_s(self, call: Call) -> float:
        """The longest wait of a call, one that still goes on included."""
        return max(call.longest_wait_s, self.now_s - call.waits_since_s if call.waiting else 0.0)

    def reversals(self, from_s: float) -> int:
        """How often a call's items in flight (size times calls) turned from growing to shrinking or back."""
        turns, last, way = 0, {}, {}
        for time_s, name, size, calls in self.sizes:
            now = size * calls
            if time_s >= from_s and name in last and now != last[name]:
                up = now > last[name]
                turns += name in way and way[name] != up
                way[name] = up
            last[name] = now
        return turns
