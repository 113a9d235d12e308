"""What displays are given: `memflow.observe.snapshot`."""

from __future__ import annotations

import pytest

from memflow.analysis.issues import EventsDropped, IssueOpened, IssueResolved, IssueUpdated
from memflow.observe.snapshot import IssueBoard, format_count, format_duration, format_rate
from tests.observe.snapshots import issue, snapshot, statistics


def test_what_is_left_is_told_from_the_number_of_items() -> None:
    half = snapshot(total_items=2468)
    assert half.done_fraction == 0.5
    assert half.left_s == pytest.approx(10.0)


def test_what_is_left_is_told_from_what_was_read_where_the_number_is_unknown() -> None:
    quarter = snapshot(read_fraction=0.25)
    assert quarter.done_fraction == 0.25
    assert quarter.left_s == pytest.approx(30.0)


def test_nothing_is_told_where_nothing_is_known() -> None:
    assert snapshot().done_fraction is None
    assert snapshot().left_s is None
    assert snapshot(total_items=0, of=statistics(items_done=0, items_failed=0)).done_fraction == 1.0
    assert snapshot(read_fraction=0.5, of=statistics(items_done=0, items_failed=0)).left_s is None
    assert snapshot(read_fraction=0.5, of=statistics(elapsed_s=0.2)).left_s is None
    assert snapshot(of=statistics(limit_bytes=0)).memory_fraction == 0.0


def test_the_board_follows_an_issue_from_opening_to_resolving() -> None:
    board = IssueBoard()
    board.take(IssueOpened(issue()))
    board.take(IssueUpdated(issue(message="more")))
    board.take(EventsDropped(3))
    board.take(IssueOpened(issue(id="near-limit-1")))
    assert [each.message for each in board.open] == ["more", "live memory has grown by 25 MB/min"]
    board.take(IssueResolved(issue(message="last"), resolved_at_s=3.0, reason="it stopped"))
    assert [each.id for each in board.open] == ["near-limit-1"]
    assert [(each.message, resolved) for each, resolved in board.seen] == [
        ("last", True),
        ("live memory has grown by 25 MB/min", False),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.84, "0.8 s"), (12.4, "12 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (3723, "1:02:03")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(0, "0/s"), (0.25, "0.25/s"), (9.5, "9.5/s"), (1234.5, "1,234/s")])
def test_rates(rate: float, text: str) -> None:
    assert format_rate(rate) == text


def test_counts() -> None:
    assert (format_count(1, "item"), format_count(1234, "item")) == ("1 item", "1,234 items")
