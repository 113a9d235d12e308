"""Progress as plain lines, one every few seconds, for logs and pipes.

On a terminal, `progress` draws instead. Lines go to the stream given, standard error as a rule.
"""

from __future__ import annotations

from typing import TextIO

from memflow.observe.snapshot import RunSnapshot, format_count, format_duration, format_rate
from memflow.units import format_bytes

__all__ = ["PlainDisplay", "describe"]


class PlainDisplay:
    """Writes a line for each snapshot.

    Args:
        stream: Where to.
        interval_s: Seconds between two lines.
    """

    def __init__(self, stream: TextIO, *, interval_s: float = 5.0) -> None:
        self.interval_s = interval_s
        self._stream = stream

    def show(self, snapshot: RunSnapshot) -> None:
        """Write the snapshot as one line."""
        self._stream.write(f"memflow: {describe(snapshot)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to put right."""


def describe(snapshot: RunSnapshot) -> str:
    """One line about a snapshot."""
    parts = [_describe_items(snapshot), _describe_sizes(snapshot), _describe_memory(snapshot)]
    if snapshot.statistics.items_failed:
        parts.append(f"{snapshot.statistics.items_failed:,} failed")
    if snapshot.skipped_records:
        parts.append(f"{format_count(snapshot.skipped_records, 'record')} skipped")
    if snapshot.issues:
        parts.append("issues: " + "; ".join(issue.message for issue in snapshot.issues[:3]))
    return ", ".join(part for part in parts if part)


def _describe_items(snapshot: RunSnapshot) -> str:
    total = f" of {snapshot.total_items:,}" if snapshot.total_items is not None else ""
    fraction = snapshot.done_fraction
    share = f" ({fraction:.0%})" if fraction is not None else ""
    left = f", {format_duration(snapshot.left_s)} left" if snapshot.left_s else ""
    return f"{snapshot.finished_items:,}{total} items{share}, {format_rate(snapshot.statistics.items_per_s)}{left}"


def _describe_sizes(snapshot: RunSnapshot) -> str:
    statistics = snapshot.statistics
    batch = f"batches of {statistics.batch_size:,}, " if statistics.batch_size > 1 else ""
    return f"{batch}{statistics.items_in_flight:,} in flight of {statistics.concurrency:,}"


def _describe_memory(snapshot: RunSnapshot) -> str:
    statistics = snapshot.statistics
    if not statistics.limit_bytes:
        return ""
    return (
        f"memory {format_bytes(statistics.in_use_bytes)} of {format_bytes(statistics.limit_bytes)} "
        f"({snapshot.memory_fraction:.0%}, {statistics.level})"
    )
