"""Virtual time for sizing: calls that take as long as a model says, and memory that is what they hold.

Covers a loop that does what the pipeline does (admit, start, end, read memory at each boundary) with no real waiting
and no real memory.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.state import MemoryState
from memflow.settings import BatchOptimizerSettings
from memflow.sizing.admission import Admission, Refusal
from memflow.sizing.optimizer import BatchOptimizer

MIB = 1 << 20
BASE = 50 * MIB
PLENTY = 1 << 40

Model = Callable[[float, int, int], float]
"""(time a call starts, its items, calls in flight) -> time it ends, seconds."""


class Noise:
    """Factors around 1."""

    def __init__(self, seed: int = 1, spread: float = 0.05) -> None:
        self._random = random.Random(seed)
        self._spread = spread

    def __call__(self) -> float:
        return max(0.2, self._random.gauss(1, self._spread))


def latency(seconds: Callable[[int], float], *, seed: int = 1) -> Model:
    """Calls that only wait: none slows another."""
    noise = Noise(seed)
    return lambda now_s, items, _: now_s + seconds(items) * noise()


def server(slots: int, seconds: Callable[[int], float], *, thrash: float = 0.0, seed: int = 1) -> Model:
    """Calls that share a server of so many slots, first come, first served; 1 slot is a processor.

    With `thrash`, each call beyond the slots slows all of them.
    """
    noise, free = Noise(seed), [0.0] * slots

    def model(now_s: float, items: int, in_flight: int) -> float:
        slowed = 1 + thrash * max(0, in_flight - slots) / slots
        end_s = max(now_s, heapq.heappop(free)) + seconds(items) * noise() * slowed
        heapq.heappush(free, end_s)
        return end_s

    return model


class World:
    """One call of the pipeline, in virtual time.

    Args:
        model: how long calls take.
        kind: "items" or "batches".
        bytes_per_item: what an item holds from start to end.
        bytes_per_call: what a call holds besides.
        limit_bytes: the memory limit.
        retain: the allocator keeps what was freed, and uses it again.
        settings: the optimizer's.
        open_call: more arguments for `open_call`.
    """

    def __init__(
        self,
        model: Model,
        *,
        kind: str = "batches",
        bytes_per_item: int = 1000,
        bytes_per_call: int = 0,
        limit_bytes: int = PLENTY,
        retain: bool = False,
        settings: BatchOptimizerSettings | None = None,
        **open_call: object,
    ) -> None:
        self.model, self.kind, self.limit_bytes, self.retain = model, kind, limit_bytes, retain
        self.bytes_per_item, self.bytes_per_call = bytes_per_item, bytes_per_call
        self.now_s = 0.0
        self.state = MemoryState()
        self.optimizer = BatchOptimizer(settings, state=self.state)
        self.admission = Admission()
        self.live = self.others = self.started = self.in_flight = 0
        self.rss = self.peak = self.start = self.highest = BASE
        self.load = self.most = 0.0
        self.running: list[tuple] = []
        self.done: list[tuple[float, int]] = []
        self.sizes: list[tuple[float, int, int]] = []
        self.supply: Callable[[float], bool] = lambda now_s: True
        self.read()
        arguments = {"batch_size": None, "concurrency": None, "auto": True, **open_call}
        self.sizer = self.optimizer.open_call("work", kind=kind, now_s=0.0, **arguments)

    def read(self) -> None:
        """Close the window."""
        in_use = self.rss + self.others
        reading = MemoryReading(self.now_s, self.rss, self.peak, in_use, self.limit_bytes)
        level = PressureLevel(sum(in_use > share * self.limit_bytes for share in (0.7, 0.8, 0.9)))
        loads = {"work": self.most} if self.most else {}
        self.state.accept(MemoryWindow(self.start, reading, loads, {}, self.load == 0), level)
        self.start = self.peak = self.rss
        self.most = self.load

    def begin(self) -> bool:
        """Start a call, halved until it fits where nothing else is in flight; False where it has to wait."""
        self.read()
        items = self.sizer.batch_size if self.kind == "batches" else 1
        while True:
            answer = self.admission.try_reserve(
                self.sizer.predict_bytes(items),
                reading=self.state.reading,
                now_s=self.now_s,
                single=items == 1,
                guard_bytes=self.sizer.guard_bytes,
                base_bytes=self.sizer.base_bytes,
                reusable_bytes=self.rss - BASE - self.live,
            )
            if not isinstance(answer, Refusal):
                break
            if self.in_flight or items == 1:
                return False
            items //= 2
        held = items * self.bytes_per_item + self.bytes_per_call
        self.in_flight += 1
        self.started += 1
        self.load += items
        self.most = max(self.most, self.load)
        self.live += held
        self.rss = max(BASE + self.live, self.rss if self.retain else 0)
        self.peak = max(self.peak, self.rss)
        self.highest = max(self.highest, self.rss + self.others)
        end_s = self.model(self.now_s, items, self.in_flight)
        heapq.heappush(self.running, (end_s, self.started, self.now_s, items, held, answer))
        return True

    def end(self) -> None:
        """End the call that ends next."""
        self.now_s, _, started_s, items, held, reservation = heapq.heappop(self.running)
        self.live -= held
        reservation.release()
        if not self.retain:
            self.rss = BASE + self.live
        self.read()
        self.load -= items
        full = self.kind == "items" or items == self.sizer.batch_size
        self.sizer.finished(
            items=items,
            weight=float(items),
            seconds=self.now_s - started_s,
            full=full,
            in_flight=self.in_flight,
            now_s=self.now_s,
        )
        self.in_flight -= 1
        self.done.append((self.now_s, items))
        now = (self.sizer.batch_size, self.sizer.concurrency)
        if not self.sizes or self.sizes[-1][1:] != now:
            self.sizes.append((self.now_s, *now))

    def run(self, until_s: float) -> World:
        """Go on until then."""
        while self.now_s < until_s:
            while self.in_flight < self.sizer.concurrency and self.supply(self.now_s) and self.begin():
                pass
            if self.running:
                self.end()
            else:
                self.now_s += 0.01
                self.read()
        return self

    def rate(self, from_s: float, to_s: float) -> float:
        """Items a second between two moments."""
        return sum(items for time_s, items in self.done if from_s <= time_s < to_s) / (to_s - from_s)

    def changes(self, from_s: float) -> int:
        """Changes of size since then."""
        return sum(time_s >= from_s for time_s, *_ in self.sizes)


def best_fixed(make: Callable[[], Model], sizes: list[tuple[int, int]], seconds: float, **world: object) -> float:
    """Return the highest rate that any of these (batch size, concurrency) gives when it is kept."""
    rates = []
    for batch_size, concurrency in sizes:
        kept = World(make(), batch_size=batch_size, concurrency=concurrency, auto=False, **world)
        rates.append(kept.run(seconds).rate(seconds / 4, seconds))
    return max(rates)
