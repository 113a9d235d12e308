"""The small robust fits."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.fitting import fit_line, fit_quantile_plane, percentile

positive = st.floats(0.01, 1e6)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_with_that_share_below(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(each < found for each in values) <= share * len(values)


@given(a=positive, b=positive)
def test_a_line_without_noise_is_found(a, b):
    groups = {n: [a + b * n] * 3 for n in (1.0, 10.0, 100.0)}
    assert fit_line(groups) == pytest.approx((a, b), rel=1e-6, abs=1e-6)


def test_outliers_inside_groups_do_not_move_the_line():
    groups = {n: [0.02 + 0.001 * n] * 4 + [5.0] for n in (10.0, 20.0, 40.0)}
    assert fit_line(groups) == pytest.approx((0.02, 0.001))


def test_a_falling_line_has_no_slope():
    a, b = fit_line({1.0: [3.0], 10.0: [1.0]})
    assert b == 0.0
    assert a >= 0


@pytest.mark.parametrize("groups", [{}, {5.0: [1.0, 2.0]}, {5.0: [1.0], 6.0: []}])
def test_one_size_makes_no_line(groups):
    assert fit_line(groups) is None


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=2), st.integers(0, 1000))
def test_coefficients_without_noise_are_found(true, seed):
    rng = random.Random(seed)
    rows = [(rng.uniform(1, 8), rng.uniform(10, 400)) for _ in range(40)]
    targets = [true[0] * x + true[1] * y for x, y in rows]
    found = fit_quantile_plane(rows, targets, prior=[0, 0], quantile=0.5, ridge=[1e-6, 1e-6])
    predicted = [found[0] * x + found[1] * y for x, y in rows]
    assert predicted == pytest.approx(targets, rel=0.1, abs=1.0)


@given(st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=30))
def test_coefficients_are_never_negative(data):
    rows, targets = [each[:2] for each in data], [each[2] for each in data]
    assert min(fit_quantile_plane(rows, targets, prior=[1, 1], quantile=0.7, ridge=[0.02, 0.02])) >= 0


def test_what_the_rows_say_nothing_about_stays_at_the_prior():
    rows = [(1.0, 0.0)] * 5
    found = fit_quantile_plane(rows, [10.0] * 5, prior=[3, 7], quantile=0.7, ridge=[0.003, 0.003])
    assert found[0] == pytest.approx(10, rel=0.02)
    assert found[1] == pytest.approx(7)


def test_a_higher_quantile_lies_higher():
    rng = random.Random(1)
    rows = [(float(n % 10 + 1),) for n in range(200)]
    targets = [x * rng.uniform(0.5, 1.5) for (x,) in rows]
    low, high = (fit_quantile_plane(rows, targets, prior=[1], quantile=q, ridge=[0.003])[0] for q in (0.2, 0.8))
    assert low < 0.95 < 1.05 < high
