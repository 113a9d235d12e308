from __future__ import annotations

from memflow.memory.retention import Retention

MIB = 1 << 20
LIMIT = 512 * MIB


def look(free_of, *, seconds: float = 2.0, step_s: float = 0.05) -> bool:
    """What is said after looking at `free_of(time)` MiB every so often."""
    retention, now_s = Retention(), 0.0
    while now_s < seconds:
        retention.add(int(free_of(now_s) * MIB), now_s)
        now_s += step_s
    return retention.is_large(LIMIT, now_s)


def test_what_stays_free_is_kept_for_nothing():
    assert look(lambda now_s: 80)
    assert not look(lambda now_s: 20)


def test_what_is_free_between_two_rounds_of_batches_is_not():
    assert not look(lambda now_s: 400 if int(now_s / 0.05) % 2 else 5)


def test_one_second_without_use_is_enough_and_a_moment_is_not():
    assert look(lambda now_s: 0 if now_s < 0.8 else 200)
    assert not look(lambda now_s: 0 if now_s < 1.5 else 200)
    assert not look(lambda now_s: 200, seconds=0.3)


def test_a_pause_in_looking_begins_anew():
    retention = Retention()
    retention.add(200 * MIB, 0.0)
    retention.add(200 * MIB, 0.5)
    assert retention.is_large(LIMIT, 0.5)
    retention.add(200 * MIB, 60.0)
    assert not retention.is_large(LIMIT, 60.0)


def test_after_a_trim_it_knows_nothing():
    retention = Retention()
    retention.add(200 * MIB, 0.0)
    retention.add(200 * MIB, 0.9)
    retention.forget()
    assert not retention.is_large(LIMIT, 0.9)
