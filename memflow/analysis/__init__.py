"""Floor 5: what is wrong with memory, how fast it gets worse, and who is told.

`trend` (robust statistics, bounded histories), `detectors` and `growth` (what counts as an issue) are pure; `issues`
holds the values, `advice` the words, `lives` opening, updating and resolving, `watch` what is kept between two looks,
`channel` the delivery, `report` what is told on request,
`analyzer` the `HeapAnalyzer` that joins them. Reading memory is `memflow.memory`'s.
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
]
