"""Robust statistics against plain references, and their bounds."""

import math
import statistics
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis import trend
from memflow.analysis.trend import (
    History,
    Series,
    correlation,
    floors,
    in_flight_part,
    is_one_step,
    mann_kendall_z,
    theil_sen,
)

values = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)
columns = st.lists(values, min_size=1, max_size=40)


try:
    from scipy import stats as peer  # not required; where it is there, it has to agree
except ImportError:
    peer = None


def reference_slope(xs, ys):
    if peer is not None and len(set(xs)) == len(set(ys)) == len(ys) > 1:  # it warns of ties
        return peer.theilslopes(ys, xs)[0]
    slopes = [(ys[j] - ys[i]) / (xs[j] - xs[i]) for i, j in combinations(range(len(xs)), 2) if xs[i] != xs[j]]
    return statistics.median(slopes) if slopes else 0.0


def reference_z(ys):
    n = len(ys)
    score = sum((b > a) - (b < a) for a, b in combinations(ys, 2))
    ties = [ys.count(y) for y in set(ys)]
    variance = n * (n - 1) * (2 * n + 5) / 18 - sum(t * (t - 1) * (2 * t + 5) for t in ties) / 18
    if score == 0 or variance <= 0:
        return 0.0
    return (score - math.copysign(1, score)) / math.sqrt(variance)


@given(st.lists(st.tuples(st.integers(0, 1000), values), min_size=1, max_size=40))
def test_slope_is_the_median_of_all_pairs(points):
    xs, ys = [float(x) for x, _ in points], [y for _, y in points]
    assert theil_sen(xs, ys) == pytest.approx(reference_slope(xs, ys), rel=1e-9, abs=1e-9)


@given(columns)
def test_trend_test_matches_its_definition(ys):
    assert mann_kendall_z(ys) == pytest.approx(reference_z(ys) if len(ys) > 2 else 0.0, rel=1e-9)


def test_values_worked_out_by_hand():
    # Slopes of the six pairs: -92, 2, 7/3, 2.5, 49.5, 97.
    assert theil_sen([0, 1, 2, 3], [1, 3, 100, 8]) == pytest.approx((7 / 3 + 2.5) / 2)
    # Nine pairs rise and one falls, of five values without ties.
    assert mann_kendall_z([1, 2, 4, 3, 5]) == pytest.approx((8 - 1) / math.sqrt(5 * 4 * 15 / 18))
    # Five pairs rise and one is tied.
    assert mann_kendall_z([1, 2, 2, 3]) == pytest.approx((5 - 1) / math.sqrt((4 * 3 * 13 - 2 * 1 * 9) / 18))


@given(st.integers(-1000, 1000), st.integers(-(10**9), 10**9), st.integers(2, 40))
def test_slope_of_a_line_is_exact(slope, start, n):
    xs = [float(x) for x in range(n)]
    assert theil_sen(xs, [start + slope * x for x in xs]) == slope


@given(columns, st.floats(min_value=1e-3, max_value=1e3))
def test_slope_scales_with_the_values_and_the_test_does_not_change(ys, factor):
    xs = [float(x) for x in range(len(ys))]
    scaled = [y * factor for y in ys]
    assert theil_sen(xs, scaled) == pytest.approx(factor * theil_sen(xs, ys), rel=1e-6, abs=1e-6)
    if len(set(scaled)) == len(set(ys)):  # rounding may tie what was apart by a hair
        assert mann_kendall_z(scaled) == mann_kendall_z(ys)


@given(columns, values)
def test_one_wild_value_moves_the_slope_no_further_than_its_neighbours_allow(ys, wild):
    xs = [float(x) for x in range(len(ys) + 20)]
    assert theil_sen(xs, [*([5.0] * 10), *[5.0] * (len(ys) + 9), wild]) == 0.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=0, max_size=20))
def test_never_nan(ys):
    xs = [float(x) for x in range(len(ys))]
    assert math.isfinite(theil_sen(xs, ys))
    assert math.isfinite(mann_kendall_z(ys))


@given(st.lists(st.tuples(values, values), min_size=1, max_size=30))
def test_correlation_is_bounded(points):
    xs, ys = [x for x, _ in points], [y for _, y in points]
    assert -1.0 <= correlation(xs, ys) <= 1.0


