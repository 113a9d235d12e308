"""When memory is read again: `memflow.memory.spacing`."""

from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.spacing import Spacing

BYTES = st.integers(0, 2**40)


def test_readings_in_full_cost_a_hundredth_of_the_time() -> None:
    spacing = Spacing(0.002)
    for _ in range(200):
        spacing.has_read(10.0, 300e-6, urgent=False)
    assert spacing.next_s == 10.002
    assert spacing.glance_does(10.029)
    assert not spacing.glance_does(10.0301)


def test_one_that_trimmed_blinds_nobody() -> None:
    spacing = Spacing(0.002)
    spacing.has_read(10.0, 5.0, urgent=False)
    assert not spacing.glance_does(10.0101)


def test_at_the_last_level_and_without_an_interval_each_is_read_in_full() -> None:
    spacing, always = Spacing(0.002), Spacing(0.0)
    spacing.has_read(10.0, 300e-6, urgent=True)
    always.has_read(10.0, 300e-6, urgent=False)
    assert not spacing.glance_does(10.0)
    assert always.next_s == 10.0
    assert not always.glance_does(10.0)


def test_glances_are_spaced_by_what_they_cost() -> None:
    spacing = Spacing(0.002)
    for _ in range(200):
        spacing.has_glanced(10.0, 15e-6)
    assert round(spacing.next_s, 4) == 10.005
    spacing = Spacing(0.002)
    spacing.has_glanced(10.0, 1e-6)
    assert spacing.next_s == 10.002


@given(BYTES, BYTES, BYTES)
def test_what_would_pass_the_last_level_is_never_foreseen(in_use: int, was: int, stop: int) -> None:
    foreseen = Spacing.is_as_foreseen(in_use_bytes=in_use, was_bytes=was, stop_bytes=stop)
    if in_use > max(was, stop):
        assert not foreseen
    if in_use <= was:
        assert foreseen
