"""Pauses after memory ran short."""

from memflow.sizing.backoff import Backoff


def test_each_hit_makes_the_pause_twice_as_long_up_to_a_bound():
    backoff, now_s, pauses = Backoff(), 0.0, []
    for _ in range(9):
        assert backoff.hit(now_s)
        pauses.append(backoff.pause_s)
        now_s += 1.0
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses) == 30.0


def test_what_an_earlier_hit_has_answered_is_ignored():
    backoff = Backoff()
    assert backoff.hit(10.0)
    assert not backoff.hit(10.1)  # started before the first hit
    backoff.ended(9.5)
    assert not backoff.hit(10.2)
    backoff.ended(10.05)
    assert backoff.hit(10.3)


def test_growing_waits_for_the_end_of_the_pause():
    backoff = Backoff()
    assert not backoff.holds(0.0)
    backoff.hit(0.0)
    assert backoff.holds(0.4)
    assert not backoff.holds(0.6)


def test_a_while_without_hits_is_forgiven():
    backoff = Backoff()
    for now_s in (0.0, 2.0, 4.0):
        backoff.hit(now_s)
    assert backoff.pause_s == 2.0
    backoff.hit(60.0)
    assert backoff.pause_s == 0.5
