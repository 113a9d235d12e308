"""Values: frozen, hashable, readable in one line."""

import dataclasses
import pickle

import pytest

from memflow import analysis
from memflow.analysis import issues
from memflow.analysis.issues import (
    AnalysisReport,
    EventsDropped,
    IssueKind,
    IssueOpened,
    IssueResolved,
    IssueUpdated,
    MemoryIssue,
    Severity,
)

ISSUE = MemoryIssue(
    id="suspected_leak-embed-1",
    kind=IssueKind.SUSPECTED_LEAK,
    severity=Severity.WARNING,
    operation="embed",
    message="live memory has grown by 12.0 MB/min",
    evidence={"growth_mb_per_min": 12.0},
    recommendations=("look at what embed keeps",),
    opened_at_s=10.0,
    updated_at_s=12.0,
)


def test_an_issue_is_one_readable_line():
    assert str(ISSUE) == "WARNING suspected_leak-embed-1: live memory has grown by 12.0 MB/min"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (IssueOpened(ISSUE), f"opened {ISSUE}"),
        (IssueUpdated(ISSUE), f"updated {ISSUE}"),
        (IssueResolved(ISSUE, 13.5, "it stopped"), "resolved suspected_leak-embed-1 after 3.5 s: it stopped"),
        (EventsDropped(3), "3 events were dropped: this subscriber reads too slowly, or channel_size is too small"),
    ],
)
def test_events_are_one_readable_line(event, expected):
    assert str(event) == expected
    assert event.issue is (None if isinstance(event, EventsDropped) else ISSUE)


def test_values_are_frozen_hashable_and_can_be_sent_elsewhere():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ISSUE.id = "other"
    assert len({ISSUE, dataclasses.replace(ISSUE)}) == 1
    assert pickle.loads(pickle.dumps(ISSUE)) == ISSUE
    assert dataclasses.asdict(ISSUE)["evidence"] == {"growth_mb_per_min": 12.0}


def test_severities_compare():
    assert Severity.INFO < Severity.WARNING < Severity.CRITICAL


def test_a_report_lists_issues_then_advice_then_notes():
    report = AnalysisReport((ISSUE,), ("do this",), ("but note",), 100, 10.0)
    assert str(report).splitlines() == [str(ISSUE), "- do this", "- but note"]


@pytest.mark.parametrize("module", [issues, analysis])
def test_all_names_exist(module):
    assert all(hasattr(module, name) for name in module.__all__)
    assert list(module.__all__) == sorted(module.__all__)
