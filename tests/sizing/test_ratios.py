"""Samples, bounds and regimes of one operation."""

from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.ratios import Ratios

ratios = st.lists(st.floats(1, 1e9), min_size=1, max_size=60)


def fed(samples):
    found = Ratios()
    for each in samples:
        found.add_growth(each)
    return found


def test_nothing_seen_gives_nothing():
    assert Ratios().estimate is None


@given(ratios)
def test_the_estimate_lies_among_the_samples_that_are_kept(samples):
    found = fed(samples)
    assert min(found.samples) * 0.999 <= found.estimate <= max(found.samples) * 1.001
    assert len(found.samples) <= 24


@given(ratios, st.floats(1, 1e9))
def test_bounds_never_raise_the_estimate(samples, bound):
    found = fed(samples)
    before = found.estimate
    for finished in range(20):
        found.add_quiet(bound, 4.0, float(finished))
    assert found.estimate <= before


def test_a_bound_takes_a_whole_turn_over():
    found = fed([100.0] * 5)
    found.add_quiet(10.0, 8.0, 0.0)  # work has begun and not allocated yet
    found.add_quiet(60.0, 8.0, 4.0)
    assert found.estimate == 100
    found.add_quiet(40.0, 8.0, 8.0)
    assert found.estimate == 60


def test_growth_lifts_the_bound_and_bounds_alone_are_an_estimate():
    found = Ratios()
    for finished in (0.0, 4.0):
        found.add_quiet(50.0, 4.0, finished)
    assert found.estimate == 50
    found.add_growth(80.0)
    assert found.estimate == 80


def test_a_step_up_is_followed_within_five_samples_and_a_step_down_within_ten():
    up = fed([1.0] * 20 + [4.0] * 5)
    down = fed([4.0] * 20 + [1.0] * 10)
    assert up.estimate == 4
    assert down.estimate == 1


def test_little_growth_in_many_windows_replaces_what_was_smaller():
    found = fed([1.0, 1.1, 5.0])
    found.add_quiet(1.0, 10.0, 0.0)
    found.add_slow_growth(20.0, 5.0)  # of 10 in flight at most since the last growth
    assert found.samples == [5.0, 2.0]
