"""What is looked for beside growth of ours: results that calls collect, memory that is kept, what others take, the end.

Covers its samples, and how many looks have agreed. What counts as such is decided in `memflow.analysis.others` and
`memflow.analysis.growth`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memflow.analysis.detectors import Finding, IssueKind, Severity, Thresholds
from memflow.analysis.growth import results_piling_up
from memflow.analysis.lows import GrowthWindow
from memflow.analysis.others import oom_forecast, retention, unmanaged_growth
from memflow.analysis.trend import History
from memflow.analysis.watch import Change
from memflow.memory.readings import MemoryReading

__all__ = ["LOOKS_IN_A_ROW", "Beside"]

LOOKS_IN_A_ROW = 3
"""Looks that must agree before something is believed, and before it counts as over."""


@dataclass(slots=True)
class _Looks:
    """How looks at one kind have agreed."""

    seen: int = 0
    missed: int = 0
    is_open: bool = False


class Beside:
    """Looks at the same samples as the detector of growth.

    Args:
        thresholds: what is worth reporting.
    """

    __slots__ = ("_kept", "_looks", "_others", "_thresholds")

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._kept = {"blocks": History(), "native_bytes": History()}
        self._others = History()
        self._looks: dict[IssueKind, _Looks] = {}

    def add(self, items: float, load: float, kept: tuple[float, float], reading: MemoryReading) -> None:
        """Add a sample: items finished, weight in flight, and the blocks and bytes of results that calls collect."""
        for history, value in zip(self._kept.values(), kept, strict=True):
            history.add(items, reading.time_s, load, value)
        self._others.add(items, reading.time_s, 0.0, max(0, reading.in_use_bytes - reading.rss_bytes))

    def kept_gains(self) -> dict[str, float]:
        """Return what the results have gained that calls collect, by signal."""
        kept = {name: history.series().values for name, history in self._kept.items() if len(history)}
        return {name: max(values) - min(values) for name, values in kept.items()}

    def look(
        self,
        window: GrowthWindow,
        reading: MemoryReading,
        *,
        free_bytes: int | None,
        growth: Change | None,
        grows: bool,
    ) -> Iterator[Change]:
        """Look for what is no growth of ours, and for how long the room lasts at the rate of what is.

        Args:
            window: What is live.
            reading: The latest.
            free_bytes: What the C library keeps; None where nobody can tell.
            growth: What this look has found of growth.
            grows: Growth is open.
        """
        others = unmanaged_growth(self._others.series(), reading, self._thresholds)
        forecast = oom_forecast(growth if isinstance(growth, Finding) else None, others, reading)
        piling = None
        if grows:  # graver, and one issue with it
            self._looks.pop(IssueKind.RESULTS_PILING_UP, None)
        else:
            kept = {name: history.series() for name, history in self._kept.items()}
            piling = results_piling_up(kept, reading.headroom_bytes, self._thresholds)
        for kind, finding in (
            (IssueKind.RESULTS_PILING_UP, piling),
            (IssueKind.RETENTION, None if grows else retention(window, free_bytes, reading, self._thresholds)),
            (IssueKind.UNMANAGED_GROWTH, others),
            (IssueKind.OOM_FORECAST, forecast),
        ):
            found = self._agree(kind, finding)
            if found is not None:
                yield found

    def _agree(self, kind: IssueKind, finding: Finding | None) -> Change | None:
        """Return a finding once enough looks agree, and its kind once as many have not found it any more."""
        looks = self._looks.setdefault(kind, _Looks())
        if finding is not None:
            looks.seen, looks.missed = looks.seen + 1, 0
            looks.is_open = looks.is_open or looks.seen >= LOOKS_IN_A_ROW or finding.severity is Severity.CRITICAL
            return finding if looks.is_open else None
        looks.seen, looks.missed = 0, looks.missed + 1
        if not looks.is_open or looks.missed < LOOKS_IN_A_ROW:
            return None
        looks.is_open = False
        return kind

    @property
    def room_bytes(self) -> int:
        """What the histories take; the same for every length of run."""
        return sum(history.room_bytes for history in (*self._kept.values(), self._others))

    def forget_samples(self) -> None:
        """Begin anew."""
        for history in (*self._kept.values(), self._others):
            history.clear()
