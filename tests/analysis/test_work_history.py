"""What operations have finished, kept in fixed room: nothing is lost, whatever their number and names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.analysis.trend import HISTORY_ROWS
from memflow.analysis.work_history import APART, WorkHistory


def kept(samples, loads=lambda k: {}):
    """A history with a sample a second."""
    history = WorkHistory()
    for k, items_done in enumerate(samples):
        history.add(float(k), dict(items_done), loads(k))
    return history


def test_each_operation_has_what_it_finished_at_any_moment():
    history = kept([{"a": 2 * k, "b": 10} for k in range(10)])
    (a,) = history.at([1.0, 2.5, 9.0, 99.0])
    assert (a.operation, a.items, list(a.amounts)) == ("a", 16.0, [2.0, 5.0, 18.0, 18.0])


def test_nothing_is_known_of_no_sample():
    assert WorkHistory().at([0.0, 1.0]) == []
    history = kept([{"a": k} for k in range(5)])
    history.clear()
    assert history.at([0.0, 5.0]) == []


def test_an_operation_that_only_was_in_flight_counts_by_its_seconds():
    history = kept([{"a": k} for k in range(10)], lambda k: {"a": 1.0} | ({"slow": 5.0} if 3 < k <= 6 else {}))
    a, slow = history.at([0.0, 4.0, 9.0])
    assert (a.operation, a.items) == ("a", 9.0)
    assert (slow.operation, slow.items, list(slow.amounts)) == ("slow", 0.0, [0.0, 1.0, 3.0])


def test_one_that_did_nothing_in_the_span_is_left_out():
    history = kept([{"a": k, "before": min(k, 5)} for k in range(20)])
    assert [each.operation for each in history.at([6.0, 19.0])] == ["a"]
    assert [each.operation for each in history.at([4.0, 19.0])] == ["a", "before"]


def test_the_busiest_are_kept_apart_and_the_rest_counts_together():
    names = [f"o{n}" for n in range(APART + 4)]
    history = kept([{name: k * (1 + n) for n, name in enumerate(names)} for k in range(1, 200)])
    found = {each.operation: each.items for each in history.at([150.0, 198.0])}
    assert set(found) == {*names[4:], None}
    assert found["o9"] == 48 * 10
    assert found[None] == 48 * (1 + 2 + 3 + 4)


def test_one_that_becomes_busy_later_takes_a_place():
    before = {f"o{n}": 0 for n in range(APART)}
    samples = []
    for k in range(400):
        before = {name: done + 2 for name, done in before.items()}
        samples.append(before | {"late": 50 * max(0, k - 100)})
    history = kept(samples)
    found = {each.operation: each for each in history.at([300.0, 399.0])}
    assert found["late"].items == 99 * 50
    assert found[None].items == pytest.approx(99 * 2)  # the one that made room


def test_time_between_merged_rows_goes_on_evenly():
    history = kept([{"a": 3 * k} for k in range(50 * HISTORY_ROWS)])
    (a,) = history.at([5_000.5, 11_000.25, 11_999.0])
    assert list(a.amounts) == pytest.approx([15_001.5, 33_000.75, 35_997.0])


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=12), min_size=2, max_size=600),
    st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_items_add_up_whoever_is_kept_apart_and_room_is_fixed(gains, repeats):
    """From the first sample to the last, all operations together finished what they finished."""
    samples, done = [], {}
    for gained in gains * repeats:
        done = {**done, **{name: done.get(name, 0) + items for name, items in gained.items()}}
        samples.append(done)
    history = kept(samples)
    assert history.room_bytes == WorkHistory().room_bytes
    works = history.at([0.0, float(len(samples))])
    first = 0.0 if len(samples) > HISTORY_ROWS else sum(samples[0].values())
    expected = sum(samples[-1].values())
    assert sum(each.items for each in works) <= expected
    if len(samples) <= HISTORY_ROWS:
        assert sum(each.items for each in works) == pytest.approx(expected - first)
    for each in works:
        assert list(each.amounts) == sorted(each.amounts)
