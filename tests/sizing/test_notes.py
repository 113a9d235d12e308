"""Choices as decisions."""

from memflow.sizing.concurrency import ConcurrencyChange
from memflow.sizing.decisions import Reason
from memflow.sizing.notes import calls_decision, size_decision
from memflow.sizing.operation import Operation
from memflow.sizing.policy import SizeView


class Ignorant:
    """An outlook that has learnt nothing."""

    def cost(self, operation):
        return None


OPERATION = Operation("work", "batches")


def test_a_size_carries_what_was_known():
    view = SizeView(40, memory_items=212.0, knee_items=95.0, time_items=3000.0)
    said = size_decision(Ignorant(), OPERATION, 40, 80, Reason.GROWTH_CAP, view, 1.5)
    assert (said.what, said.before, said.after, said.time_s) == ("batch_size", 40, 80, 1.5)
    assert (said.memory_allows, said.knee, said.time_allows, said.bytes_per_item) == (212.0, 95.0, 3000.0, None)


def test_a_size_that_was_halved_in_need_carries_nothing_else():
    said = size_decision(Ignorant(), OPERATION, 40, 20, Reason.PRESSURE, None, 1.5)
    assert (said.memory_allows, said.knee, said.reason) == (None, None, Reason.PRESSURE)


def test_calls_carry_both_rates():
    change = ConcurrencyChange(8, 16, Reason.PAID, 80.0, 160.0)
    said = calls_decision(Ignorant(), OPERATION, change, 300.0, 2.0)
    assert (said.what, said.before, said.after, said.rate_before, said.rate) == ("concurrency", 8, 16, 80.0, 160.0)
    assert said.memory_allows == 300.0
