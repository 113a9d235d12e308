"""Statistics and snapshots with few words, for tests of what shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from memflow.analysis.detectors import IssueKind, Severity
from memflow.analysis.issues import MemoryIssue
from memflow.observe.snapshot import RunSnapshot
from memflow.processing.outcome import ProcessorStatistics

MIB = 1 << 20

STATISTICS = ProcessorStatistics(
    process_name="memflow",
    items_done=1200,
    items_failed=34,
    items_in_flight=7,
    batches_done=90,
    calls_open=1,
    batch_size=1,
    concurrency=16,
    retries=0,
    items_rerun=0,
    items_preempted=0,
    waits=0,
    waited_s=0.0,
    longest_wait_s=0.0,
    waits_alone=0,
    waits_given_up=0,
    splits=0,
    stalled="",
    stalled_s=0.0,
    reclaims=0,
    level="normal",
    rss_bytes=200 * MIB,
    in_use_bytes=256 * MIB,
    limit_bytes=512 * MIB,
    limit_source="cgroup v2 memory.max of /app",
    peak_bytes=384 * MIB,
    elapsed_s=10.0,
    items_per_s=123.4,
    size_changes=(),
    issues_open=0,
    issues_dropped=0,
)


def statistics(**changes: Any) -> ProcessorStatistics:
    """The statistics above, with changes."""
    return replace(STATISTICS, **changes)


def snapshot(*, of: ProcessorStatistics = STATISTICS, **changes: Any) -> RunSnapshot:
    """A snapshot of those statistics."""
    return RunSnapshot(title="jobs:embed   in.jsonl → out.jsonl", statistics=of, **changes)


def issue(**changes: Any) -> MemoryIssue:
    """An issue, with changes."""
    plain = MemoryIssue(
        id="suspected_leak-embed-1",
        kind=IssueKind.SUSPECTED_LEAK,
        severity=Severity.WARNING,
        operation="embed",
        message="live memory has grown by 25 MB/min",
        evidence={"growth_mb_per_min": 25.0},
        recommendations=("look at what embed keeps",),
        opened_at_s=1.0,
        updated_at_s=2.0,
    )
    return replace(plain, **changes)
