"""The life of issues: opened, updated, resolved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.detectors import Finding, IssueKind, Severity
from memflow.analysis.issues import IssueOpened, IssueResolved, IssueUpdated
from memflow.analysis.lives import IssueLives


def finding(severity=Severity.WARNING, kind=IssueKind.SUSPECTED_LEAK, **evidence):
    return Finding(kind, severity, evidence)


class Told:
    def __init__(self, update_interval_s=10.0):
        self.events = []
        self.lives = IssueLives(update_interval_s=update_interval_s, publish=self.events.append)

    def found(self, now_s, *, operation="embed", **kw):
        self.lives.found(finding(**kw), operation=operation, now_s=now_s, words=lambda whose: (f"of {whose}", ("do",)))


def test_a_finding_opens_an_issue_that_carries_it():
    told = Told()
    told.found(5.0, growth_mb_per_min=7.0)
    (event,) = told.events
    assert isinstance(event, IssueOpened)
    assert event.issue.id == "suspected_leak-embed-1"
    assert (event.issue.opened_at_s, event.issue.updated_at_s) == (5.0, 5.0)
    assert event.issue.evidence == {"growth_mb_per_min": 7.0}
    assert event.issue.recommendations == ("do",)
    assert str(event.issue) == "WARNING suspected_leak-embed-1: of embed"
    assert told.lives.get(IssueKind.SUSPECTED_LEAK) is event.issue


def test_updates_are_rate_limited_unless_the_severity_rises():
    told = Told(update_interval_s=10)
    told.found(0)
    told.found(9.9)
    told.found(10)
    told.found(11, severity=Severity.CRITICAL)
    told.found(12, severity=Severity.WARNING)
    assert [type(event) for event in told.events] == [IssueOpened, IssueUpdated, IssueUpdated]
    assert [event.issue.updated_at_s for event in told.events] == [0, 10, 11]
    assert {event.issue.opened_at_s for event in told.events} == {0}


def test_an_open_issue_keeps_its_id_and_operation():
    told = Told()
    told.found(0, kind=IssueKind.NEAR_LIMIT)
    told.found(20, kind=IssueKind.NEAR_LIMIT, operation="other")
    assert told.events[1].issue.id == "near_limit-embed-1"
    assert told.events[1].issue.operation == "embed"


def test_growth_that_turns_out_to_be_anothers_is_told_at_once_and_stays_one_issue():
    told = Told(update_interval_s=1_000)
    for now_s, operation in enumerate([None, "embed", "embed", None, "parse"]):
        told.found(now_s, operation=operation)
    assert [(type(event), event.issue.operation, event.issue.updated_at_s) for event in told.events] == [
        (IssueOpened, None, 0),
        (IssueUpdated, "embed", 1),
        (IssueUpdated, None, 3),
        (IssueUpdated, "parse", 4),
    ]
    assert {event.issue.id for event in told.events} == {"suspected_leak-1"}
    assert [event.issue.message for event in told.events] == ["of None", "of embed", "of None", "of parse"]
    assert len(told.lives.open_issues()) == 1


def test_resolving_tells_the_last_state_and_a_return_gets_the_next_number():
    told = Told()
    told.found(0)
    told.lives.resolve(IssueKind.SUSPECTED_LEAK, now_s=3.5, reason="it stopped")
    told.found(5)
    ended = told.events[1]
    assert isinstance(ended, IssueResolved)
    assert str(ended) == "resolved suspected_leak-embed-1 after 3.5 s: it stopped"
    assert told.events[2].issue.id == "suspected_leak-embed-2"


def test_resolving_what_is_not_open_tells_nothing():
    told = Told()
    told.lives.resolve(IssueKind.SUSPECTED_LEAK, now_s=0, reason="")
    assert told.events == []


def test_the_gravest_comes_first():
    told = Told()
    told.found(0)
    told.found(1, kind=IssueKind.NEAR_LIMIT, severity=Severity.CRITICAL)
    assert [issue.kind for issue in told.lives.open_issues()] == [IssueKind.NEAR_LIMIT, IssueKind.SUSPECTED_LEAK]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (None, "suspected_leak-1"),
        ("app.embed", "suspected_leak-app.embed-1"),
        ("with spaces/slash", "suspected_leak-with_spaces_slash-1"),
    ],
)
def test_ids_are_plain(operation, expected):
    told = Told()
    told.found(0, operation=operation)
    assert told.events[0].issue.id == expected


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(Severity)), max_size=60))
def test_events_always_tell_a_life_in_order(steps):
    told = Told(update_interval_s=3)
    for now_s, (there, severity) in enumerate(steps):
        if there:
            told.found(now_s, severity=severity)
        else:
            told.lives.resolve(IssueKind.SUSPECTED_LEAK, now_s=now_s, reason="gone")
    is_open = None
    for event in told.events:
        if isinstance(event, IssueOpened):
            assert is_open is None
            is_open = event.issue.id
        else:
            assert is_open == event.issue.id
            is_open = None if isinstance(event, IssueResolved) else is_open
    ids = [event.issue.id for event in told.events if isinstance(event, IssueOpened)]
    assert len(set(ids)) == len(ids)
