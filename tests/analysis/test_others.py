"""Verdicts on what is no growth of live memory."""

import random

import pytest

from memflow.analysis.detectors import Finding, IssueKind, Severity, Thresholds
from memflow.analysis.lows import GrowthWindow
from memflow.analysis.others import oom_forecast, retention, unmanaged_growth
from memflow.analysis.trend import Series, theil_sen, theil_sen_interval
from memflow.memory.readings import MemoryReading

MB = 1_000_000
READING = MemoryReading(100.0, 500 * MB, 500 * MB, 1000 * MB, 2000 * MB)


def series(values, *, step_s=1.0):
    count = len(values)
    return Series([10.0 * k for k in range(count)], [step_s * k for k in range(count)], [0.0] * count, values)


def noisy(rate, *, start=500.0 * MB, rows=120, noise=2.0 * MB, seed=1):
    rng = random.Random(seed)
    return [start + rate * k + rng.gauss(0, noise) for k in range(rows)]


@pytest.mark.parametrize("seed", range(10))
def test_growth_of_others_is_found_with_its_rate_and_bounds(seed):
    found = unmanaged_growth(series(noisy(2 * MB, seed=seed)), READING, Thresholds())
    assert found.kind is IssueKind.UNMANAGED_GROWTH
    assert found.evidence["growth_mb_per_min"] == pytest.approx(120, rel=0.05)
    assert 0.97 * 120 <= found.evidence["least_mb_per_min"] <= found.evidence["growth_mb_per_min"]
    assert found.evidence["growth_mb_per_min"] <= found.evidence["most_mb_per_min"] <= 1.03 * 120
    assert found.evidence["minutes_to_limit"] == pytest.approx(1000 / 120, rel=0.05)


@pytest.mark.parametrize("seed", range(10))
def test_others_that_stay_or_level_off_are_not(seed):
    assert unmanaged_growth(series(noisy(0.0, seed=seed)), READING, Thresholds()) is None
    levels = [min(each, 600 * MB) for each in noisy(2 * MB, seed=seed)]
    assert unmanaged_growth(series(levels), READING, Thresholds()) is None


def test_too_little_to_judge_by_is_none():
    assert unmanaged_growth(series(noisy(2 * MB, rows=40)), READING, Thresholds()) is None


def window(live_rate, rss_rate):
    live = series(noisy(live_rate, start=100.0 * MB, noise=10_000))
    return GrowthWindow({"native_bytes": live}, series(noisy(rss_rate)), 1000.0 * MB)


def test_rss_that_rises_without_live_memory_is_retention_as_far_as_the_heap_holds_it():
    found = retention(window(0.0, 2 * MB), 300 * MB, READING, Thresholds())
    assert (found.kind, found.severity) == (IssueKind.RETENTION, Severity.INFO)
    assert found.evidence["freed_bytes"] == 300 * MB
    assert 200 * MB <= found.evidence["resident_bytes"] <= 300 * MB  # RSS has gained 240 MB over what is live
    assert retention(window(2 * MB, 2 * MB), 300 * MB, READING, Thresholds()) is None
    assert retention(window(0.0, 0.0), 300 * MB, READING, Thresholds()) is None
    assert retention(window(0.0, 2 * MB), 65 * MB, READING, Thresholds()) is None
    assert retention(window(0.0, 2 * MB), None, READING, Thresholds()) is None


def growing(rate, **evidence):
    return Finding(IssueKind.LEAK, Severity.INFO, {"growth_mb_per_min": rate, **evidence})


def test_the_limit_is_forecast_once_it_is_minutes_away():
    assert oom_forecast(growing(99.0), None, READING) is None
    found = oom_forecast(growing(100.0, least_mb_per_min=80.0, most_mb_per_min=125.0), None, READING)
    assert (found.kind, found.severity) == (IssueKind.OOM_FORECAST, Severity.CRITICAL)
    assert found.evidence["minutes_to_limit"] == 10.0
    assert (found.evidence["earliest_minutes"], found.evidence["latest_minutes"]) == (8.0, 12.5)


def test_what_others_take_hastens_it():
    assert oom_forecast(growing(60.0), growing(40.0), READING).evidence["minutes_to_limit"] == 10.0
    assert oom_forecast(None, growing(100.0), READING) is not None
    assert oom_forecast(None, None, READING) is None
    assert oom_forecast(growing(0.0), None, READING) is None


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_of_a_slope_holds_it(seed):
    rng = random.Random(seed)
    xs = [float(k) for k in range(40)]
    ys = [3 * x + rng.gauss(0, 5) for x in xs]
    low, high = theil_sen_interval(xs, ys)
    assert low <= theil_sen(xs, ys) <= high
    assert 2 < low < high < 4
    assert theil_sen_interval([1.0, 1.0], [1.0, 2.0]) == (0.0, 0.0)
