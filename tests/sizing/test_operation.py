"""What is remembered about one operation."""

from memflow.sizing.operation import Operation


def test_it_counts():
    operation = Operation("work", "batches")
    operation.count(10, 10.0, 3)
    operation.count(5, 5.0, 0)
    assert (operation.batches, operation.items, operation.weight, operation.calls) == (2, 15, 15.0, 1)
    assert operation.weight_per_item == 1.0


def test_hints_are_smoothed():
    operation = Operation("work", "items")
    operation.count(10, 1000.0, 1)
    assert operation.weight_per_item == 100
    operation.count(10, 2000.0, 1)
    assert operation.weight_per_item == 120


def test_times_are_kept_apart_by_calls_in_flight_and_bounded():
    operation = Operation("work", "batches")
    operation.time_at(4)
    four = operation.timing
    operation.time_at(8)
    assert operation.timing is not four
    operation.time_at(4)
    assert operation.timing is four
    for calls in range(10, 20):
        operation.time_at(calls)
    operation.time_at(4)
    assert operation.timing is not four
