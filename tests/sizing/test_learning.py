"""Windows into costs and room."""

import pytest

from memflow.memory.readings import AllocatorReading, MemoryReading, MemoryWindow
from memflow.memory.state import MemoryState
from memflow.sizing.learning import Learning
from memflow.sizing.operation import Operation

MIB = 1 << 20
BASE = 100 * MIB


@pytest.fixture
def learning(monkeypatch):
    monkeypatch.setattr(MemoryState, "allocator", lambda self: AllocatorReading(0, 10 * MIB, 64 * MIB))
    return Learning(MemoryState(), debug=False)


def window(used=0, loads=None, *, time_s=0.0, others=0, limit=1000 * MIB, start=BASE):
    reading = MemoryReading(time_s, BASE, BASE + used, BASE + others, limit)
    return MemoryWindow(start, reading, loads or {}, {"plain": 5}, not loads)


def feed(learning, operations, loads, used, batches=5):
    for number in range(batches):
        found = window(used, loads, time_s=number * 0.2)
        learning._state.reading = found.reading
        learning.observe(found, operations)


def test_costs_and_room_follow_from_windows(learning):
    feed(learning, {"work": Operation("work", "batches")}, {"work": 10.0}, 10 * MIB)
    assert learning.cost("work").bytes_per_weight == MIB
    assert learning.base_bytes == BASE
    assert learning.room_bytes("work", 50) == 400 * MIB


def test_what_others_hold_in_the_group_is_no_room(learning):
    found = window(others=300 * MIB)
    learning._state.reading = found.reading
    learning.observe(found, {})
    assert learning.base_bytes == 400 * MIB
    assert learning.room_bytes("work", 50) == 100 * MIB


def test_what_another_operation_has_in_flight_is_no_room(learning):
    feed(learning, {}, {"plain": 10.0}, 10 * MIB)
    feed(learning, {}, {"other": 10.0}, 20 * MIB)
    feed(learning, {}, {"plain": 10.0, "other": 10.0}, 30 * MIB, batches=1)
    assert learning.room_bytes("plain", 50) == pytest.approx(380 * MIB, rel=0.02)
    feed(learning, {}, {"plain": 10.0}, 10 * MIB, batches=1)
    assert learning.room_bytes("plain", 50) == 400 * MIB


def test_before_the_first_reading_nothing_is_known(learning):
    assert learning.room_bytes("work", 70) is None
    assert learning.live_room_bytes(70) is None
    assert learning.in_use_bytes() == 0
    assert learning.cost("work") is None


def test_what_can_be_handed_out_again_is_asked_for_only_when_memory_is_scarce(learning):
    learning.begin()
    for time_s, others, reusable in ((0.0, 0, 0), (1.0, 700 * MIB, int(0.9 * 64 * MIB)), (2.0, 0, 0)):
        found = window(0, {"work": 1.0}, others=others, time_s=time_s, start=BASE - 64 * MIB)
        learning._state.reading = found.reading
        learning.observe(found, {})
        assert learning.reusable_bytes == reusable


def test_the_guard_is_at_most_a_fifth_of_the_limit(learning):
    for guard, kept in ((50.0 * MIB, 50 * MIB), (1e15, 200 * MIB)):
        learning._model._surprises.guard_bytes = guard
        feed(learning, {}, {"plain": 1.0}, 10 * MIB, batches=1)
        assert learning.guard_bytes == kept


@pytest.mark.parametrize(("used", "others", "cut_short"), [(810, 0, True), (790, 0, False), (10, 810, True)])
def test_the_model_is_told_what_came_in_batches_and_what_the_limit_cut_short(
    learning, monkeypatch, used, others, cut_short
):
    told = []
    monkeypatch.setattr(learning._model, "observe", lambda **kwargs: told.append(kwargs))
    operations = {"many": Operation("many", "batches"), "single": Operation("single", "items")}
    seen = window(used * MIB, {"many": 1.0, "single": 1.0, "unknown": 1.0}, others=others * MIB)
    learning._state.reading = seen.reading
    learning.observe(seen, operations)
    assert list(told[0]["batched"]) == ["many"]
    assert told[0]["cut_short"] is cut_short


def test_live_room_counts_use_and_what_is_reusable(learning):
    learning.begin()
    learning._state.reading = window(others=300 * MIB).reading
    learning.observe(window(others=300 * MIB), {})
    assert learning.live_room_bytes(50) == 100 * MIB


def test_while_somebody_keeps_alive_what_has_ended_nothing_is_learnt(learning):
    operations, pins = {"work": Operation("work", "batches")}, learning._state.pins
    feed(learning, operations, {"work": 10.0}, 10 * MIB)
    with pins.held():
        feed(learning, operations, {"work": 10.0}, 50 * MIB)
    feed(learning, operations, {"work": 10.0}, 50 * MIB, batches=1)  # its window began meanwhile
    assert learning.cost("work").bytes_per_weight == MIB
    feed(learning, operations, {"work": 10.0}, 50 * MIB)
    assert learning.cost("work").bytes_per_weight > 4 * MIB


def test_a_look_between_two_windows_is_noticed(learning):
    operations, pins = {"work": Operation("work", "batches")}, learning._state.pins
    feed(learning, operations, {"work": 10.0}, 10 * MIB)
    with pins.held():
        pass
    feed(learning, operations, {"work": 10.0}, 50 * MIB, batches=1)
    assert learning.cost("work").bytes_per_weight == MIB


def test_what_is_in_use_is_known_while_nothing_is_learnt(learning):
    learning.observe(window(), {})
    with learning._state.pins.held():
        found = window(others=300 * MIB)
        learning._state.reading = found.reading
        learning.observe(found, {})
    assert learning.base_bytes == BASE + 300 * MIB
