"""What a display is given: a run at one moment, and the issues that are open in it.

Drawing it is the work of `progress` and `plain`; what is told at the end, that of `summary`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from memflow.analysis.issues import IssueEvent, IssueResolved, MemoryIssue
from memflow.processing.outcome import ProcessorStatistics

__all__ = ["Display", "IssueBoard", "RunSnapshot", "format_count", "format_duration", "format_rate"]


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one moment."""

    title: str
    """What runs, in a few words."""
    statistics: ProcessorStatistics
    """The processor at that moment."""
    total_items: int | None = None
    """How many items there are, where that is known."""
    read_fraction: float | None = None
    """How much of the input was read, from 0 to 1, where its size is known."""
    skipped_records: int = 0
    """Bad records that were passed over."""
    issues: tuple[MemoryIssue, ...] = ()
    """Memory issues open at that moment."""

    @property
    def finished_items(self) -> int:
        """Items that are done with, failed ones too."""
        return self.statistics.items_done + self.statistics.items_failed

    @property
    def done_fraction(self) -> float | None:
        """How much of the run is done, from 0 to 1, where that can be told."""
        if self.total_items is not None:
            return min(1.0, self.finished_items / self.total_items) if self.total_items else 1.0
        return self.read_fraction

    @property
    def left_s(self) -> float | None:
        """Seconds left at the rate so far, or None where that cannot be told."""
        fraction, elapsed_s = self.done_fraction, self.statistics.elapsed_s
        if not fraction or not self.finished_items or elapsed_s < 1:
            return None
        return elapsed_s * (1 - fraction) / fraction

    @property
    def memory_fraction(self) -> float:
        """Use as a share of the limit, from 0; 0 before the first reading."""
        limit_bytes = self.statistics.limit_bytes
        return self.statistics.in_use_bytes / limit_bytes if limit_bytes else 0.0


class Display(Protocol):
    """Something that shows snapshots as they come."""

    interval_s: float
    """Seconds between two snapshots that it wants."""

    def show(self, snapshot: RunSnapshot) -> None:
        """Show this one instead of the last."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was found."""
        ...


class IssueBoard:
    """Keeps what issue events said: the issues that are open, and those that were."""

    def __init__(self) -> None:
        self._open: dict[str, MemoryIssue] = {}
        self._seen: dict[str, MemoryIssue] = {}
        self._resolved: set[str] = set()

    def take(self, event: IssueEvent) -> None:
        """Take an event in; one that is about no issue changes nothing."""
        issue = event.issue
        if issue is None:
            return
        key = str(issue.id)
        self._seen[key] = issue
        if isinstance(event, IssueResolved):
            self._open.pop(key, None)
            self._resolved.add(key)
        else:
            self._open[key] = issue

    @property
    def open(self) -> tuple[MemoryIssue, ...]:
        """Issues that are open."""
        return tuple(self._open.values())

    @property
    def seen(self) -> tuple[tuple[MemoryIssue, bool], ...]:
        """Every issue that there was, and whether it was resolved."""
        return tuple((issue, key in self._resolved) for key, issue in self._seen.items())


def format_count(count: int, thing: str) -> str:
    """A number and a noun, such as "1 item" or "1,234 items"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """A duration for people, such as "0.8 s", "12 s", "3:05" or "1:02:03"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_rate(items_per_s: float) -> str:
    """A rate for people, such as "412/s" or "0.3/s"."""
    return f"{items_per_s:,.0f}/s" if items_per_s >= 10 else f"{items_per_s:.2g}/s"
