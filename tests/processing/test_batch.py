"""Batches: `memflow.processing.batch`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.processing.batch import MISSING, Batch


def batch(size: int, weights: list[float] | None = None, *, start: int = 0) -> Batch:
    return Batch(start, list(range(start, start + size)), weights, full=True)


def test_a_batch_weighs_its_items_or_their_hints() -> None:
    assert batch(3).weight == 3
    assert batch(3, [1.0, 10.0, 100.0]).weight == 111


def test_no_result_is_none_of_the_results_there_may_be() -> None:
    assert batch(2).results == [MISSING, MISSING]
    assert MISSING not in (None, False, 0, "", [])


def test_positions_are_handed_out_once_and_no_further_than_allowed() -> None:
    of = batch(5)
    assert of.untaken == 0
    assert of.hand_out(2) == 2
    assert of.untaken == 2
    assert list(of.indices) == [0, 1]
    assert of.hand_out(99) == 3
    assert list(of.indices) == [2, 3, 4]
    assert (of.untaken, of.given) == (0, 5)
    assert of.hand_out(1) == 0


@given(st.integers(1, 50), st.lists(st.integers(1, 20), max_size=60))
def test_every_position_is_handed_out_once(size: int, most: list[int]) -> None:
    of, taken = batch(size), []
    for each in [*most, size]:
        of.hand_out(each)
        taken += list(of.indices)
    assert taken == list(range(size))


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0, 4.0, 5.0]])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_splitting_loses_nothing(weights: list[float] | None, at: int) -> None:
    first, rest = batch(5, weights, start=10).split(at)
    assert (first.start, rest.start) == (10, 10 + at)
    assert first.items + rest.items == [10, 11, 12, 13, 14]
    assert (first.size, rest.size) == (at, 5 - at)
    assert (first.left, rest.left) == (at, 5 - at)
    assert first.weight + rest.weight == (5 if weights is None else 15)
    assert (first.weights is None) == (weights is None)
