"""What was tried against an issue, in numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.detectors import Finding, IssueKind, Severity
from memflow.analysis.lows import GrowthWindow
from memflow.analysis.trend import Series
from memflow.analysis.trials import TrimOutcome, resident_free_bytes, verdict, with_outcome, worth_trimming

MB = 1_000_000


def series(values):
    axis = [float(k) for k in range(len(values))]
    return Series(axis, axis, [0.0] * len(values), [float(each) for each in values])


def window(rss, live):
    return GrowthWindow({} if live is None else {"native_bytes": series(live)}, series(rss), 1e9)


def outcome(tried, given_back, **changes):
    return TrimOutcome(
        **{"tried_bytes": tried, "given_back_bytes": given_back, "took_ms": 57.0, "at_pct": 62.4} | changes
    )


def test_what_is_resident_and_not_live_and_more_than_at_the_least_lies_free():
    assert resident_free_bytes(window([300, 500, 900], [100, 200, 150]), 10_000) == 550
    assert resident_free_bytes(window([300, 500, 900], [100, 200, 150]), 400) == 400


def test_what_cannot_be_told_is_nothing():
    assert resident_free_bytes(window([300, 500], None), 10_000) == 0
    assert resident_free_bytes(window([], []), 10_000) == 0
    assert resident_free_bytes(window([300, 500], [100]), 10_000) == 0


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=60), st.integers(0, 10**12)
)
def test_it_is_never_negative_and_never_more_than_what_is_free(rows, free):
    found = resident_free_bytes(window([rss for rss, _ in rows], [live for _, live in rows]), free)
    assert 0 <= found <= free


@pytest.mark.parametrize(
    ("resident_mb", "limit_mb", "worth"),
    [(63, 512, False), (64, 512, True), (64, 2_000, False), (100, 2_000, True), (64, 0, True)],
)
def test_it_takes_bytes_and_a_share_of_the_limit(resident_mb, limit_mb, worth):
    assert worth_trimming(resident_mb * MB, limit_mb * MB) is worth


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_to_gain_is_never_worth_less(resident, more, limit):
    assert worth_trimming(resident + more, limit) or not worth_trimming(resident, limit)


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_given_back_is_never_judged_worse(tried, given_back, more):
    order = ["hardly", "partly", "helped"]
    less = verdict(outcome(tried, given_back))
    assert order.index(verdict(outcome(tried, given_back + more))) >= order.index(less)


def test_the_numbers_go_into_the_evidence():
    finding = Finding(IssueKind.RETENTION, Severity.INFO, {"freed_bytes": 5.0})
    assert with_outcome(finding, None) is finding
    assert with_outcome(finding, outcome(500, 400, trims=2)).evidence == {
        "freed_bytes": 5.0,
        "trims": 2.0,
        "trim_tried_bytes": 500.0,
        "trim_gave_back_bytes": 400.0,
        "trim_took_ms": 57.0,
        "trim_at_pct": 62.4,
    }
    assert finding.evidence == {"freed_bytes": 5.0}
