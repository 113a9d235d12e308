"""When memory is read again: `memflow.memory.spacing`."""

from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.spacing import Spacing

BYTES = st.integers(0, 2**40)


TICK_S = 0.05


def make(interval_s: float = 0.002) -> Spacing:
    return Spacing(interval_s, TICK_S)


def read(spacing: Spacing, now_s: float, cost_s: float = 300e-6, *, times: int = 200, urgent: bool = False) -> None:
    for _ in range(times):
        spacing.has_read(now_s, cost_s, urgent=urgent)


def test_readings_in_full_cost_a_five_hundredth_of_the_time() -> None:
    spacing = make()
    read(spacing, 10.0)
    assert spacing.next_s == 10.002
    assert spacing.glance_does(10.149)
    assert not spacing.glance_does(10.1501)


def test_where_use_has_moved_they_cost_a_hundredth_at_most() -> None:
    spacing = make()
    read(spacing, 10.0)
    assert not spacing.is_due_if_moved(10.029)
    assert spacing.is_due_if_moved(10.0301)
    read(spacing, 11.0, urgent=True)
    assert spacing.is_due_if_moved(11.0)


def test_while_work_is_new_they_cost_a_hundredth_and_each_tick_reads_in_full() -> None:
    spacing = make()
    spacing.begin(9.0)
    read(spacing, 10.0)
    assert spacing.glance_does(10.029)
    assert not spacing.glance_does(10.029, tick=True)
    assert not spacing.glance_does(10.0301)
    read(spacing, 11.0)
    assert spacing.glance_does(11.149, tick=True)


def test_where_others_take_or_give_back_memory_looks_are_as_at_the_beginning() -> None:
    for others, eager in ((119, False), (121, True), (79, True), (81, False)):
        spacing = make()
        spacing.watch_others(10.0, others_bytes=others, were_bytes=100, limit_bytes=1000)
        read(spacing, 10.0)
        assert spacing.glance_does(10.149) != eager
        assert spacing.glance_does(10.029, tick=True) != eager


def test_the_fifth_tick_reads_in_full_whatever_that_costs() -> None:
    spacing = make()
    read(spacing, 10.0, 1.0)
    assert spacing.glance_does(10.249, tick=True)
    assert not spacing.glance_does(10.2501, tick=True)


def test_one_that_trimmed_blinds_nobody() -> None:
    spacing = make()
    spacing.has_read(10.0, 5.0, urgent=False)
    assert not spacing.glance_does(10.0501)


def test_at_the_last_level_and_without_an_interval_each_is_read_in_full() -> None:
    spacing, always = make(), make(0.0)
    spacing.has_read(10.0, 300e-6, urgent=True)
    always.has_read(10.0, 300e-6, urgent=False)
    assert not spacing.glance_does(10.0)
    assert not spacing.glance_does(10.0, tick=True)
    assert always.next_s == 10.0
    assert not always.glance_does(10.0)


def test_glances_are_spaced_by_what_they_cost() -> None:
    spacing = make()
    for _ in range(200):
        spacing.has_glanced(10.0, 15e-6)
    assert round(spacing.next_s, 4) == 10.005
    spacing = make()
    spacing.has_glanced(10.0, 1e-6)
    assert spacing.next_s == 10.002


def test_a_tick_right_after_a_glance_need_not_look_and_one_after_an_unsteady_glance_reads_in_full() -> None:
    spacing = make()
    read(spacing, 10.0, 1.0)
    spacing.has_glanced(10.04, 15e-6)
    assert spacing.glanced_lately(10.05)
    assert not spacing.glanced_lately(10.1)
    assert spacing.glance_does(10.1, tick=True)
    spacing.has_glanced(10.14, 15e-6, steady=False)
    assert not spacing.glanced_lately(10.15)
    assert not spacing.glance_does(10.15, tick=True)
    assert spacing.glance_does(10.15)


@given(BYTES, BYTES, BYTES)
def test_what_moved_by_more_than_three_hundredths_of_the_limit_is_not_steady(in_use: int, was: int, limit: int) -> None:
    steady = Spacing.is_steady(in_use_bytes=in_use, was_bytes=was, limit_bytes=limit)
    assert steady == Spacing.is_steady(in_use_bytes=was, was_bytes=in_use, limit_bytes=limit)
    if abs(in_use - was) > 0.031 * limit:
        assert not steady
    if abs(in_use - was) < 0.029 * limit:
        assert steady


@given(BYTES, BYTES, BYTES)
def test_what_would_pass_the_last_level_is_never_foreseen(in_use: int, was: int, stop: int) -> None:
    foreseen = Spacing.is_as_foreseen(in_use_bytes=in_use, was_bytes=was, stop_bytes=stop)
    if in_use > max(was, stop):
        assert not foreseen
    if in_use <= was:
        assert foreseen
