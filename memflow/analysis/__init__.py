"""Floor 5: what is wrong with memory, how fast it gets worse, and who is told.

`trend` (robust statistics, bounded histories), `detectors`, `growth` and `others` (what counts as an issue), `trials`
and `relief` (what was tried against an issue, and what came of it) are pure; `issues` holds the values, `advice`,
`advice_growth` and `advice_trials` the words, `lives` opening, updating and resolving, `watch` and `growth_watch` what
is kept between two looks, `suspects` who holds what grows, `inquiry` when to ask that, `trimming` and `collecting` the
tries, `channel` the delivery, `report` what is told on request, `service` the analyzer without a processor, `assertion`
the assertion for tests, `wiring` what joins an analyzer to the rest, `analyzer` the `HeapAnalyzer` that joins them all.
Reading memory is `memflow.memory`'s.
"""

from __future__ import annotations

from memflow.analysis.analyzer import HeapAnalyzer
from memflow.analysis.issues import (
    AnalysisReport,
    EventsDropped,
    IssueEvent,
    IssueKind,
    IssueOpened,
    IssueResolved,
    IssueUpdated,
    MemoryIssue,
    MemoryStatistics,
    Severity,
    Suspect,
)

__all__ = [
    "AnalysisReport",
    "EventsDropped",
    "HeapAnalyzer",
    "IssueEvent",
    "IssueKind",
    "IssueOpened",
    "IssueResolved",
    "IssueUpdated",
    "MemoryIssue",
    "MemoryStatistics",
    "Severity",
    "Suspect",
]