def test_correlation_of_lines_and_of_a_constant():
    xs = [1.0, 2.0, 3.0]
    assert correlation(xs, [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert correlation(xs, [6.0, 4.0, 2.0]) == pytest.approx(-1.0)
    assert correlation(xs, [7.0, 7.0, 7.0]) == 0.0


def test_in_flight_part_is_told_apart_from_growth():
    loads = [float(k * 37 % 11) for k in range(100)]
    items = [float(k) for k in range(100)]
    ys = [1000 + 50 * load + 7 * item for load, item in zip(loads, items, strict=True)]
    assert in_flight_part(loads, items, ys) == pytest.approx(50.0)


def test_what_rises_with_the_load_is_put_down_to_the_load():
    items = [float(k) for k in range(50)]
    assert in_flight_part([2 * k for k in items], items, [10 * k for k in items]) == pytest.approx(5.0)


@given(st.lists(st.tuples(st.floats(0, 1e6), values), min_size=1, max_size=30))
def test_work_in_flight_never_counts_as_freeing(points):
    found = in_flight_part([f for f, _ in points], [float(k) for k in range(len(points))], [y for _, y in points])
    assert found >= 0.0
    assert math.isfinite(found)


def series_of(ys):
    positions = [float(k) for k in range(len(ys))]
    return Series(items=positions, times_s=positions, in_flight=[0.0] * len(ys), values=ys)


@given(st.lists(values, min_size=0, max_size=60), st.integers(1, 6))
def test_floors_are_the_lows_of_whole_groups(ys, size):
    lows = floors(series_of(ys), size)
    spare = len(ys) % size
    assert list(lows.values) == [min(ys[k : k + size]) for k in range(spare, len(ys), size)]
    assert all(ys[int(at)] == low for at, low in zip(lows.items, lows.values, strict=True))


def test_history_keeps_everything_until_it_is_full():
    history = History(8)
    for k in range(8):
        history.add(k, k / 10, 1, 100 + k)
    series = history.series()
    assert list(series.values) == [100 + k for k in range(8)]
    assert list(series.items) == list(range(8))


def test_full_history_merges_neighbours_and_keeps_the_lower_whole_row():
    history = History(4)
    for k, value in enumerate([5, 3, 8, 9, 7, 2]):
        history.add(k, k, 10 * k, value)
    series = history.series()
    assert history.samples_per_row == 2
    assert list(series.values) == [3, 8, 2]
    assert list(series.items) == [1, 2, 5]
    assert list(series.in_flight) == [10, 20, 50]


@given(st.integers(1, 3000))
def test_history_is_bounded_ordered_and_takes_the_same_room(n):
    history = History(16)
    room = history.room_bytes
    for k in range(n):
        history.add(k, k, 0, (k * 7919) % 101)
    times_s = list(history.series().times_s)
    assert 0 < len(history) <= 16 or n < history.samples_per_row
    assert times_s == sorted(set(times_s))
    assert history.room_bytes == room
    assert history.samples_per_row <= trend.COARSEST_SAMPLES


def test_history_clears():
    history = History(4)
    for k in range(50):
        history.add(k, k, 0, k)
    history.clear()
    assert len(history) == 0
    assert history.samples_per_row == 1


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_rows_must_pair(rows):
    with pytest.raises(ValueError, match="even"):
        History(rows)


XS = [float(n) for n in range(40)]
NOISE = [Random(n).gauss(0, 0.1) for n in range(40)]


@pytest.mark.parametrize("at", [6, 20, 33, 38])
def test_a_step_to_a_new_level_is_told(at):
    assert is_one_step(XS, [(x >= at) + noise for x, noise in zip(XS, NOISE, strict=True)])
    assert is_one_step(XS, [float(x >= at) for x in XS])


@pytest.mark.parametrize("begins", [0, 10, 25, 30])
def test_what_rises_from_some_moment_on_is_no_step(begins):
    rise = [max(0.0, x - begins) / (39 - begins) for x in XS]
    assert not is_one_step(XS, rise)
    assert not is_one_step(XS, [y + noise / 2 for y, noise in zip(rise, NOISE, strict=True)])


def test_many_steps_and_a_constant_are_no_step():
    assert not is_one_step(XS, [x // 8 for x in XS])
    assert not is_one_step(XS, [5.0] * 40)
