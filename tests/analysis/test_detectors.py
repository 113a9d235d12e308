"""Detectors of use: bounds, monotonicity, hysteresis."""

import math

from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.detectors import IssueKind, Severity, Thresholds, UseWindow, high_utilization, near_limit

LIMIT = 1_000_000
THRESHOLDS = Thresholds()
uses = st.integers(0, 2 * LIMIT)


def window(in_use, high_for_s=10.0, limit=LIMIT):
    return UseWindow(now_s=100.0, high_since_s=100.0 - high_for_s, in_use_bytes=in_use, limit_bytes=limit)


def test_near_limit_is_immediate_and_critical():
    found = near_limit(window(950_000, high_for_s=0.0), THRESHOLDS)
    assert found is not None
    assert (found.kind, found.severity) == (IssueKind.NEAR_LIMIT, Severity.CRITICAL)
    assert found.evidence["utilization_pct"] == 95.0
    assert near_limit(window(949_999), THRESHOLDS) is None


def test_high_use_must_last():
    assert high_utilization(window(900_000, high_for_s=0.99), THRESHOLDS) is None
    found = high_utilization(window(900_000, high_for_s=1.0), THRESHOLDS)
    assert found is not None
    assert (found.kind, found.severity) == (IssueKind.HIGH_UTILIZATION, Severity.WARNING)
    assert found.evidence["high_for_s"] == 1.0


def test_high_use_that_was_never_seen_is_not_found():
    assert high_utilization(UseWindow(5.0, None, 900_000, LIMIT), THRESHOLDS) is None


def test_an_open_issue_stays_until_use_is_clear_of_the_threshold():
    for detect, threshold in ((high_utilization, 85), (near_limit, 95)):
        below = window(LIMIT * (threshold - 1) // 100, high_for_s=0)
        assert detect(below, THRESHOLDS) is None
        assert detect(below, THRESHOLDS, is_open=True) is not None
        clear = window(LIMIT * (threshold - 5) // 100 - 1)
        assert detect(clear, THRESHOLDS, is_open=True) is None


def test_a_limit_of_zero_is_a_limit():
    assert near_limit(window(1, limit=0), THRESHOLDS) is not None


@given(uses, uses, st.booleans())
def test_more_use_never_ends_a_finding(first, second, is_open):
    low, high = sorted((first, second))
    for detect in (near_limit, high_utilization):
        if detect(window(low), THRESHOLDS, is_open=is_open) is not None:
            assert detect(window(high), THRESHOLDS, is_open=is_open) is not None


@given(uses, st.floats(0, 100))
def test_an_open_issue_is_never_harder_to_keep_than_to_open(in_use, high_for_s):
    for detect in (near_limit, high_utilization):
        seen = window(in_use, high_for_s)
        if detect(seen, THRESHOLDS) is not None:
            assert detect(seen, THRESHOLDS, is_open=True) is not None


@given(st.lists(st.integers(0, 999), min_size=2, max_size=50))
def test_no_flapping_within_the_hysteresis(jitter):
    """Use that stays within one band of the threshold opens once and never ends."""
    is_open, changes = False, 0
    for each in jitter:
        in_use = LIMIT * 85 // 100 - 25_000 + each * 50  # 82.5 to 87.5 %
        found = high_utilization(window(in_use), THRESHOLDS, is_open=is_open) is not None
        changes += found != is_open
        is_open = found
    assert changes <= 1


@given(uses, st.integers(0, 2 * LIMIT), st.floats(0, 1e6), st.booleans())
def test_evidence_is_finite(in_use, limit, high_for_s, is_open):
    for detect in (near_limit, high_utilization):
        found = detect(window(in_use, high_for_s, limit), THRESHOLDS, is_open=is_open)
        if found is not None:
            assert all(math.isfinite(each) for each in found.evidence.values())
