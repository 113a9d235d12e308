"""What subscribers and callers receive: issues, their events, reports and statistics. Frozen values only.

Finding issues is the work of `memflow.analysis.detectors` and `memflow.analysis.growth`, wording them that of
`memflow.analysis.advice`, delivering them that of `memflow.analysis.channel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from memflow.analysis.detectors import IssueKind, Severity
from memflow.analysis.suspect import Suspect
from memflow.units import format_bytes

__all__ = [
    "AnalysisReport",
    "EventsDropped",
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


@dataclass(frozen=True, slots=True)
class MemoryIssue:
    """One thing that is wrong with memory, as it was last seen."""

    id: str
    """Stays the same from opening to resolving, such as "suspected_leak-embed-1"; a return gets the next number."""
    kind: IssueKind
    """What is wrong."""
    severity: Severity
    """How soon somebody should look."""
    operation: str | None
    """Whose it is; None where several operations ran and it cannot be told apart, or none ran."""
    message: str
    """One sentence, with numbers."""
    evidence: Mapping[str, float] = field(hash=False)
    """The numbers it rests on; each name says its unit."""
    recommendations: tuple[str, ...]
    """What to do, with numbers."""
    opened_at_s: float
    """When it was opened, in seconds of the readings' monotonic clock."""
    updated_at_s: float
    """When it was last told, in seconds of the same clock."""
    suspects: tuple[Suspect, ...] = ()
    """Who seems to hold what grows, the gravest first; empty where nobody was found, or nobody has looked yet."""
    candidates: tuple[str, ...] = ()
    """Operations of which any may be the cause of growth, the likeliest first; empty where one is named."""

    def __str__(self) -> str:
        return f"{self.severity.name} {self.id}: {self.message}"


@dataclass(frozen=True, slots=True)
class IssueOpened:
    """An issue is new, or was open already when the subscriber came."""

    issue: MemoryIssue
    """The issue."""

    def __str__(self) -> str:
        return f"opened {self.issue}"


@dataclass(frozen=True, slots=True)
class IssueUpdated:
    """An open issue has new numbers: at most once in `update_interval_s`.

    Or at once when its severity rose, its verdict changed, or it became known, or doubtful, whose it is.
    """

    issue: MemoryIssue
    """The issue with its present numbers."""

    def __str__(self) -> str:
        return f"updated {self.issue}"


@dataclass(frozen=True, slots=True)
class IssueResolved:
    """An issue is over."""

    issue: MemoryIssue
    """The issue as it was last seen."""
    resolved_at_s: float
    """When it ended, in seconds of the readings' monotonic clock."""
    reason: str
    """Why it counts as over, with numbers."""

    def __str__(self) -> str:
        return f"resolved {self.issue.id} after {self.resolved_at_s - self.issue.opened_at_s:.1f} s: {self.reason}"


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """The subscriber was too slow: this many events, older than the next one, are lost."""

    count: int
    """Events lost since the last one that was delivered."""
    issue: None = None
    """Always None: a loss belongs to no issue. Later events carry each issue whole."""

    def __str__(self) -> str:
        return f"{self.count} events were dropped: this subscriber reads too slowly, or channel_size is too small"


IssueEvent = IssueOpened | IssueUpdated | IssueResolved | EventsDropped
"""What a subscriber receives."""


@dataclass(frozen=True, slots=True)
class AnalysisReport:
    """What is known about memory issues at one moment."""

    issues: tuple[MemoryIssue, ...]
    """Open issues, and what is wrong at this moment though not for long enough to be opened (id ends with "-now")."""
    recommendations: tuple[str, ...]
    """What to do, with numbers; those of the issues first, each once."""
    notes: tuple[str, ...]
    """What limits this judgement, such as too short a history."""
    history_samples: int
    """Samples that growth was judged from."""
    history_span_s: float
    """Seconds that those samples span."""

    def __str__(self) -> str:
        found = [str(issue) for issue in self.issues] or ["no memory issue"]
        return "\n".join([*found, *(f"- {each}" for each in (*self.recommendations, *self.notes))])


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """Memory, the allocators and the garbage collector at one moment."""

    limit_bytes: int
    """The effective limit."""
    limit_source: str
    """Where it came from, in words."""
    available_bytes: int
    """Limit less use; negative when the limit was lowered below what is in use."""
    in_use_bytes: int
    """What counts against the limit (the working set of the group, for a cgroup)."""
    utilization_pct: float
    """Use in per cent of the limit; may exceed 100."""
    rss_bytes: int
    """Resident pages of this process."""
    peak_rss_bytes: int
    """The largest RSS that was seen."""
    allocator_blocks: int
    """Blocks that CPython's allocator holds in use."""
    native_live_bytes: int | None
    """Bytes in use in the C library's heap; None where it cannot tell."""
    native_free_bytes: int | None
    """Bytes freed by the program and still held by the C library; None where it cannot tell."""
    gc_counts: tuple[int, int, int]
    """Allocations and younger collections since each generation was last collected."""
    gc_collections: int
    """Collections of all generations since the process began."""
    gc_uncollectable: int
    """Objects that the collector found and could not free."""
    gc_enabled: bool
    """True when the collector runs by itself."""

    def __str__(self) -> str:
        used, limit = format_bytes(self.in_use_bytes), format_bytes(self.limit_bytes)
        return (
            f"{used} of {limit} in use ({self.utilization_pct:.0f} %, {self.limit_source}), "
            f"RSS {format_bytes(self.rss_bytes)}, peak {format_bytes(self.peak_rss_bytes)}"
        )
