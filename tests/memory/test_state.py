"""The shared state and its history: `memflow.memory.state`."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.state import History, MemoryState


def reading(time_s: float = 0.0, *, rss: int = 100, peak: int | None = None, in_use: int = 100) -> MemoryReading:
    return MemoryReading(time_s, rss, rss if peak is None else peak, in_use, 1000)


def window(of: MemoryReading) -> MemoryWindow:
    return MemoryWindow(of.rss_bytes, of, {}, {}, True)


def take(state: MemoryState, of: MemoryReading, level: PressureLevel = PressureLevel.NORMAL) -> None:
    state.accept(window(of), level)


# ---- history ----------------------------------------------------------------------------------------------------


def test_history_keeps_what_fits_as_it_came() -> None:
    history = History(16)
    readings = [reading(float(n), rss=n) for n in range(15)]
    for each in readings:
        history.append(each)
    assert history.readings() == tuple(readings)
    assert list(history) == readings


def test_a_full_history_merges_neighbours() -> None:
    history = History(16)
    for n in range(16):
        history.append(reading(float(n), rss=10 + n % 2, peak=50 + n % 2, in_use=20 + n % 2))
    assert len(history) == 8
    first = history.readings()[0]
    assert (first.time_s, first.rss_bytes, first.peak_rss_bytes, first.in_use_bytes) == (1.0, 10, 51, 21)


def test_an_odd_history_loses_no_reading_when_merged() -> None:
    history = History(17)
    for n in range(17):
        history.append(reading(float(n), peak=200 + n))
    assert len(history) == 9
    assert history.readings()[-1].peak_rss_bytes == 216


def test_what_comes_sooner_than_the_interval_is_merged_into_the_last() -> None:
    history = History(16)
    for n in range(16):
        history.append(reading(float(n)))
    history.append(reading(16.0))
    history.append(reading(16.1, rss=40, peak=500))
    last = history.readings()[-1]
    assert (last.time_s, last.rss_bytes, last.peak_rss_bytes) == (16.0, 40, 500)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 1000), st.integers(0, 1000)), min_size=1, max_size=400),
    st.integers(16, 40),
)
def test_history_is_bounded_ordered_and_keeps_the_extremes(steps: list[tuple[float, int, int]], size: int) -> None:
    history, now_s = History(size), 0.0
    for after_s, rss, more in steps:
        now_s += after_s
        history.append(reading(now_s, rss=rss, peak=rss + more, in_use=rss))
        assert len(history) < size
    kept = history.readings()
    assert [each.time_s for each in kept] == sorted(each.time_s for each in kept)
    assert min(each.rss_bytes for each in kept) == min(rss for _, rss, _ in steps)
    assert max(each.peak_rss_bytes for each in kept) == max(rss + more for _, rss, more in steps)
    assert max(each.in_use_bytes for each in kept) == max(rss for _, rss, _ in steps)


def test_a_clock_that_stands_still_or_goes_back_fills_no_memory() -> None:
    history = History(16)
    for n in range(1000):
        history.append(reading(-float(n % 7)))
    assert len(history) < 16


# ---- state ------------------------------------------------------------------------------------------------------


def test_a_new_state_knows_nothing() -> None:
    state = MemoryState()
    assert state.reading is None
    assert state.limit is None
    assert (state.level, state.samples, state.peak_in_use_bytes) == (PressureLevel.NORMAL, 0, 0)


def test_accept_replaces_and_remembers_peaks() -> None:
    state = MemoryState()
    take(state, reading(1.0, rss=100, peak=180, in_use=300), PressureLevel.HOLD)
    take(state, reading(2.0, rss=90, peak=95, in_use=290))
    assert state.reading == reading(2.0, rss=90, peak=95, in_use=290)
    assert state.level is PressureLevel.NORMAL
    assert state.samples == 2
    assert state.peak_rss_bytes == 180
    assert state.peak_in_use_bytes == 300 + 80  # what this process had on top of its present use
    assert len(state.history) == 2


def test_listeners_get_every_window_until_they_leave() -> None:
    state, got = MemoryState(), []
    leave = state.subscribe(got.append)
    take(state, reading(1.0))
    leave()
    leave()
    take(state, reading(2.0))
    assert [each.reading.time_s for each in got] == [1.0]


def test_listeners_may_leave_while_they_are_told() -> None:
    state, got = MemoryState(), []

    def once(told: MemoryWindow) -> None:
        got.append(("once", told.reading.time_s))
        leave()

    leave = state.subscribe(once)
    state.subscribe(lambda told: got.append(("always", told.reading.time_s)))
    take(state, reading(1.0))
    take(state, reading(2.0))
    assert got == [("once", 1.0), ("always", 1.0), ("always", 2.0)]


class Listener:
    def __init__(self) -> None:
        self.got: list[float] = []

    def observe(self, told: MemoryWindow) -> None:
        self.got.append(told.reading.time_s)


def test_a_method_is_held_weakly() -> None:
    state, stays, goes = MemoryState(), Listener(), Listener()
    state.subscribe(stays.observe)
    state.subscribe(goes.observe)
    del goes
    gc.collect()
    take(state, reading(1.0))
    assert stays.got == [1.0]
    state.subscribe(lambda told: None)
    assert len(state._subscriptions) == 2  # what died was swept


@pytest.mark.parametrize("use", [0, 1000, 5000])
def test_readings_describe_themselves(use: int) -> None:
    of = reading(in_use=use)
    assert of.headroom_bytes == 1000 - use
    assert of.utilization_pct == use / 10


def test_a_limit_of_nothing_is_fully_used() -> None:
    assert MemoryReading(0.0, 1, 1, 1, 0).utilization_pct == 100


def test_the_allocator_can_be_asked() -> None:
    assert MemoryState().allocator().blocks > 0
