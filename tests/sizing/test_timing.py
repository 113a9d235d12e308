"""Seconds of a batch, and items a second."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.timing import RateMeter, TimeModel


def fed(sizes, seconds, *, first=True, model=None):
    model = model if model is not None else TimeModel()
    if first:
        model.add(1, 1000.0)
    for items in sizes:
        model.add(items, seconds(items))
    return model


def test_the_knee_is_where_the_fixed_cost_is_the_share_asked_for():
    model = fed([10] * 5 + [20] * 5, lambda n: 0.02 + 0.001 * n)
    assert model.line == pytest.approx((0.02, 0.001))
    assert model.knee_items(5) == pytest.approx(380)
    assert model.knee_items(10) == pytest.approx(180)


def test_the_first_timing_is_ignored_and_outliers_too():
    model = fed(([10] * 4 + [20] * 4) * 3, lambda n: 0.02 + 0.001 * n)
    for items in (10, 20):
        model.add(items, 9.0)
    assert model.line == pytest.approx((0.02, 0.001))


def test_one_size_has_no_knee_but_an_idea_of_time():
    model = fed([10] * 5, lambda n: 0.02 + 0.001 * n)
    assert (model.line, model.knee_items(5)) == (None, None)
    assert model.items_within(3.0) == pytest.approx(1000)
    assert TimeModel().items_within(3.0) is None


def test_free_items_have_no_knee_and_dear_ones_a_small_one():
    assert fed([10] * 3 + [20] * 3, lambda n: 0.1).knee_items(5) == math.inf
    assert fed([10] * 3 + [20] * 3, lambda n: 0.001 * n).knee_items(5) < 1


def test_points_are_kept_by_size_so_that_a_settled_job_keeps_its_slope():
    model = fed([10] * 5 + [20] * 5 + [380] * 500, lambda n: 0.02 + 0.001 * n)
    assert model.line == pytest.approx((0.02, 0.001))


def test_another_pace_discards_what_was_learnt():
    model = fed([10] * 5 + [20] * 5, lambda n: 0.02 + 0.001 * n)
    assert model.line is not None
    fed([20] * 5, lambda n: 5 * (0.02 + 0.001 * n), first=False, model=model)
    assert model.line is None
    fed([40] * 5, lambda n: 5 * (0.02 + 0.001 * n), first=False, model=model)
    assert model.line == pytest.approx((0.1, 0.005))


def test_with_other_calls_in_flight_the_knee_is_taken_over_until_it_is_known():
    before = fed([10] * 5 + [20] * 5, lambda n: 0.02 + 0.001 * n)
    model = TimeModel(before)
    assert model.knee_items(5) == pytest.approx(380)
    fed([10] * 5 + [20] * 5, lambda n: 0.1 + 0.001 * n, first=False, model=model)
    assert model.knee_items(5) == pytest.approx(1900)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1e3)), max_size=150))
def test_any_timings_give_a_sensible_answer(points):
    model = TimeModel()
    for items, seconds in points:
        model.add(items, seconds)
        line = model.line
        assert line is None or (line[0] >= 0 and line[1] >= 0)
    assert model.knee_items(5) is None or model.knee_items(5) > 0
    assert model.items_within(1.0) is None or model.items_within(1.0) >= 1


def test_a_meter_measures_whole_rounds_from_the_first_call_of_its_own():
    meter = RateMeter(10.0, 4)
    meter.add(1, 1, 9.0, 10.5)  # started under an older setting
    assert meter.opened_s is None
    for round_ in range(3):
        for late in range(4):  # four calls end together, one round a second
            now_s = 11.0 + round_ + late / 1000
            meter.add(1, 1, now_s - 1.0 + 0.001, now_s)
    assert meter.calls == 8
    assert meter.rate == pytest.approx(4.0)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_bursts_do_not_bias_a_meter(in_flight, seed):
    rng, meter = random.Random(seed), RateMeter(0.0, in_flight)
    for round_ in range(1, 8):
        for number in range(in_flight):
            meter.add(1, 1, float(round_ - 1), round_ + number * 1e-6)
            if meter.calls and rng.random() < 0.3:
                assert meter.rate == pytest.approx(in_flight, rel=0.01)


def test_a_meter_reopens():
    meter = RateMeter(0.0, 1)
    for now_s in (1.0, 2.0):
        meter.add(1, 5, 0.5, now_s)
    assert meter.rate == 5
    meter.reopen(2.0)
    assert meter.rate == 0
    meter.add(1, 10, 2.0, 3.0)
    assert meter.rate == 10
