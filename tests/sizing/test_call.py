"""When a call's sizer decides, and what it tells admission. Whole runs are in `test_simulation`."""

import pytest

from memflow.memory.pressure import PressureLevel
from memflow.sizing.call import CallSizer
from memflow.sizing.cost import MemoryCost
from memflow.sizing.decisions import Reason
from memflow.sizing.operation import Operation
from memflow.sizing.outlook import SizerLimits, bytes_per_item, memory_items, most_calls
from memflow.sizing.policy import SizeBounds


class Known:
    """An outlook that is told what it knows."""

    guard_bytes = 7
    base_bytes = 100
    reusable_bytes = 3

    def __init__(self, cost=None, room=None):
        self.known, self.room, self.now, self.in_use = cost, room, PressureLevel.NORMAL, 0
        self.notes = []

    def level(self):
        return self.now

    def in_use_bytes(self):
        return self.in_use

    def room_bytes(self, operation, target_pct):
        return None if self.room is None else self.room * target_pct / 70

    def cost(self, operation):
        return self.known

    def note(self, operation, decision):
        self.notes.append(decision)
        operation.decisions.append(decision)


def limits(least=1, most=None):
    return SizerLimits(
        bounds=SizeBounds(least, most),
        least_concurrency=1,
        most_concurrency=100,
        target_pct=70.0,
        knee_overhead_pct=5.0,
        max_batch_s=30.0,
    )


def sizer(outlook, kind="batches", *, batch_size=10, concurrency=4, auto=True, **bounds):
    operation = Operation("work", kind)
    made = CallSizer(
        outlook,
        operation,
        limits(**bounds),
        batch_size=batch_size,
        concurrency=concurrency,
        auto=auto,
        now_s=0.0,
    )
    return made, operation


def play(made, batches, *, now_s=0.0, seconds=lambda n: 0.02 + 0.001 * n, full=True, in_flight=4):
    """End batches one after another, each started when the one before ended, as on one processor."""
    for _ in range(batches):
        size = made.batch_size
        taken = seconds(size)
        now_s += taken
        made.finished(items=size, weight=float(size), seconds=taken - 1e-9, full=full, in_flight=in_flight, now_s=now_s)
    return now_s


def test_a_batch_size_grows_only_after_batches_of_that_size_were_timed():
    made, _ = sizer(Known())
    play(made, 6)
    assert made.batch_size == 10
    play(made, 2, now_s=1.0)
    assert made.batch_size == 20


def test_batches_that_are_not_full_grow_nothing():
    made, operation = sizer(Known())
    play(made, 60, full=False)
    assert made.batch_size == 10
    assert [each.reason for each in operation.decisions if each.what == "batch_size"] == [Reason.NOT_FULL]


def test_nothing_grows_near_the_limit_and_sizes_shrink_only_while_use_climbs():
    outlook = Known()
    made, _ = sizer(outlook, batch_size=100)
    outlook.now, outlook.in_use = PressureLevel.SHRINK, 900
    now_s = play(made, 1, in_flight=1)
    assert made.batch_size == 75
    play(made, 40, now_s=now_s, in_flight=1)  # kept by the allocator: no rise, no collapse
    assert made.batch_size == 75


def test_running_out_of_memory_halves_once_and_holds():
    made, _ = sizer(Known(), batch_size=64, most=64)
    made.shrink(10.0)
    made.shrink(10.1)
    assert made.batch_size == 32
    made.shrink(11.5)
    assert made.batch_size == 16


def test_at_the_smallest_batch_the_calls_are_halved():
    made, operation = sizer(Known(), batch_size=1, concurrency=8)
    made.shrink(1.0)
    assert (made.batch_size, made.concurrency) == (1, 4)
    assert operation.decisions[-1].reason is Reason.PRESSURE
    items, _ = sizer(Known(), "items", concurrency=8)
    items.shrink(1.0)
    assert items.concurrency == 4


def test_without_auto_nothing_changes_but_times_are_learnt():
    made, operation = sizer(Known(MemoryCost(1.0, 0.0, 9), 5), auto=False)
    play(made, 50)
    made.shrink(100.0)
    assert (made.batch_size, made.concurrency) == (10, 4)
    assert operation.batches == 50
    assert operation.timing.items_within(0.03) == pytest.approx(10, rel=0.01)


def test_predictions_for_admission():
    batches, _ = sizer(Known(MemoryCost(3.0, 100.0, 5)))
    items, _ = sizer(Known(MemoryCost(3.0, 100.0, 5)), "items")
    unknown, _ = sizer(Known())
    assert batches.predict_bytes(10.0) == 130  # one call
    assert items.predict_bytes(10.0) == 1030  # ten calls
    assert unknown.predict_bytes(10.0) == 0
    assert (batches.guard_bytes, batches.base_bytes, batches.reusable_bytes) == (7, 100, 3)


def test_hints_are_turned_into_items():
    outlook = Known(MemoryCost(2.0, 0.0, 5), 1000.0)
    operation = Operation("work", "batches")
    for _ in range(3):
        operation.count(10, 500.0, 1)
    assert operation.weight_per_item == 50
    assert bytes_per_item(outlook, operation) == 100
    assert memory_items(outlook, operation, limits(), calls=2) == 5
    assert most_calls(outlook, operation, limits()) == 10


def test_items_may_come_nearer_to_the_limit_than_batches():
    outlook = Known(MemoryCost(10.0, 0.0, 5), 700.0)
    assert most_calls(outlook, Operation("work", "batches"), limits()) == 70
    assert most_calls(outlook, Operation("work", "items"), limits()) == pytest.approx(85)


def test_what_is_unknown_bounds_nothing():
    operation = Operation("work", "batches")
    assert memory_items(Known(), operation, limits(), calls=2) is None
    assert most_calls(Known(), operation, limits()) == float("inf")
    assert most_calls(Known(MemoryCost(0.0, 0.0, 1), 10.0), operation, limits()) == float("inf")
    assert bytes_per_item(Known(), operation) is None


def test_memory_shrinks_at_once():
    outlook = Known(MemoryCost(1.0, 0.0, 5), 4000.0)
    made, _ = sizer(outlook, batch_size=1000)
    outlook.room = 400.0
    play(made, 1)
    assert made.batch_size == 100


def test_closing_remembers_and_is_counted():
    made, operation = sizer(Known(), batch_size=33, concurrency=5)
    assert operation.open == 1
    made.close()
    assert (operation.open, operation.batch_size, operation.concurrency) == (0, 33, 5)
