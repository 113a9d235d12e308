"""What is remembered about one operation between calls. Pure.

Covers counters, learnt times, the last sizes and the last decisions. Learnt bytes are kept for all operations together,
in `memflow.sizing.cost`; who writes here is `memflow.sizing.call`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from memflow.sizing.decisions import Decision
from memflow.sizing.timing import TimeModel

__all__ = ["Kind", "Operation", "WarmStart"]

Kind = Literal["items", "batches"]

_DECISIONS = 64
_SMOOTHING = 0.2
_TIMINGS = 4


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Sizes that an earlier run reached, to go on from once this one has measured a round (`memflow.sizing.warm`)."""

    batch_size: int | None
    """Items of a batch; None for item functions."""
    concurrency: int
    """Calls in flight."""
    climbing: bool = False
    """The search for a better concurrency had only begun."""


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
        climbing: the last call ended in the first climb of its search for a concurrency.
        start: sizes of an earlier run that no call has taken up yet.
        hinted: weight is in bytes of size hint.
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
        "climbing",
        "concurrency",
        "decisions",
        "hinted",
        "items",
        "kind",
        "name",
        "open",
        "opened_at",
        "rate",
        "sized_at",
        "start",
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
        self.climbing = False
        self.start: WarmStart | None = None
        self.hinted = False
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

    def recall_times(self, line: tuple[float, float], concurrency: int) -> None:
        """Take seconds of a batch, and of one more item, as an earlier run learnt them with so many calls in flight."""
        self._timings[concurrency] = self.timing = TimeModel(line=line)

    @property
    def line(self) -> tuple[float, float] | None:
        """Seconds of a batch and of one more item, with the calls in flight now or those most recent; None if unknown.

        Where but one size was timed with the present calls, no line can be drawn.
        """
        lines = (each.line for each in (self.timing, *reversed(self._timings.values())))
        return next((line for line in lines if line is not None), None)

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
