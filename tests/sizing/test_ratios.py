"""Samples, bounds and regimes of one operation."""

import pytest
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


usual = st.lists(st.floats(100, 110), min_size=2, max_size=40)
large = st.floats(150, 1e9)


@given(usual, large, large)
def test_of_many_items_two_samples_far_above_the_usual_are_a_step(before, one, another):
    found = Ratios()
    assert not any(found.add_growth(each, of_many=True) for each in before)
    assert not found.add_growth(one, of_many=True)  # it may have been an accident
    assert found.add_growth(another, of_many=True)
    assert found.samples == [one, another]
    assert found.estimate >= min(one, another)


@given(usual, large, large)
def test_of_single_items_they_are_none(before, one, another):
    found = fed(before)
    assert not found.add_growth(one)
    assert not found.add_growth(another)
    assert found.samples[:-2] == before[-22:] or len(before) >= 8  # the older half may go as another regime


@given(usual, large, usual)
def test_one_sample_far_above_the_usual_is_no_step(before, one, after):
    found = Ratios()
    assert not any(found.add_growth(each, of_many=True) for each in [*before, one, *after])


@pytest.mark.parametrize(("ratio", "step"), [(1.29, False), (1.31, True), (0.5, False)])
def test_a_step_is_a_third_at_least_and_upward(ratio, step):
    found = Ratios()
    for _ in range(8):
        found.add_growth(1.0, of_many=True)
    found.add_growth(ratio, of_many=True)
    assert found.add_growth(ratio, of_many=True) == step
    assert not found.add_growth(ratio, of_many=True)  # that is the usual now


def test_what_was_measured_before_the_bounds_counts_and_not_the_estimate_they_lowered():
    """A bound that is too low (work had not allocated yet) makes no step of what was usual all along."""
    found = fed([100.0] * 8)
    for finished in range(12):
        found.add_quiet(40.0, 2.0, float(finished))
    assert found.estimate == 40
    assert not found.add_growth(100.0, of_many=True)
    assert not found.add_growth(100.0, of_many=True)


def test_little_growth_in_many_windows_replaces_what_was_smaller():
    found = fed([1.0, 1.1, 5.0])
    found.add_quiet(1.0, 10.0, 0.0)
    found.add_slow_growth(20.0, 5.0)  # of 10 in flight at most since the last growth
    assert found.samples == [5.0, 2.0]
