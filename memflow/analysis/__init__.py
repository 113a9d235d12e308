"""Floor 5: what is wrong with memory, how fast it gets worse, and who is told.

`trend` (robust statistics, bounded histories), `detectors`, `growth` and `others` (what counts as an issue), `trials`
and `relief` (what was tried against one, and what came of it) and `blocked` (how event loops answer) are pure;
`issues` holds the values, `advice` and its siblings the words, `lives` opening, updating and resolving, `watch` and
`growth_watch` what is kept between two looks, `suspects` who holds what grows, `inquiry` when to ask that, `trimming`
and `collecting` the tries, `tried` which issue they belong to, `service` the thread that asks event loops and reads
memory for services, `loop_issues` what comes of that, `channel` the delivery, `report` what is told on request,
`assertion` the assertion for tests, `wiring` what joins an analyzer to the rest, `analyzer` the `HeapAnalyzer` that
joins them all. Reading memory is `memflow.memory`'s.
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
