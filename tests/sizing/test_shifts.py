"""What is held for good, told from what items take."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.sizing.shifts import ShiftWatch

LOAD = 10.0


def watch(
    turns, *, item=lambda turn: 100.0, floor=lambda turn: 0.0, returned=1.0, noise=0.05, seed=1, held=lambda turn: None
):
    """Play turn-overs of one window each; return the shifts with their turns, and the floor that they add up to."""
    rng, found, shifts, moved = random.Random(seed), ShiftWatch(), [], 0.0
    for turn in range(turns):
        taken = LOAD * item(turn) * rng.gauss(1, noise)
        used = taken + floor(turn) - moved
        live = held(turn)
        live = None if live is None else max(0.0, live - moved)
        found.add(rise=0.0, used=0.0, load=LOAD, finished=turn * LOAD, held=live)
        shift = found.add(
            rise=returned * taken,
            used=used,
            load=LOAD,
            finished=(turn + 1) * LOAD,
            held=None if live is None else live + taken,
        )
        if shift is not None:
            shifts.append((turn, shift))
            moved += shift.floor_bytes
    return shifts, moved


@given(seed=st.integers(0, 10_000))
@settings(max_examples=100)
def test_steady_items_never_shift(seed):
    assert watch(60, seed=seed) == ([], 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_items_that_grow_never_shift(seed):
    assert watch(100, item=lambda turn: 100.0 * (1 + turn / 40), seed=seed)[0] == []


@pytest.mark.parametrize("seed", range(20))
def test_a_step_in_what_others_hold_is_seen_within_a_dozen_turns(seed):
    shifts, moved = watch(40, floor=lambda turn: 5000.0 if turn >= 20 else 0.0, seed=seed)
    assert 20 <= shifts[0][0] <= 32
    assert moved == pytest.approx(5000, rel=0.15)
    assert shifts[0][1].ratio == pytest.approx(100, rel=0.15)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_little_by_little_is_seen_again_and_again(seed):
    shifts, moved = watch(200, floor=lambda turn: 100.0 * turn, seed=seed)
    assert len(shifts) > 5
    assert 0.85 * 20_000 <= moved <= 20_000


@pytest.mark.parametrize("seed", range(20))
def test_a_floor_that_nothing_live_accounts_for_is_none(seed):
    assert watch(40, floor=lambda turn: 5000.0 * (turn >= 20), held=lambda turn: 0.0, seed=seed)[0] == []


@pytest.mark.parametrize("seed", range(20))
def test_the_floor_rises_by_no_more_than_what_is_live(seed):
    shifts, moved = watch(
        60, floor=lambda turn: 5000.0 * (turn >= 20), held=lambda turn: 3000.0 * (turn >= 20), seed=seed
    )
    assert shifts
    assert moved == pytest.approx(3000, rel=0.2)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_live_and_kept_is_seen_again_and_again(seed):
    _, moved = watch(200, floor=lambda turn: 100.0 * turn, held=lambda turn: 100.0 * turn, seed=seed)
    assert 0.8 * 20_000 <= moved <= 20_000


def test_where_memory_is_kept_nothing_can_be_told():
    assert watch(100, floor=lambda turn: 100.0 * turn, returned=0.1)[0] == []


def test_what_else_was_in_flight_begins_a_turn_anew():
    found = ShiftWatch()
    for number in range(100):
        assert found.add(rise=50.0, used=100.0 * number, load=LOAD, finished=number * LOAD / 2) is None
        found.skip()
