"""What is remembered about one operation between calls. Pure.

Covers counters, learnt times, the last sizes and the last decisions. Learnt bytes are kept for all operations together,
in `memflow.sizing.cost`; who writes here is `memflow.sizing.call`.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from memflow.sizing.decisions import Decision
from memflow.sizing.timing import TimeModel

__all__ = ["Kind", "Operation"]

Kind = Literal["items", "batches"]

_DECISIONS = 64
_SMOOTHING = 0.2
_TIMINGS = 4


class Operation:
    """One operation's memory.

    Attributes:
        name: under which costs are learnt.
        kind: "items" for functions of one item, "batches" for functions of a list.
        timing: seconds of a batch with the calls in flight that are set now.
        decisions: the last ones, oldest first.
        batches: batches (or groups of items) finished.
        items: items finished.
        weight: weight finished: items, or size hints in bytes.
        weight_per_item: the same for each item, smoothed.
        calls: calls in flight when the last batch ended.
        batch_size: where a call would start now; None until a call has decided.
        concurrency: likewise.
        rate: items a second at that concurrency; None until measured.
        sized_at: batches that were finished when the batch size changed last.
        open: runs that are going on.
        opened_at: batches that were finished when the last run began.
    """

    __slots__ = (
        "_timings",
        "batch_size",
        "batches",
        "calls",
        "concurrency",
        "decisions",
        "items",
        "kind",
        "name",
        "open",
        "opened_at",
        "rate",
        "sized_at",
        "timing",
        "weight",
        "weight_per_item",
    )

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind: Kind = kind
        self.timing = TimeModel()
        self._timings: dict[int, TimeModel] = {}
        self.decisions: deque[Decision] = deque(maxlen=_DECISIONS)
        self.batches = 0
        self.items = 0
        self.weight = 0.0
        self.weight_per_item = 1.0
        self.calls = 1
        self.batch_size: int | None = None
        self.concurrency: int | None = None
        self.rate: float | None = None
        self.sized_at = 0
        self.open = 0
        self.opened_at = 0

    def time_at(self, concurrency: int) -> None:
        """Take `timing` from what was learnt with so many calls in flight, or begin it."""
        found = self._timings.pop(concurrency, None)
        if found is None:
            found = TimeModel(self.timing)
            if len(self._timings) >= _TIMINGS:
                del self._timings[next(iter(self._timings))]
        self._timings[concurrency] = self.timing = found

    def count(self, items: int, weight: float, calls: int) -> None:
        """Count a batch that ended."""
        self.batches += 1
        self.items += items
        self.weight += weight
        self.calls = calls if calls > 0 else 1
        if weight != items and items:
            share = weight / items
            if self.weight_per_item == 1.0:
                self.weight_per_item = share
            else:
                self.weight_per_item += _SMOOTHING * (share - self.weight_per_item)
