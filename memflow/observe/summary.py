"""What is told when a run is over, for people and for programs. Pure: values in, text or plain data out.

The figures of a run that still goes are shown by `progress` and `plain`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from memflow.analysis.issues import MemoryIssue
from memflow.observe.snapshot import format_count, format_duration, format_rate
from memflow.processing.outcome import ProcessorStatistics, SizeChange
from memflow.units import format_bytes

__all__ = ["RunSummary", "summary_data", "summary_text"]

_MOST_SIZES = 8
_MOST_ISSUES = 5
_MOST_CHARACTERS = 240
_LABEL_WIDTH = 8


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run, once it is over."""

    title: str
    """What ran, in a few words."""
    statistics: ProcessorStatistics
    """The processor at the end."""
    outcome: str
    """How it ended: "done", "failed" or "interrupted"."""
    succeeded: int
    """Items whose record was made."""
    failed: int
    """Items that failed, or whose result could not be written."""
    skipped_records: int = 0
    """Bad records that were passed over."""
    output: str = ""
    """Where the records are."""
    failures_file: str = ""
    """Where failed items are listed; empty where they are counted only."""
    named_failures: tuple[str, ...] = ()
    """The first failures, a line each."""
    issues: tuple[tuple[MemoryIssue, bool], ...] = ()
    """Memory issues that there were, and whether each was resolved."""
    advice: tuple[str, ...] = ()
    """What to do next time, besides what the issues recommend."""

    @property
    def peak_fraction(self) -> float | None:
        """The largest use as a share of the limit; None when memory was not read."""
        limit_bytes = self.statistics.limit_bytes
        return self.statistics.peak_bytes / limit_bytes if limit_bytes else None


def summary_text(summary: RunSummary, *, width: int | None = None) -> str:
    """Put a summary into lines for people.

    Args:
        summary: The run.
        width: Wrap lines longer than this many characters; None for none.
    """
    statistics = summary.statistics
    head = [f"{summary.outcome}: {format_count(summary.succeeded, 'item')}"]
    if summary.failed:
        head.append(f"{summary.failed:,} failed")
    if summary.skipped_records:
        head.append(f"{format_count(summary.skipped_records, 'bad record')} skipped")
    head.append(f"{format_duration(statistics.elapsed_s)} ({format_rate(statistics.items_per_s)})")
    lines = [", ".join(head) + (f", in {summary.output}" if summary.output else "")]
    rows = [*_memory(summary), *_sizes(statistics), *_waits(statistics), *_failures(summary), *_issues(summary)]
    rows += [("advice", each) for each in _advice(summary)]
    previous = ""
    for label, words in rows:
        lines += _lay_out("" if label == previous else label, words, width)
        previous = label
    return "\n".join(lines)


def _lay_out(label: str, words: str, width: int | None) -> list[str]:
    """A row with its label in a column of its own, over as many lines as it takes."""
    first, rest = f"  {label:{_LABEL_WIDTH}} ", " " * (_LABEL_WIDTH + 3)
    if width is None:
        return [first + words]
    width = max(width, len(rest) + 20)
    return textwrap.wrap(words, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


Row = tuple[str, str]


def _memory(summary: RunSummary) -> Iterator[Row]:
    statistics, fraction = summary.statistics, summary.peak_fraction
    if fraction is None:
        yield "memory", "not read"
        return
    peak, limit = format_bytes(statistics.peak_bytes), format_bytes(statistics.limit_bytes)
    yield "memory", f"peak {peak} of {limit} ({fraction:.0%}), limit from {statistics.limit_source}"


def _sizes(statistics: ProcessorStatistics) -> Iterator[Row]:
    changes = _pick(statistics.size_changes)
    if not changes:
        batch = f"batches of {statistics.batch_size:,}, " if statistics.batch_size > 1 else ""
        yield "sizes", f"{batch}{statistics.concurrency:,} in flight"
        return
    steps = " → ".join(f"{_size(each)} ({format_duration(each.at_s)})" for each in changes)
    whole = len(statistics.size_changes)
    yield "sizes", steps + (f"; {whole} changes in all" if whole > len(changes) else "")


def _size(change: SizeChange) -> str:
    return f"{change.batch_size:,}x{change.concurrency:,}" if change.batch_size > 1 else f"{change.concurrency:,}"


def _pick(changes: tuple[SizeChange, ...]) -> list[SizeChange]:
    """At most `_MOST_SIZES` changes, evenly spread, the first and the last among them."""
    if len(changes) <= _MOST_SIZES:
        return list(changes)
    step = (len(changes) - 1) / (_MOST_SIZES - 1)
    return [changes[round(number * step)] for number in range(_MOST_SIZES)]


def _waits(statistics: ProcessorStatistics) -> Iterator[Row]:
    if statistics.waits:
        yield "waits", f"{format_count(statistics.waits, 'wait')} for memory, {format_duration(statistics.waited_s)}"
    if statistics.retries:
        yield "retries", f"{statistics.retries:,}"


def _failures(summary: RunSummary) -> Iterator[Row]:
    for each in summary.named_failures:
        yield "failed", each if len(each) <= _MOST_CHARACTERS else each[:_MOST_CHARACTERS] + "…"
    more = summary.failed - len(summary.named_failures)
    where = f"all are in {summary.failures_file}" if summary.failures_file else "--failures FILE keeps every one"
    if more > 0:
        yield "failed", f"and {more:,} more; {where}"
    elif summary.failed and summary.failures_file:
        yield "failed", where


def _issues(summary: RunSummary) -> Iterator[Row]:
    if not summary.issues:
        yield "issues", "none"
    for issue, resolved in summary.issues[:_MOST_ISSUES]:
        state = "resolved" if resolved else "open"
        yield "issues", f"{issue.severity.name.lower()} ({state}): {issue.message}"
    if len(summary.issues) > _MOST_ISSUES:
        yield "issues", f"and {len(summary.issues) - _MOST_ISSUES} more"


def _advice(summary: RunSummary) -> list[str]:
    """What to do next time, each piece once, that of open issues first."""
    issues = sorted(summary.issues, key=lambda pair: pair[1])
    pieces = [each for issue, _ in issues for each in issue.recommendations]
    return list(dict.fromkeys([*pieces, *summary.advice]))[:6]


def summary_data(summary: RunSummary) -> dict[str, Any]:
    """The summary as plain data, for `--summary-json`; sizes in bytes, durations in seconds."""
    issues = [
        {
            "id": issue.id,
            "kind": issue.kind.value,
            "severity": issue.severity.name.lower(),
            "operation": issue.operation,
            "candidates": list(issue.candidates),
            "message": issue.message,
            "evidence": dict(issue.evidence),
            "recommendations": list(issue.recommendations),
            "resolved": resolved,
        }
        for issue, resolved in summary.issues
    ]
    data = asdict(replace(summary, issues=()))
    return {**data, "peak_fraction": summary.peak_fraction, "issues": issues, "advice": _advice(summary)}
