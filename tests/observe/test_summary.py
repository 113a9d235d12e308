"""What is told at the end: `memflow.observe.summary`."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from memflow.analysis.detectors import Severity
from memflow.observe.summary import RunSummary, summary_data, summary_text
from memflow.processing.outcome import ProcessorStatistics, SizeChange
from tests.observe.snapshots import STATISTICS, issue, statistics


def summary(*, of: ProcessorStatistics = STATISTICS, **changes: Any) -> RunSummary:
    plain: dict[str, Any] = {"title": "t", "outcome": "done", "succeeded": 1200, "failed": 0}
    return RunSummary(statistics=of, **{**plain, **changes})


def changes(count: int) -> tuple[SizeChange, ...]:
    return tuple(SizeChange(float(each), "op", 1, each + 1) for each in range(count))


def test_a_smooth_run_takes_few_lines() -> None:
    assert summary_text(summary(output="out.jsonl")).splitlines() == [
        "done: 1,200 items, 10 s (123/s), in out.jsonl",
        "  memory   peak 384 MiB of 512 MiB (75%), limit from cgroup v2 memory.max of /app",
        "  sizes    16 in flight",
        "  issues   none",
    ]


def test_a_rough_run_is_told_whole() -> None:
    text = summary_text(
        summary(
            of=statistics(size_changes=changes(2), waits=2, waited_s=3.5, retries=4),
            outcome="interrupted",
            failed=7,
            skipped_records=1,
            named_failures=("a:1: ValueError: x", "a:2: ValueError: y"),
            issues=((issue(), True), (issue(severity=Severity.CRITICAL, recommendations=("act",)), False)),
            advice=("act", "set a limit"),
        )
    )
    assert text.splitlines() == [
        "interrupted: 1,200 items, 7 failed, 1 bad record skipped, 10 s (123/s)",
        "  memory   peak 384 MiB of 512 MiB (75%), limit from cgroup v2 memory.max of /app",
        "  sizes    1 (0.0 s) → 2 (1.0 s)",
        "  waits    2 waits for memory, 3.5 s",
        "  retries  4",
        "  failed   a:1: ValueError: x",
        "           a:2: ValueError: y",
        "           and 5 more; --failures FILE keeps every one",
        "  issues   warning (resolved): live memory has grown by 25 MB/min",
        "           critical (open): live memory has grown by 25 MB/min",
        "  advice   act",
        "           look at what embed keeps",
        "           set a limit",
    ]


def test_many_changes_of_size_are_thinned_out_with_both_ends_kept() -> None:
    line = summary_text(summary(of=statistics(size_changes=changes(200)))).splitlines()[2]
    assert line.startswith("  sizes    1 (0.0 s) → ")
    assert line.endswith("→ 200 (3:19); 200 changes in all")
    assert line.count("→") == 7


def test_batches_show_both_sizes() -> None:
    batches = (SizeChange(0.5, "op", 64, 8),)
    assert "64x8 (0.5 s)" in summary_text(summary(of=statistics(size_changes=batches)))


def test_the_failures_file_is_named() -> None:
    few = summary(failed=1, named_failures=("a",), failures_file="f.jsonl")
    assert "all are in f.jsonl" in summary_text(few)
    assert "and 8 more; all are in f.jsonl" in summary_text(
        summary(failed=9, named_failures=("a",), failures_file="f.jsonl")
    )


def test_memory_that_was_not_read_is_said() -> None:
    assert "memory   not read" in summary_text(summary(of=statistics(limit_bytes=0)))


def test_a_long_failure_is_cut_and_lines_are_wrapped_to_the_width() -> None:
    text = summary_text(summary(failed=1, named_failures=("word " * 200,)), width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert "…" in text
    assert all(line.startswith("  ") for line in text.splitlines()[1:])


def test_the_data_is_plain_and_has_everything() -> None:
    data = from_json(to_json(summary_data(summary(issues=((issue(), False),), of=statistics(size_changes=changes(3))))))
    assert data["succeeded"] == 1200
    assert data["peak_fraction"] == 0.75
    assert data["statistics"]["size_changes"][1] == {"at_s": 1.0, "operation": "op", "batch_size": 1, "concurrency": 2}
    assert data["issues"] == [
        {
            "id": "suspected_leak-embed-1",
            "kind": issue().kind.value,
            "severity": "warning",
            "operation": "embed",
            "candidates": [],
            "message": "live memory has grown by 25 MB/min",
            "evidence": {"growth_mb_per_min": 25.0},
            "recommendations": ["look at what embed keeps"],
            "resolved": False,
        }
    ]
    assert data["advice"] == ["look at what embed keeps"]
