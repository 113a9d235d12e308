"""Why a size was chosen: decisions as data and as sentences. Pure.

Covers the values that `BatchOptimizer.explain()` returns. Choosing is `memflow.sizing.policy`'s and
`memflow.sizing.concurrency`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isfinite

__all__ = ["Decision", "Reason"]


class Reason(Enum):
    """What decided."""

    START = "start"
    """Given by the user or the default."""
    MEMORY = "memory"
    """What memory allows."""
    KNEE = "knee"
    """The fixed cost of a batch no longer matters at this size."""
    TIME = "time"
    """A larger batch would take longer than `max_batch_s`."""
    BOUND = "bound"
    """The bounds that the user set."""
    GROWTH_CAP = "growth cap"
    """At most doubled at once; it goes on from there."""
    NOT_FULL = "not full"
    """The last batch was not half full: too little input to judge by."""
    PRESSURE = "pressure"
    """Memory is near its limit, or an allocation failed."""
    PROBE = "probe"
    """Another concurrency is tried."""
    PAID = "paid"
    """The concurrency tried raised the throughput and is kept."""
    DID_NOT_PAY = "did not pay"
    """The concurrency tried didn't raise the throughput; the best one so far is taken again."""
    PROFILE = "profile"
    """What an earlier run reached, as a cost profile says."""
    STEADY = "steady"
    """Nothing was worth a change."""


_WHY = {
    Reason.START: "where it starts",
    Reason.MEMORY: "as much as memory allows",
    Reason.KNEE: "where the fixed cost of a batch stops to matter",
    Reason.TIME: "as much as max_batch_s allows",
    Reason.BOUND: "the bound that is set",
    Reason.GROWTH_CAP: "growth is capped at 2x",
    Reason.NOT_FULL: "the last batch was not half full",
    Reason.PRESSURE: "memory is near its limit",
    Reason.PROBE: "to see whether it pays",
    Reason.PAID: "it paid",
    Reason.DID_NOT_PAY: "it did not pay",
    Reason.PROFILE: "where an earlier run ended",
    Reason.STEADY: "nothing was worth a change",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice of a size. `str()` gives a sentence."""

    operation: str
    """Whose calls."""
    time_s: float
    """When, in seconds of a monotonic clock."""
    what: str
    """"batch_size" (items a batch) or "concurrency" (calls in flight)."""
    before: int
    """The value until now."""
    after: int
    """The value from now on."""
    reason: Reason
    """What decided."""
    memory_allows: float | None = None
    """The most that memory allows, same unit; None where nothing was learnt."""
    knee: float | None = None
    """Items at which the fixed cost is `knee_overhead_pct`; None where unknown, infinite where items are free."""
    time_allows: float | None = None
    """The most items that `max_batch_s` allows; None where unknown."""
    bytes_per_item: float | None = None
    """What an item was thought to take, in bytes; None where nothing was learnt."""
    rate_before: float | None = None
    """Items a second under the setting compared with; None where nothing was compared."""
    rate: float | None = None
    """Items a second under the setting tried; None where nothing was compared."""

    def __str__(self) -> str:
        unit = "items a batch" if self.what == "batch_size" else "calls in flight"
        change = f"{self.before} -> {self.after}" if self.after != self.before else f"stays at {self.after}"
        return f"{self.operation}: {change} {unit}, since {', '.join(self._grounds())}"

    def _grounds(self) -> list[str]:
        grounds = []
        if self.memory_allows is not None and isfinite(self.memory_allows):
            grounds.append(f"memory allows {self.memory_allows:.0f}")
        if self.knee is not None:
            grounds.append(f"the knee is {self.knee:.0f}" if isfinite(self.knee) else "items cost no time of their own")
        if self.rate is not None and self.rate_before is not None:
            grounds.append(f"it gave {self.rate:.3g} items/s against {self.rate_before:.3g}")
        grounds.append(_WHY[self.reason])
        return grounds
