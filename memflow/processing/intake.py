"""From the source to admitted batches.

Covers pulling, weighing, and batches that wait for admission. Whether one may start is `memflow.processing.gate`'s to
say, whether the consumer has room `memflow.processing.delivery`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from memflow.exceptions import MemoryPressureError
from memflow.processing.batch import Batch
from memflow.processing.gate import Gate
from memflow.processing.hints import weigh
from memflow.processing.plan import CallPlan
from memflow.processing.source import Source

__all__ = ["Intake", "count_before", "count_within"]

_QUICK_S = 0.005
_SLOW_S = 0.02
_CALM = 64
_MOST_QUANTUM = 1 << 20
_CLEARLY_LESS = 0.75


class Intake:
    """Makes batches of what a source gives.

    Args:
        plan: what the call is to do.
        source: where items come from.
        gate: lets batches in.

    Attributes:
        quantum: items of an item function that are admitted together. It is large enough that their admission costs
            little (batches shorter than 5 ms grow), and small enough to react (batches longer than 20 ms shrink).
        given_up: the batch that the last `MemoryPressureError` was about.
    """

    def __init__(self, plan: CallPlan, source: Source, gate: Gate) -> None:
        self.source = source
        self.quantum = 1
        self._most_quantum = _MOST_QUANTUM
        self._calm = 0
        self._plan = plan
        self._gate = gate
        self._position = 0
        self._pending: deque[Batch] = deque()
        self._admitting = False
        self._waiting: Batch | None = None
        self._rest: list[Any] = []
        self.given_up: Batch | None = None

    @property
    def waits_for_memory(self) -> bool:
        """True while a batch that was pulled waits for admission; nothing may overtake it."""
        return bool(self._pending) or self._waiting is not None

    @property
    def waiting(self) -> int:
        """1 while a batch of the intake waits at the gate, else 0."""
        return 0 if self._waiting is None else 1

    @property
    def looks_out(self) -> bool:
        """True while a worker is in `wait_admitted`: should room come from elsewhere, it notices."""
        return self._admitting

    @property
    def needs_admission(self) -> bool:
        """True when a worker should call `wait_admitted`."""
        return bool(self._pending) and not self._admitting

    @property
    def done(self) -> bool:
        """True when no batch will come any more."""
        return self.source.ended and not self._rest and not self.waits_for_memory

    def pull(self, batch_size: int, room: int, most_weight: Callable[[], float] = lambda: inf) -> Batch | None:
        """Make a batch of what is there now and admit it, without waiting; None if either fails.

        Args:
            batch_size: items of a batch, for a batch function.
            room: most items to pull, for an item function.
            most_weight: tells the weight that one batch may have for all that is known now: size hints in bytes, in
                all, or items. What goes beyond begins the next one, so that a batch is the right size the moment items
                become larger; without hints, the moment that is known, and not only once a batch has ended.

        Raises:
            SizeHintError: a hint was no size.
        """
        plan = self._plan
        whole = plan.kind == "batches"
        wanted = batch_size if whole else min(self.quantum, room)
        items, self._rest = self._rest, []
        if len(items) < wanted and not (items and self.source.ended):
            items += self.source.take(wanted - len(items), whole=whole and not items)
        if not items:
            return None
        full, cut = len(items) >= wanted, min(len(items), wanted)
        weights = None
        if plan.hint is not None:
            weights = weigh(plan.hint, items[:cut], self._position, self.source.place)
            fits = count_before(weights, self._gate.limit_bytes)
            if whole:
                fits = min(fits, count_within(weights, most_weight()))
            if fits < cut:
                full, cut, weights = True, fits, weights[:fits]
        elif whole and (allowed := most_weight()) < _CLEARLY_LESS * cut:
            full, cut = True, max(1, int(allowed))
        if cut < len(items):
            items, self._rest = items[:cut], items[cut:]
        start = self._position
        self._position += cut
        if weights is not None and not whole:
            items = list(zip(items, weights, strict=True))  # see workers.track_weights
        batch = Batch(start, items, weights, full=full)
        if self._gate.try_enter(batch):
            return batch
        if batch.size > 1 and not whole:
            self._most_quantum, self._calm = max(1, batch.size // 2), 0
            self.quantum = min(self.quantum, self._most_quantum)
        self._pending.append(batch)
        return None

    def take_waiting(self) -> Batch | None:
        """Admit the batch at the head of the line, without waiting; None where it has to go on waiting.

        A worker that has just given memory back calls this, which saves waking the one that waits.
        """
        batch = self._waiting
        if batch is not None:
            if not self._gate.try_take(batch):
                return None
            self._waiting = None
            return batch
        batch = self._next()
        if self._gate.try_enter(batch):
            return batch
        self._pending.appendleft(batch)
        self._gate.tell()  # who waited for the one before takes this one on
        return None

    def _next(self) -> Batch:
        batch = self._pending.popleft()
        if batch.size > 1 and self._plan.kind == "items":
            batch = self._first_of(batch, 1)  # near the limit, the smallest steps
        return batch

    async def wait_admitted(self) -> Batch | None:
        """Wait until the next pending batch, or the first part of it, is admitted; None where another took it.

        Raises:
            MemoryPressureError: no schedule fits the memory that is left.
        """
        self._admitting = True
        batch = self._next()
        try:
            while True:
                self._waiting = batch
                entered = await self._gate.wait_enter(batch)
                if self._waiting is not batch:
                    return None
                self._waiting = None
                if entered:
                    return batch
                batch = self._first_of(batch, min(batch.size // 2, self._gate.items_that_fit(batch)))
        except MemoryPressureError:
            self.given_up = batch
            raise
        finally:
            self._waiting, self._admitting = None, False

    def _first_of(self, batch: Batch, count: int) -> Batch:
        first, rest = batch.split(count)
        self._pending.appendleft(rest)
        return first

    def let_go(self) -> None:
        """Forget the source, and what was pulled and never started."""
        self._pending.clear()
        self._rest.clear()
        self.source.let_go()

    def pace(self, seconds: float, concurrency: int) -> None:
        """Fit the quantum to how long a batch took, and to what memory has refused."""
        self._calm += 1
        if self._calm % _CALM == 0 and self._most_quantum < _MOST_QUANTUM:
            self._most_quantum *= 2
        if seconds < _QUICK_S:
            # What an async source has read ahead waits outside of the consumer's window, so it gets half as much.
            most = concurrency // 2 if self.source.is_fed else concurrency
            self.quantum = min(self.quantum * 2, max(16, most), self._most_quantum)
        elif seconds > _SLOW_S and self.quantum > 1:
            self.quantum //= 2


def count_before(weights: Sequence[float], most: float) -> int:
    """Return how many come before the first weight that alone exceeds `most`; 1 where that is the first of them.

    What no memory is enough for is refused by itself, and takes nobody with it.
    """
    return next((max(1, n) for n, weight in enumerate(weights) if weight > most), len(weights))


def count_within(weights: Sequence[float], most: float) -> int:
    """Return how many of the first weights stay within a sum, at least 1."""
    total = 0.0
    for count, weight in enumerate(weights):
        total += weight
        if total > most:
            return max(1, count)
    return len(weights)
