"""How near the limit is, as levels that don't flicker. Pure.

Covers watermarks with hysteresis and cooldown. What to do at a level is decided by `memflow.sizing`;
giving memory back is `memflow.memory.reclaim`.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["PressureGauge", "PressureLevel"]


class PressureLevel(IntEnum):
    """Steps of response, mildest first."""

    NORMAL = 0
    """Sizes may grow."""
    HOLD = 1
    """Nothing grows."""
    SHRINK = 2
    """Sizes shrink."""
    STOP = 3
    """Nothing is admitted but one batch at a time."""


class PressureGauge:
    """Turns utilisation into a level: rises at once, falls late.

    A level is entered when use reaches its watermark. It is left, one step at a time, when use has fallen
    `hysteresis_pct` points below that watermark and the level has lasted `cooldown_s`; at once where use has fallen as
    far below the watermark beneath: a large block was let go, and nothing flickers.

    Args:
        hold_pct: watermark of HOLD, in per cent of the limit.
        shrink_pct: watermark of SHRINK, above `hold_pct`.
        stop_pct: watermark of STOP, above `shrink_pct`.
        hysteresis_pct: points below a watermark at which its level is left.
        cooldown_s: least seconds at a level before it is left downwards.
    """

    __slots__ = ("_changed_s", "_cooldown_s", "_enter", "_hysteresis", "level")

    def __init__(
        self,
        *,
        hold_pct: float = 70,
        shrink_pct: float = 80,
        stop_pct: float = 90,
        hysteresis_pct: float = 5,
        cooldown_s: float = 0.25,
    ) -> None:
        self._enter = (0.0, hold_pct, shrink_pct, stop_pct)
        self._hysteresis = hysteresis_pct
        self._cooldown_s = cooldown_s
        self._changed_s = float("-inf")
        self.level = PressureLevel.NORMAL

    def update(self, utilization_pct: float, now_s: float) -> PressureLevel:
        """Return the level at this utilisation.

        Args:
            utilization_pct: use in per cent of the limit; may exceed 100.
            now_s: seconds of a monotonic clock. A clock that goes back only restarts the cooldown.
        """
        level = self.level
        if level < PressureLevel.STOP and utilization_pct >= self._enter[level + 1]:
            self._become(self._reached(utilization_pct), now_s)
        elif level > PressureLevel.NORMAL and utilization_pct < self._enter[level] - self._hysteresis:
            if now_s < self._changed_s:
                self._changed_s = now_s
            elif now_s - self._changed_s >= self._cooldown_s or self._has_fallen_far(utilization_pct):
                self._become(PressureLevel(level - 1), now_s)
        return self.level

    def _has_fallen_far(self, utilization_pct: float) -> bool:
        return self.level > PressureLevel.HOLD and utilization_pct < self._enter[self.level - 1] - self._hysteresis

    def _reached(self, utilization_pct: float) -> PressureLevel:
        return max(each for each in PressureLevel if utilization_pct >= self._enter[each])

    def _become(self, level: PressureLevel, now_s: float) -> None:
        self.level = level
        self._changed_s = now_s
