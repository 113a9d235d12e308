"""The next size: bounds, growth, dead band, what shrinks and what does not."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.decisions import Reason
from memflow.sizing.policy import SizeBounds, SizeView, items_that_fit, next_batch_size

amounts = st.one_of(st.none(), st.floats(0, 1e9), st.just(math.inf))
views = st.builds(
    SizeView,
    current=st.integers(1, 10**6),
    memory_items=amounts,
    knee_items=amounts,
    time_items=amounts,
    full=st.booleans(),
    hold=st.sampled_from([None, Reason.PRESSURE, Reason.PROBE, Reason.STEADY]),
    climbing=st.booleans(),
)
limits = st.tuples(st.integers(1, 50), st.one_of(st.none(), st.integers(50, 10**6))).map(lambda each: SizeBounds(*each))


def view(current, **changes):
    return SizeView(**{"current": current, "memory_items": None, "knee_items": None, "time_items": None, **changes})


def chosen(current, *, bounds=None, **changes):
    choice = next_batch_size(view(current, **changes), bounds or SizeBounds())
    return choice.items, choice.reason


@given(views, limits)
def test_bounds_are_never_crossed_and_growth_is_at_most_twice(seen, bounds):
    items = next_batch_size(seen, bounds).items
    assert items >= bounds.least
    if bounds.most is not None:
        assert items <= max(bounds.most, bounds.least)
    assert items <= max(2 * seen.current, bounds.least)


@given(views, limits)
def test_only_full_batches_grow_and_nothing_grows_on_hold(seen, bounds):
    if seen.hold is not None or not seen.full:
        assert next_batch_size(seen, bounds).items <= max(seen.current, bounds.least)


@given(views, limits)
def test_memory_is_never_exceeded_by_growing(seen, bounds):
    items = next_batch_size(seen, bounds).items
    if items > max(seen.current, bounds.least) and seen.memory_items is not None:
        assert items <= seen.memory_items


@given(views)
def test_what_was_chosen_is_chosen_again(seen):
    """No flapping: the same view of the world never leads back."""
    bounds, sizes = SizeBounds(1, 10**9), [seen.current]
    for _ in range(40):
        now = SizeView(sizes[-1], seen.memory_items, seen.knee_items, seen.time_items, seen.full, seen.hold)
        sizes.append(next_batch_size(now, bounds).items)
    grown = [b > a for a, b in itertools.pairwise(sizes) if a != b]
    assert len(set(grown)) <= 1
    assert sizes[-1] == sizes[-2]


@pytest.mark.parametrize(
    ("current", "known", "items", "reason"),
    [
        (40, {"memory_items": 212, "knee_items": 95}, 80, Reason.GROWTH_CAP),
        (80, {"memory_items": 212, "knee_items": 95.9}, 95, Reason.KNEE),
        (80, {"memory_items": 90.0, "knee_items": 1000}, 90, Reason.MEMORY),
        (80, {"memory_items": 85.0}, 80, Reason.MEMORY),  # less than a tenth
        (80, {"memory_items": 76.0}, 80, Reason.STEADY),
        (80, {"memory_items": 72.0}, 80, Reason.STEADY),  # a tenth
        (80, {"memory_items": 71.9}, 71, Reason.MEMORY),
        (10, {"memory_items": 9.0}, 10, Reason.STEADY),
        (80, {"memory_items": 40.0}, 40, Reason.MEMORY),
        (80, {"memory_items": 0.0}, 1, Reason.MEMORY),
        (80, {"knee_items": 10}, 80, Reason.KNEE),  # too large costs nothing
        (80, {"time_items": 60}, 80, Reason.TIME),
        (80, {"time_items": 20}, 20, Reason.TIME),
        (80, {"full": False}, 80, Reason.NOT_FULL),
        (80, {"hold": Reason.PRESSURE}, 80, Reason.PRESSURE),
        (80, {"climbing": True}, 60, Reason.PRESSURE),
        (5, {"knee_items": math.inf}, 10, Reason.GROWTH_CAP),
    ],
)
def test_choices(current, known, items, reason):
    assert chosen(current, **known) == (items, reason)


def test_settings_bound_both_ways():
    assert chosen(80, bounds=SizeBounds(1, 100)) == (100, Reason.BOUND)
    assert chosen(80, bounds=SizeBounds(1, 50)) == (50, Reason.BOUND)
    assert chosen(80, bounds=SizeBounds(20), memory_items=3.0) == (20, Reason.MEMORY)


@pytest.mark.parametrize(
    ("room", "calls", "item", "call", "items"),
    [(100, 1, 10, 0, 10), (100, 2, 10, 0, 5), (100, 2, 10, 20, 3), (-5, 1, 10, 0, 0), (100, 1, 0, 0, math.inf)],
)
def test_items_that_fit(room, calls, item, call, items):
    assert items_that_fit(room_bytes=room, calls=calls, bytes_per_item=item, bytes_per_call=call) == items
