"""Decisions as sentences."""

import math

import pytest

from memflow.sizing.decisions import Decision, Reason


def test_growth_names_what_bounds_it():
    decision = Decision(
        operation="embed",
        time_s=1.0,
        what="batch_size",
        before=40,
        after=80,
        reason=Reason.GROWTH_CAP,
        memory_allows=212.4,
        knee=95.0,
    )
    assert str(decision) == (
        "embed: 40 -> 80 items a batch, since memory allows 212, the knee is 95, growth is capped at 2x"
    )


def test_a_try_tells_both_rates():
    decision = Decision(
        operation="fetch",
        time_s=1.0,
        what="concurrency",
        before=64,
        after=32,
        reason=Reason.DID_NOT_PAY,
        memory_allows=math.inf,
        rate_before=1200.0,
        rate=1180.0,
    )
    assert str(decision) == (
        "fetch: 64 -> 32 calls in flight, since it gave 1.18e+03 items/s against 1.2e+03, it did not pay"
    )


def test_items_that_cost_no_time_are_said_to():
    decision = Decision("work", 0.0, "batch_size", 10, 10, Reason.NOT_FULL, knee=math.inf)
    assert str(decision) == (
        "work: stays at 10 items a batch, since items cost no time of their own, the last batch was not half full"
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason):
    assert ", since " in str(Decision("work", 0.0, "batch_size", 1, 2, reason))
