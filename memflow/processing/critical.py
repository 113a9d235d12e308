"""When memory is critical, and what is told then.

Covers the value that `on_memory_critical` gets, and the decision. Calling it is `memflow.processing.critical_hook`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from memflow.memory.pressure import PressureLevel
from memflow.processing.outcome import ProcessorStatistics

__all__ = ["CriticalGauge", "CriticalReason", "MemoryCritical"]

CriticalReason = Literal["near the limit", "stopped for long", "giving up"]


@dataclass(frozen=True, slots=True)
class MemoryCritical:
    """How memory stood when it became critical."""

    reason: CriticalReason
    """"near the limit": use has reached `near_limit_threshold`; "stopped for long": the level has been STOP for
    `sustained_s`; "giving up": a call ends with `MemoryPressureError`."""
    in_use_bytes: int
    """Bytes in use that count against the limit."""
    limit_bytes: int
    """The effective limit, in bytes."""
    limit_source: str
    """Where the limit comes from."""
    lasted_s: float
    """Seconds since the level became STOP, as far as this processor saw; 0 where it is not."""
    in_flight: tuple[str, ...]
    """Operations that have something in flight, also those of other processors in this process."""
    statistics: ProcessorStatistics
    """The processor's figures."""


class CriticalGauge:
    """Tells once when memory becomes critical, and is ready again once it was below both thresholds.

    Args:
        near_pct: use, in per cent of the limit, at which it is critical at once.
        clear_pct: use, in per cent of the limit, below which it is no more.
        sustained_s: seconds at the level STOP after which it is critical, too.
    """

    __slots__ = ("_clear_pct", "_near_pct", "_since_s", "_sustained_s", "told")

    def __init__(self, *, near_pct: float, clear_pct: float, sustained_s: float) -> None:
        self._near_pct = near_pct
        self._clear_pct = clear_pct
        self._sustained_s = sustained_s
        self._since_s: float | None = None
        self.told = False

    def update(self, utilization_pct: float, level: PressureLevel, now_s: float) -> CriticalReason | None:
        """Take a reading in; why memory is critical, until `told` is set, else None.

        Args:
            utilization_pct: use in per cent of the limit.
            level: how near the limit is.
            now_s: seconds of the readings' clock. One that goes back only restarts the wait.
        """
        if level < PressureLevel.STOP:
            self._since_s = None
            if utilization_pct < self._clear_pct:
                self.told = False
        elif self._since_s is None or now_s < self._since_s:
            self._since_s = now_s
        if self.told:
            return None
        if utilization_pct >= self._near_pct:
            return "near the limit"
        return "stopped for long" if self._since_s is not None and self.lasted_s(now_s) >= self._sustained_s else None

    def lasted_s(self, now_s: float) -> float:
        """Seconds since the level became STOP."""
        return 0.0 if self._since_s is None else max(0.0, now_s - self._since_s)
