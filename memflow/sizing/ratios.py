"""Bytes per weight of one operation that runs alone. Pure.

Covers the samples and bounds of one operation; where they come from, and several operations at once, is in
`memflow.sizing.cost`, whose docstring says why it is done this way.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from memflow.sizing.fitting import percentile

__all__ = ["STEP", "Ratios"]

STEP = 1.3
"""How far above the usual two averages over many items must lie to show that items have become larger."""

_SAMPLES = 24
_RECENT = 5
_PERCENTILE = 0.8
_RUN = 5
_RUN_MARGIN = 0.03
_TURNS = 4
_FULL_LOAD = 0.9
_FAR_BELOW = 0.8


class Ratios:
    """Samples of bytes per weight from windows with growth, and bounds from windows without.

    Attributes:
        samples: the last ones, oldest first.
    """

    __slots__ = ("_bound", "_estimate", "_quiet_goal", "_quiet_load", "_quiet_ratio", "_turns", "samples")

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._bound: float | None = None
        self._estimate: float | None = None
        self._quiet_goal: float | None = None
        self._quiet_ratio = 0.0
        self._quiet_load = 0.0
        self._turns: deque[float] = deque(maxlen=_TURNS)

    @property
    def estimate(self) -> float | None:
        """Bytes per weight, None before anything was seen."""
        if self._estimate is None and self.samples:
            recent = self.samples[-_RECENT:]
            self._estimate = max(percentile(self.samples, _PERCENTILE), sum(recent) / len(recent))
        if self._estimate is None or self._bound is None:
            return self._estimate if self._estimate is not None else self._bound
        return min(self._estimate, self._bound)

    def add_growth(self, ratio: float, *, of_many: bool = False) -> bool:
        """Take a sample from a window in which memory grew; True where items have become larger, as two samples say.

        Args:
            ratio: Bytes per weight.
            of_many: It is an average over batches: two that lie far above the estimate are no accident of one item.
        """
        samples, before = self.samples, self.estimate
        step = of_many and before is not None and self._is_step(before, ratio)
        if step:
            del samples[:-1]
        samples.append(ratio)
        self._estimate = self._bound = self._quiet_goal = None
        self._quiet_load = 0.0
        self._turns.clear()
        if len(samples) > _SAMPLES:
            del samples[0]
        if len(samples) >= 2 * _RUN:
            self._forget_older_regime(samples)
        return step

    def _is_step(self, before: float, ratio: float) -> bool:
        last = self.samples[-1] if self.samples else 0.0
        usual = percentile(self.samples[:-1], 0.5) if len(self.samples) > 2 else before
        return min(last, ratio) > STEP * usual

    def add_slow_growth(self, used_bytes: float, load: float) -> None:
        """Take a sample where a little growth in each of many windows has added up.

        What was in flight in one of those windows may have been little; the most of them is what all that was for.
        Samples below are from before the growth.
        """
        ratio = used_bytes / max(load, self._quiet_load)
        self.samples[:] = [each for each in self.samples if each > ratio]
        self.add_growth(ratio)

    def _forget_older_regime(self, samples: list[float]) -> None:
        older, newer = samples[:-_RUN], samples[-_RUN:]
        middle = median(older)
        if max(newer) < (1 - _RUN_MARGIN) * middle or min(newer) > (1 + _RUN_MARGIN) * middle:
            del samples[: len(older) // 2 + 1]

    def is_below(self, predicted_bytes: float, load: float) -> bool:
        """True where windows without growth contradict a prediction for this load, which is about the largest of them.

        With less in flight, what calls take whatever their weight is most of it, and a ratio tells nothing.
        """
        if self._bound is None or load < _FULL_LOAD * self._quiet_load:
            return False
        return self._bound * load < _FAR_BELOW * predicted_bytes

    def cap(self, ratio: float) -> None:
        """Lower what was above: it held more than what was in flight."""
        self.samples[:] = [min(each, ratio) for each in self.samples]
        self._estimate = self._bound = self._quiet_goal = None
        self._turns.clear()

    def add_quiet(self, ratio: float, load: float, finished: float) -> None:
        """Take a window without growth; after a whole turn-over of these the largest ratio is a bound.

        The bound is the largest of the last four turn-overs: the least of many noisy ones would be too low.
        """
        self._quiet_load = max(self._quiet_load, load)
        if self._quiet_goal is None:
            self._quiet_goal = finished + load
            self._quiet_ratio = ratio
            return
        self._quiet_ratio = max(self._quiet_ratio, ratio)
        if finished >= self._quiet_goal:
            self._turns.append(self._quiet_ratio)
            self._bound = max(self._turns)
            self._quiet_goal = None
