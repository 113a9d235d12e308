"""When a call's sizer decides, and what it tells admission. Whole runs are in `test_simulation`."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.pressure import PressureLevel
from memflow.sizing.call import CallSizer
from memflow.sizing.cost import MemoryCost
from memflow.sizing.decisions import Reason
from memflow.sizing.operation import Operation
from memflow.sizing.outlook import SizerLimits, bytes_per_item, memory_items, most_calls
from memflow.sizing.policy import SizeBounds
from memflow.sizing.saturation import LoopTime


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


def sizer(outlook, kind="batches", *, batch_size=10, concurrency=4, auto=True, climbed=True, **bounds):
    """A call; with `climbed`, one of an operation whose first climb of calls in flight is over."""
    operation = Operation("work", kind)
    operation.concurrency = concurrency if climbed else None
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


class ItemByItem(CallSizer):
    """One that tells its search of each item as it ends."""

    def _count_on(self):
        self._tally = self._uncounted = 0


def served(kind, slots, hold_s, steps):
    """Run items that take turns at so many slots; sizes after each, under one of the two sizers."""
    operation = Operation("work", "items")
    made = kind(Known(), operation, limits(), batch_size=1, concurrency=4, auto=True, now_s=0.0)
    begun, free_s, seen = [], [0.0] * slots, []
    now_s = 0.0
    for step in range(steps):
        while len(begun) < made.concurrency:
            slot = min(range(slots), key=free_s.__getitem__)
            free_s[slot] = max(now_s, free_s[slot]) + hold_s
            begun.append((free_s[slot], now_s))
        begun.sort()
        now_s, began_s = begun.pop(0)
        made.finished(items=1, weight=1.0, seconds=now_s - began_s, full=True, in_flight=len(begun) + 1, now_s=now_s)
        if step % 97 == 96:
            made.held_back(now_s)
        seen.append(made.concurrency)
    return seen, (operation.items, operation.batches, operation.weight)


@given(slots=st.integers(1, 40), hold_s=st.sampled_from([0.0013, 0.011, 0.1, 1.0]))
def test_items_told_of_together_lead_where_they_lead_one_by_one(slots, hold_s):
    """Whether a round has ended shows with its last item either way: the search goes the same way in the end."""
    together, alone = (served(kind, slots, hold_s, 1500) for kind in (CallSizer, ItemByItem))
    assert together[1] == alone[1] == (1500, 1500, 1500.0)
    assert 0.5 <= together[0][-1] / alone[0][-1] <= 2.0


def rounds(made, count, *, now_s=0.0, seconds=0.1, rate=None):
    """End all the calls in flight together, so many times: calls that only wait, or do `rate` batches a second."""
    for _ in range(count):
        calls, size, began_s = made.concurrency, made.batch_size if made._batches else 1, now_s
        now_s += seconds if rate is None else calls / rate(calls)
        for _ in range(calls):
            made.finished(
                items=size,
                weight=float(size),
                seconds=now_s - began_s - 1e-9,
                full=True,
                in_flight=calls,
                now_s=now_s,
            )
    return now_s


def test_calls_in_flight_come_first_and_the_batch_stays_until_their_climb_is_over():
    made, operation = sizer(Known(), climbed=False)
    now_s = rounds(made, 1, rate=lambda calls: 40.0)  # as on one processor
    assert (made.batch_size, made.concurrency) == (10, 8)
    now_s = rounds(made, 1, now_s=now_s, rate=lambda calls: 40.0)  # another round for the doubtful one
    assert (made.batch_size, made.concurrency) == (10, 8)
    now_s = rounds(made, 1, now_s=now_s, rate=lambda calls: 40.0)
    assert made.batch_size == 10
    assert made.concurrency in (4, 5)  # 4 would do as much; their number is rounded up
    play(made, 12, now_s=now_s)
    first, second, third, *_ = operation.decisions
    assert (first.what, second.what) == ("concurrency", "concurrency")
    assert (third.what, third.before, third.after) == ("batch_size", 10, 20)


@pytest.mark.parametrize(("kind", "reached"), [("batches", [8, 32, 100]), ("items", [16, 64, 100])])
def test_the_first_step_of_the_climb_is_smaller_for_calls_of_many_items(kind, reached):
    made, _ = sizer(Known(), kind, climbed=False)
    seen, now_s = [], 0.0
    for _ in range(3):
        now_s = rounds(made, 1, now_s=now_s)
        seen.append(made.concurrency)
    assert seen == reached


def test_an_operation_that_was_still_climbing_climbs_on_and_one_that_had_ended_does_not():
    for climbing, reached in ((True, 8), (False, 4)):
        operation = Operation("work", "batches")
        operation.concurrency, operation.climbing = 4, climbing
        made = CallSizer(Known(), operation, limits(), batch_size=10, concurrency=4, auto=True, now_s=0.0)
        rounds(made, 1)
        assert made.concurrency == reached


def test_the_climb_has_no_more_calls_of_the_present_size_than_memory_allows():
    outlook = Known(MemoryCost(1.0, 0.0, 5), 700.0)  # with many calls, 840 of the 1000
    made, _ = sizer(outlook, batch_size=70, climbed=False)
    now_s, seen = 0.0, set()
    for _ in range(6):
        now_s = rounds(made, 1, now_s=now_s)
        seen.add((made.batch_size, made.concurrency))
        if not made._search.ramping:
            break
    assert max(calls for _, calls in seen) == 12
    assert {size for size, _ in seen} == {70}


def test_memory_shrinks_the_batch_even_during_the_climb():
    outlook = Known(MemoryCost(1.0, 0.0, 5), 4000.0)
    made, _ = sizer(outlook, batch_size=100, climbed=False)
    outlook.room = 70.0
    play(made, 1)
    assert made.batch_size == 19  # 76 for 4 calls


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
    assert memory_items(outlook, operation, limits(), calls=1) == 10
    assert memory_items(outlook, operation, limits(), calls=2) == pytest.approx(5 * 72 / 70)
    assert most_calls(outlook, operation, limits()) == pytest.approx(10 * 84 / 70)
    assert most_calls(outlook, operation, limits(), items=4) == pytest.approx(2.5 * 84 / 70)


@pytest.mark.parametrize(("calls", "filled"), [(1, 700), (2, 720), (4, 760), (8, 840), (100, 840)])
def test_many_calls_may_come_nearer_to_the_limit_than_few(calls, filled):
    outlook = Known(MemoryCost(10.0, 0.0, 5), 700.0)
    for kind in ("batches", "items"):
        operation = Operation("work", kind)
        assert 10 * calls * memory_items(outlook, operation, limits(), calls=calls) == pytest.approx(filled)
        assert most_calls(outlook, operation, limits()) == pytest.approx(84)
    assert most_calls(outlook, Operation("work", "batches"), limits(least=5)) == pytest.approx(84 / 5)
    assert most_calls(outlook, Operation("work", "items"), limits(least=5)) == pytest.approx(84)


@given(st.floats(1, 100), st.integers(1, 64))
def test_the_share_to_fill_rises_with_the_calls_and_stops_short_of_what_is_let_in(target_pct, calls):
    asked = []

    class Asked(Known):
        def room_bytes(self, operation, target_pct):
            asked.append(target_pct)
            return 1.0

    outlook, operation = Asked(MemoryCost(1.0, 0.0, 5)), Operation("work", "batches")
    of = replace(limits(), target_pct=target_pct)
    memory_items(outlook, operation, of, calls=calls)
    memory_items(outlook, operation, of, calls=calls + 1)
    fewer, more = asked
    assert target_pct <= fewer <= more <= max(target_pct, 84.0)
    assert more <= target_pct + 14


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
    assert made.batch_size == 108  # 4 calls may take 76 in place of 70 per cent
    outlook.room = 0.91 * 400.0
    play(made, 1, now_s=1.0)
    assert made.batch_size == 108  # less than a tenth


# ---- use that was planned ---------------------------------------------------------------------------------------


def near_the_limit(level, *, in_use, kind="batches", calls=4):
    """Batches of 100 items that take 4 x 100 bytes above a base of 100, as they were sized to."""
    outlook = Known(MemoryCost(1.0, 0.0, 5), 400.0 * 70 / 76)
    made, operation = sizer(outlook, kind, batch_size=100, concurrency=calls)
    outlook.now, outlook.in_use = level, in_use
    return made, operation, outlook


@pytest.mark.parametrize(
    ("level", "in_use", "size"),
    [
        (PressureLevel.SHRINK, 520, 100),  # 100 + 1.05 x 400
        (PressureLevel.SHRINK, 521, 75),
        (PressureLevel.STOP, 520, 75),
    ],
)
def test_use_that_was_planned_shrinks_no_batch_and_other_use_does(level, in_use, size):
    made, operation, _ = near_the_limit(level, in_use=in_use)
    play(made, 1)
    assert made.batch_size == size
    assert [each.reason for each in operation.decisions] == [Reason.PRESSURE] * (size < 100)


@pytest.mark.parametrize(
    ("level", "in_use", "tries"),
    [
        (PressureLevel.HOLD, 520, True),
        (PressureLevel.SHRINK, 520, True),
        (PressureLevel.HOLD, 521, False),
        (PressureLevel.STOP, 520, False),
    ],
)
def test_use_that_was_planned_stops_no_try_of_other_calls_and_other_use_does(level, in_use, tries):
    made, operation, _ = near_the_limit(level, in_use=in_use)
    made._last_in_use = in_use  # it does not climb
    rounds(made, 12)
    tried = [each.after for each in operation.decisions if each.what == "concurrency"]
    assert tried[:1] == ([8] if tries else [])


def test_what_an_earlier_plan_started_is_planned_for_a_second():
    made, _, outlook = near_the_limit(PressureLevel.SHRINK, in_use=500)
    play(made, 1)
    outlook.known, outlook.room = MemoryCost(0.4, 0.0, 5), 0.8 * outlook.room
    outlook.in_use = 510  # it climbs
    play(made, 1, now_s=0.9)
    assert made.batch_size == 100
    outlook.in_use = 520
    play(made, 1, now_s=1.2)
    assert made.batch_size == 75


def test_the_room_that_a_plan_was_rounded_down_from_is_planned_for_in_full():
    made, _, outlook = near_the_limit(PressureLevel.SHRINK, in_use=500)
    outlook.known = MemoryCost(0.7, 0.0, 5)
    play(made, 1)
    outlook.in_use = 520
    play(made, 1, now_s=1.2)
    assert made.batch_size >= 100


@pytest.mark.parametrize(
    ("level", "in_use", "grows"),
    [
        (PressureLevel.HOLD, 167, True),  # 100 + 1.05 x 64
        (PressureLevel.HOLD, 168, False),
        (PressureLevel.SHRINK, 167, False),  # admission is about to refuse
    ],
)
def test_single_items_climb_on_below_the_shrinking_level_where_use_was_planned(level, in_use, grows):
    outlook = Known(MemoryCost(1.0, 0.0, 5), 400.0)
    outlook.now, outlook.in_use = level, in_use
    made, _ = sizer(outlook, "items", concurrency=64, climbed=False)
    for n in range(64):
        made.finished(items=1, weight=1.0, seconds=0.1, full=True, in_flight=64, now_s=0.1 + n * 1e-6)
    assert (made.concurrency > 64) is grows


def test_nothing_is_planned_before_the_first_reading():
    made, _, outlook = near_the_limit(PressureLevel.HOLD, in_use=0)
    outlook.base_bytes = None
    assert not made._is_planned(0, 0.0)


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 2000), st.floats(0, 0.5)), min_size=1, max_size=20))
def test_whatever_the_present_plan_takes_is_planned(steps):
    made, _, _ = near_the_limit(PressureLevel.HOLD, in_use=0)
    now_s = 0.0
    for size, in_use, step_s in steps:
        now_s += step_s
        made.batch_size = size
        planned = made._is_planned(in_use, now_s)
        assert planned or in_use > 100 + 1.05 * 4 * size
        assert not planned or made._is_planned(in_use - 1, now_s)
    assert not made._is_planned(100 + 2 * 4 * 1000, now_s)


# ---- what one batch may have ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "allowed"), [(1, 7.6), (7, 7.6), (30, 30.0)])
def test_a_batch_may_have_what_memory_allows_and_never_less_than_the_smallest(least, allowed):
    known = Known(MemoryCost(100.0, 0.0, 9), 2800)
    made, _ = sizer(known, batch_size=30, concurrency=4, least=least)
    assert made.most_weight() == pytest.approx(allowed)
    known.room = 0.0
    assert made.most_weight() == least
    known.known = None
    assert made.most_weight() == inf


# ---- waits for memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "climbed", "searches"), [("batches", True, True), ("batches", False, False), ("items", True, False)]
)
def test_what_waits_for_memory_stops_a_search_only_where_it_is_not_its_own_doing(kind, climbed, searches):
    """More calls of batches are smaller ones; but a climb adds calls of the size there is, and so do single items."""
    made, operation = sizer(Known(), kind, climbed=climbed)
    now_s = 0.0
    for _ in range(200):
        calls, size = made.concurrency, made.batch_size
        items = size if kind == "batches" else 1
        now_s += 0.1 / calls
        made.finished(items=items, weight=float(items), seconds=0.099, full=False, in_flight=calls, now_s=now_s)
        made.held_back(now_s)
    assert any(each.what == "concurrency" for each in operation.decisions) == searches


def test_closing_remembers_and_is_counted():
    made, operation = sizer(Known(), batch_size=33, concurrency=5)
    assert operation.open == 1
    made.close()
    assert (operation.open, operation.batch_size, operation.concurrency) == (0, 33, 5)


def test_what_the_loop_does_is_asked_fifty_times_a_second_and_bounds_the_search():
    """A loop that never sleeps: more calls are never tried, however long it goes on."""
    asked = []

    def loop_time():
        asked.append(now_s)
        return LoopTime(now_s, 0.0)

    operation = Operation("work", "items")
    operation.concurrency = 4
    made = CallSizer(
        Known(), operation, limits(), batch_size=1, concurrency=4, auto=True, now_s=0.0, loop_time=loop_time
    )
    now_s = 0.0
    for _ in range(3000):
        now_s += 0.001
        made.finished(items=1, weight=1.0, seconds=0.004 - 1e-9, full=True, in_flight=4, now_s=now_s)
    assert 10 <= len(asked) <= 151
    soon = [later - earlier for earlier, later in pairwise(asked) if later - earlier < 0.0199]
    assert len(soon) <= len(operation.decisions) + 1  # as a measurement begins
    assert not [each for each in operation.decisions if each.after > 4]
