"""From the source to admitted batches.

Covers pulling, weighing, and batches that wait for admission. Whether one may start is `memflow.processing.gate`'s to
say, whether the consumer has room `memflow.processing.delivery`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from memflow.processing.batch import Batch
from memflow.processing.gate import Gate
from memflow.processing.hints import weigh
from memflow.processing.plan import CallPlan
from memflow.processing.source import AsyncSource, SyncSource

__all__ = ["Intake", "count_within"]

_QUICK_S = 0.005
_SLOW_S = 0.02


class Intake:
    """Makes batches of what a source gives.

    Args:
        plan: what the call is to do.
        source: where items come from.
        gate: lets batches in.

    Attributes:
        quantum: items of an item function that are admitted together. It is large enough that their admission costs
            little (batches shorter than 5 ms grow), and small enough to react (batches longer than 20 ms shrink).
    """

    def __init__(self, plan: CallPlan, source: SyncSource | AsyncSource, gate: Gate) -> None:
        self.source = source
        self.quantum = 1
        self._plan = plan
        self._gate = gate
        self._position = 0
        self._pending: deque[Batch] = deque()
        self._admitting = False
        self._rest: list[Any] = []

    @property
    def waits_for_memory(self) -> bool:
        """True while a batch that was pulled waits for admission; nothing may overtake it."""
        return bool(self._pending) or self._admitting

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
            most_weight: tells the size hints in bytes, in all, that one batch may have. What goes beyond begins the
                next one, so that a batch is the right size the moment items become larger.

        Raises:
            SizeHintError: a hint was no size.
        """
        plan = self._plan
        whole = plan.kind == "batches"
        wanted = batch_size if whole else min(self.quantum, room)
        items, self._rest = self._rest, []
        if not items:
            items = self.source.take(wanted, whole=whole)
        if not items:
            return None
        full = len(items) == wanted
        start = self._position
        self._position += len(items)
        weights = None
        if plan.hint is not None:
            weights = weigh(plan.hint, items, start)
            if whole:
                cut = count_within(weights, most_weight())
                if cut < len(items):
                    full, self._rest = True, items[cut:]
                    items, weights = items[:cut], weights[:cut]
                    self._position -= len(self._rest)
            else:
                items = list(zip(items, weights, strict=True))  # see workers.track_weights
        batch = Batch(start, items, weights, full=full)
        if self._gate.try_enter(batch):
            return batch
        self._pending.append(batch)
        return None

    async def wait_admitted(self) -> Batch:
        """Wait until the next pending batch, or the first part of it, is admitted.

        Raises:
            MemoryPressureError: no schedule fits the memory that is left.
        """
        self._admitting = True
        try:
            batch = self._pending.popleft()
            if batch.size > 1 and self._plan.kind == "items":
                batch = self._first_of(batch, 1)  # near the limit, the smallest steps
            while not await self._gate.wait_enter(batch):
                batch = self._first_of(batch, batch.size // 2)
            return batch
        finally:
            self._admitting = False

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
        """Fit the quantum to how long a batch took."""
        if seconds < _QUICK_S:
            # What an async source has read ahead waits outside of the consumer's window, so it gets half as much.
            most = concurrency // 2 if isinstance(self.source, AsyncSource) else concurrency
            self.quantum = min(self.quantum * 2, max(16, most))
        elif seconds > _SLOW_S and self.quantum > 1:
            self.quantum //= 2


def count_within(weights: Sequence[float], most: float) -> int:
    """Return how many of the first weights stay within a sum, at least 1."""
    total = 0.0
    for count, weight in enumerate(weights):
        total += weight
        if total > most:
            return max(1, count)
    return len(weights)
