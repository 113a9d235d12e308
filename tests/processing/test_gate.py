"""Admission by memory: `memflow.processing.gate`."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.exceptions import MemoryPressureError
from memflow.memory.reclaim import ReclaimResult
from memflow.memory.spacing import Spacing
from memflow.processing.batch import Batch
from memflow.processing.bundle import MemoryBundle
from memflow.processing.gate import Gate
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings
from memflow.testing import ScriptedProbe
from tests.processing.parts import GIB, MIB, FakeSizer, bundle_with, settle


def batch(size: int) -> Batch:
    return Batch(0, [None] * size, None, full=True)


async def not_now(wanted_bytes: int) -> None:
    """Reclaim nothing: virtual time leaps while a thread works."""


class Door:
    """A gate, with everything around it, in the time of the running backend."""

    def __init__(self, script: Any = 0, *, bytes_each: int = 100 * MIB, auto_gc: bool = False, **settings: Any) -> None:
        self.probe = ScriptedProbe(script, limit=GIB, source="the script")
        self.bundle: MemoryBundle = bundle_with(self.probe, clock=anyio.current_time, auto_gc=auto_gc)
        self.bundle.sampler.reclaim_if_allowed = not_now  # type: ignore[method-assign]
        self.bundle.sampler.reclaim_in_thread = self.clear  # type: ignore[method-assign]  # counted, not done
        self.cleared_at_s: list[float] = []
        self.left_after_clearing: int | None = None
        self.ended: list[Any] = []
        self.bundle.analyzer.stall_ended = lambda wait, **_: self.ended.append(wait)  # type: ignore[method-assign]  # seen
        self.totals = Totals()
        self.sizer = FakeSizer(bytes_each=bytes_each)
        self.settings = BatchProcessorSettings(**settings)
        self.gate = self.another()
        self.bundle.sampler.sample()

    def another(self) -> Gate:
        return Gate("embed", self.bundle, self.sizer, self.totals, self.settings, clock=anyio.current_time)  # type: ignore[arg-type]

    async def clear(self) -> ReclaimResult:
        self.cleared_at_s.append(anyio.current_time())
        await anyio.sleep(0.001)
        if self.left_after_clearing is not None:
            self.probe.set(self.left_after_clearing)
        self.bundle.sampler.sample()
        return ReclaimResult(freed_bytes=0, collected_objects=0, trimmed=True, seconds=0.001)

    @property
    def held(self) -> tuple[int, int]:
        return self.bundle.admission.reserved_bytes, self.bundle.admission.holders


def test_a_batch_that_fits_reserves_and_gives_back(run_virtual) -> None:
    async def main() -> None:
        door, of = Door(), batch(2)
        assert door.gate.try_enter(of)
        assert door.held == (200 * MIB, 1)
        door.gate.leave(of, anyio.current_time())
        assert door.held == (0, 0)
        assert of.reserved is None
        assert door.totals.waits == 0

    run_virtual(main)


def test_a_batch_that_does_not_fit_changes_nothing(run_virtual) -> None:
    async def main() -> None:
        door = Door()
        assert not door.gate.try_enter(batch(9))
        assert door.held == (0, 0)

    run_virtual(main)


@pytest.mark.parametrize(("size", "bytes_each", "enters"), [(1, 130, False), (1, 120, True), (10, 13, True)])
def test_what_lies_free_in_the_heap_is_no_room_for_one_large_block(
    size: int, bytes_each: int, enters: bool, run_virtual
) -> None:
    """An eighth of the limit is 128 MiB: blocks from there on come from the kernel."""

    async def main() -> None:
        door = Door(800 * MIB, bytes_each=bytes_each * MIB)
        door.sizer.base_bytes, door.sizer.reusable_bytes = 100 * MIB, 600 * MIB
        beside = Batch(7, [None], [0.0], full=True)
        assert door.gate.try_enter(beside)
        assert door.gate.try_enter(batch(size)) == enters
        door.gate.close()

    run_virtual(main)


def test_without_monitoring_everything_enters_unread(run_virtual) -> None:
    async def main() -> None:
        door, of = Door(memory_monitoring=False), batch(10**6)
        reads = door.probe.reads
        assert door.gate.try_enter(of)
        door.gate.leave(of, anyio.current_time())
        assert door.probe.reads == reads
        assert door.held == (0, 0)

    run_virtual(main)


def test_a_reading_is_taken_at_both_boundaries(run_virtual) -> None:
    async def main() -> None:
        door, of = Door(), batch(1)
        door.gate.try_enter(of)
        door.gate.leave(of, anyio.current_time())
        assert door.probe.boundary_reads == 2

    run_virtual(main)


def test_waits_until_another_batch_ends(run_virtual) -> None:
    async def main() -> None:
        door, first, second = Door(bytes_each=500 * MIB), batch(1), batch(1)
        assert door.gate.try_enter(first)
        assert not door.gate.try_enter(second)

        async def end_later() -> None:
            await anyio.sleep(7.001)
            door.gate.leave(first, anyio.current_time())

        async with anyio.create_task_group() as group:
            group.start_soon(end_later)
            assert await door.gate.wait_enter(second)
        assert door.held == (500 * MIB, 1)
        assert door.totals.waits == 1
        assert door.totals.waited_s == pytest.approx(7, abs=0.1)

    run_virtual(main)


def test_waits_until_memory_that_is_not_ours_comes_back(run_virtual) -> None:
    async def main() -> None:
        door = Door(1000 * MIB)
        began_s = anyio.current_time()
        door.probe.set(lambda now_s: 0 if now_s >= began_s + 3 else 1000 * MIB)
        assert await door.gate.wait_enter(batch(1))
        assert door.totals.waited_s == pytest.approx(3, abs=0.1)

    run_virtual(main)


def test_alone_a_larger_batch_should_be_split_at_once(run_virtual) -> None:
    async def main() -> None:
        door = Door()
        assert await door.gate.wait_enter(batch(9)) is False
        assert door.totals.waited_s == 0

    run_virtual(main)


def test_with_others_in_flight_it_waits_rather_than_splits(run_virtual) -> None:
    async def main() -> None:
        door, first = Door(), batch(8)
        door.gate.try_enter(first)
        with anyio.move_on_after(5) as scope:
            await door.gate.wait_enter(batch(4))
        assert scope.cancelled_caught
        assert door.held == (800 * MIB, 1)

    run_virtual(main)


def test_one_item_alone_may_always_run_below_the_limit_itself(run_virtual) -> None:
    async def main() -> None:
        door = Door(100 * MIB, bytes_each=900 * MIB)
        assert await door.gate.wait_enter(batch(1))

    run_virtual(main)


def test_what_exceeds_the_whole_limit_is_refused_at_once_with_the_numbers(run_virtual) -> None:
    async def main() -> None:
        door = Door(100 * MIB, bytes_each=1)
        with pytest.raises(MemoryPressureError) as caught:
            await door.gate.wait_enter(Batch(0, ["large"], [float(2 * GIB)], full=True))
        error = caught.value
        assert (error.operation, error.requested_bytes, error.in_use_bytes, error.limit_bytes, error.limit_source) == (
            "embed",
            2 * GIB,
            100 * MIB,
            GIB,
            "the script",
        )
        assert error.waited_s == 0
        assert "raise the limit" in str(error)

    run_virtual(main)


def test_what_was_learnt_of_others_refuses_no_item_for_good(run_virtual) -> None:
    async def main() -> None:
        door = Door(100 * MIB, bytes_each=2 * GIB)
        assert await door.gate.wait_enter(batch(1))
        assert door.totals.waited_s == 0
        assert not door.gate.try_enter(batch(1))  # alone it may run, not beside another

    run_virtual(main)


def test_gives_up_after_the_timeout_with_the_numbers(run_virtual) -> None:
    async def main() -> None:
        door = Door(1000 * MIB, admission_timeout_s=12)
        with pytest.raises(
            MemoryPressureError, match=r"embed needs 100 MiB and 1000 MiB of 1 GiB \(the script\)"
        ) as caught:
            await door.gate.wait_enter(batch(1))
        assert caught.value.waited_s == pytest.approx(12, abs=0.1)
        assert door.totals.waited_s == pytest.approx(12, abs=0.1)
        assert door.held == (0, 0)

    run_virtual(main)


def test_the_timeout_counts_only_time_with_nothing_of_ours_in_flight(run_virtual) -> None:
    async def main() -> None:
        door, first = Door(bytes_each=500 * MIB, admission_timeout_s=5), batch(1)
        door.gate.try_enter(first)

        async def end_later() -> None:
            await anyio.sleep(100)
            door.gate.leave(first, anyio.current_time())

        async with anyio.create_task_group() as group:
            group.start_soon(end_later)
            assert await door.gate.wait_enter(batch(1))

    run_virtual(main)


def test_another_call_s_reservations_count(run_virtual) -> None:
    async def main() -> None:
        door, first = Door(bytes_each=500 * MIB), batch(1)
        other = door.another()
        other.try_enter(first)
        assert not door.gate.try_enter(batch(1))
        other.close()
        assert door.gate.try_enter(batch(1))

    run_virtual(main)


def test_cancelled_while_waiting_it_holds_nothing(run_virtual) -> None:
    async def main() -> None:
        door = Door(1000 * MIB)
        with anyio.move_on_after(1):
            await door.gate.wait_enter(batch(1))
        assert door.held == (0, 0)
        assert not door.bundle.admission.waiters
        assert door.totals.waited_s == pytest.approx(1, abs=0.1)

    run_virtual(main)


def test_closing_gives_everything_back(run_virtual) -> None:
    async def main() -> None:
        door = Door()
        for _ in range(3):
            door.gate.try_enter(batch(1))
        assert door.held == (300 * MIB, 3)
        door.gate.close()
        door.gate.close()
        assert door.held == (0, 0)

    run_virtual(main)


# ---- taking a batch that waits ----------------------------------------------------------------------------------


class Waiter:
    """Waits at a gate for a batch, while another one of 500 MiB is in flight."""

    def __init__(self, door: Door, size: int = 1) -> None:
        self.door, self.first, self.second = door, batch(1), batch(size)
        self.answer: bool | None = None
        self.scope = anyio.CancelScope()

    async def wait(self) -> None:
        with self.scope:
            self.answer = await self.door.gate.wait_enter(self.second)

    def start(self, group: Any) -> None:
        assert self.door.gate.try_enter(self.first)
        assert not self.door.gate.try_enter(self.second)
        group.start_soon(self.wait)

    def first_ends(self) -> None:
        self.door.gate.leave(self.first, anyio.current_time(), tell=False)


def check_ended_once(door: Door) -> None:
    assert door.totals.waits == len(door.ended) == 1
    assert not door.totals.waiting
    assert not door.gate._line._waits
    assert not door.gate._line._split
    assert not door.bundle.admission.waiters


def test_for_a_wait_memory_is_read_in_full_whenever_something_ends_but_only_in_the_first_seconds(run_virtual) -> None:
    async def main() -> None:
        door = Door(bytes_each=500 * MIB)
        door.bundle.sampler.spacing = Spacing(0.5, 0.05)
        waiter, reads = Waiter(door), []
        async with anyio.create_task_group() as group:
            waiter.start(group)
            for _ in range(4):
                before = door.probe.reads
                for _ in range(50):
                    await anyio.sleep(0.02)
                    door.gate.tell()
                reads.append(door.probe.reads - before)
            waiter.scope.cancel()
        assert min(reads[:2]) >= 49
        assert max(reads[2:]) <= 3

    run_virtual(main)


def test_a_batch_that_waits_is_taken_in_its_turn_without_waking_who_waits(run_virtual) -> None:
    async def main() -> None:
        door = Door(bytes_each=500 * MIB)
        waiter = Waiter(door)
        async with anyio.create_task_group() as group:
            waiter.start(group)
            await settle()
            began_s = anyio.current_time()
            assert not door.gate.try_take(waiter.second)
            assert door.gate._line.find(waiter.second) is not None
            waiter.first_ends()
            assert door.gate.try_take(waiter.second)
            assert door.held == (500 * MIB, 1)
            check_ended_once(door)
            await settle()
            assert waiter.answer is None  # it sleeps on
            await anyio.sleep(0.3)
            assert waiter.answer is True
            assert door.totals.longest_wait_s == anyio.current_time() - 0.3 - began_s
        assert door.held == (500 * MIB, 1)  # once, not twice
        check_ended_once(door)
        door.gate.leave(waiter.second, anyio.current_time())
        assert door.held == (0, 0)

    run_virtual(main)


def test_a_batch_for_which_nobody_waits_is_let_in_as_any_other(run_virtual) -> None:
    async def main() -> None:
        door, of = Door(), batch(2)
        assert door.gate.try_take(of)
        assert not door.gate.try_take(batch(9))
        assert door.held == (200 * MIB, 1)
        assert (door.totals.waits, door.ended) == (0, [])

    run_virtual(main)


def test_where_it_cannot_be_taken_and_nothing_is_in_flight_who_waits_is_told(run_virtual) -> None:
    """Only that one may make it smaller."""

    async def main() -> None:
        door = Door(bytes_each=500 * MIB)
        waiter = Waiter(door, size=2)
        async with anyio.create_task_group() as group:
            waiter.start(group)
            await settle()
            waiter.first_ends()
            now_s = anyio.current_time()
            await settle()
            assert waiter.answer is None
            assert not door.gate.try_take(waiter.second)
            await settle()
            assert waiter.answer is False
            assert anyio.current_time() == now_s
        assert door.held == (0, 0)

    run_virtual(main)


def test_with_others_in_flight_it_is_not_told_in_vain(run_virtual) -> None:
    async def main() -> None:
        door = Door(bytes_each=500 * MIB)
        waiter = Waiter(door)
        async with anyio.create_task_group() as group:
            waiter.start(group)
            await settle()
            asleep = list(door.gate._freed)
            assert len(asleep) == 1
            assert not door.gate.try_take(waiter.second)
            assert door.gate._freed == asleep
            assert not asleep[0].is_set()
            group.cancel_scope.cancel()

    run_virtual(main)


def test_who_waits_longest_is_not_overtaken_by_one_that_is_taken(run_virtual) -> None:
    async def main() -> None:
        door = Door(bytes_each=500 * MIB)
        waiter, other = Waiter(door), door.another()
        async with anyio.create_task_group() as group:
            waiter.start(group)
            await anyio.sleep(1)  # beyond patience
            later = batch(1)
            group.start_soon(other.wait_enter, later)
            await settle()
            waiter.first_ends()
            assert not other.try_take(later)
            assert door.gate.try_take(waiter.second)
            door.gate.leave(waiter.second, anyio.current_time(), tell=False)
            assert other.try_take(later)
        assert door.held == (500 * MIB, 1)

    run_virtual(main)


@pytest.mark.parametrize("taken", [True, False])
def test_a_waiter_that_is_cancelled_leaves_what_was_taken_and_nothing_else(run_virtual, taken: bool) -> None:
    async def main() -> None:
        door = Door(bytes_each=500 * MIB)
        waiter = Waiter(door)
        async with anyio.create_task_group() as group:
            waiter.start(group)
            await settle()
            waiter.first_ends()
            assert not taken or door.gate.try_take(waiter.second)
            waiter.scope.cancel()
        assert waiter.answer is None
        assert door.held == ((500 * MIB, 1) if taken else (0, 0))
        check_ended_once(door)
        door.gate.leave(waiter.second, anyio.current_time())
        assert door.held == (0, 0)

    run_virtual(main)


# ---- how much fits ----------------------------------------------------------------------------------------------


def test_crowded_is_where_another_of_its_size_would_not_fit(run_virtual) -> None:
    async def main() -> None:
        door = Door()
        seen = []
        for _ in range(9):  # 870 MiB may be promised
            door.gate.try_enter(batch(1))
            seen.append(door.gate.crowded)
        assert seen == [False] * 7 + [True, True]
        assert door.held == (800 * MIB, 8)
        door.sizer.bytes_each = 10 * MIB
        door.gate.try_enter(batch(1))
        assert not door.gate.crowded

    run_virtual(main)


@pytest.mark.parametrize(
    ("in_use", "size", "fits"), [(0, 9, 8), (0, 100, 8), (500 * MIB, 9, 3), (1000 * MIB, 9, 1), (2000 * MIB, 1, 1)]
)
def test_of_a_batch_that_was_refused_as_many_fit_as_there_is_room_for(
    run_virtual, in_use: int, size: int, fits: int
) -> None:
    async def main() -> None:
        door, of = Door(in_use, admission_timeout_s=5), batch(size)
        door.gate.try_enter(of)
        assert door.gate.items_that_fit(of) == fits

    run_virtual(main)


def test_where_nothing_is_known_all_of_it_fits(run_virtual) -> None:
    async def main() -> None:
        door, of = Door(bytes_each=0), batch(9)
        door.gate.try_enter(of)
        assert door.gate.items_that_fit(of) == 9

    run_virtual(main)


@given(in_use=st.integers(0, GIB), each=st.integers(1, GIB), size=st.integers(2, 500), held=st.integers(0, GIB))
def test_what_is_said_to_fit_is_let_in_and_not_one_too_few(in_use: int, each: int, size: int, held: int) -> None:
    def asked(count: int) -> tuple[bool, int]:
        bundle = bundle_with(ScriptedProbe(in_use, limit=GIB), clock=lambda: 0.0)
        bundle.sampler.sample()
        sizer = FakeSizer(bytes_each=held)
        sizer.base_bytes = in_use
        gate = Gate("embed", bundle, sizer, Totals(), BatchProcessorSettings(), clock=lambda: 0.0)  # type: ignore[arg-type]  # fakes
        gate.try_enter(batch(1))
        sizer.bytes_each, of = each, batch(count)
        return gate.try_enter(of), gate.items_that_fit(of)

    entered, fits = asked(size)
    assert fits >= 1
    if entered:
        assert fits >= size
    elif 1 < fits < size:
        assert asked(fits)[0]
        assert fits + 2 > size or not asked(fits + 2)[0]  # shares of an item and of a byte are rounded down


# ---- before a batch is made smaller -----------------------------------------------------------------------------


def test_what_others_left_behind_is_cleared_once_before_a_batch_is_made_smaller(run_virtual) -> None:
    async def main() -> None:
        door = Door(auto_gc=True)
        assert await door.gate.wait_enter(batch(9)) is False
        assert len(door.cleared_at_s) == 1
        assert await door.gate.wait_enter(batch(9)) is False  # its first part, still too large
        assert await door.gate.wait_enter(batch(4))
        assert len(door.cleared_at_s) == 1  # once in a wait
        assert (door.totals.waits, len(door.ended), door.totals.splits) == (1, 1, 2)
        door.gate.leave(batch(4), anyio.current_time())
        door.gate.close()
        assert await door.gate.wait_enter(batch(9)) is False
        assert len(door.cleared_at_s) == 2  # the next wait

    run_virtual(main)


def test_a_batch_that_is_taken_while_it_is_cleared_for_is_let_in_once(run_virtual) -> None:
    async def main() -> None:
        door, of = Door(800 * MIB, auto_gc=True), batch(3)
        answers = []

        async def wait() -> None:
            answers.append(await door.gate.wait_enter(of))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await settle()
            assert len(door.cleared_at_s) == 1
            assert door.gate.try_take(of) is False
            door.probe.set(100 * MIB)
            assert door.gate.try_take(of)
        assert answers == [True]
        assert door.held == (300 * MIB, 1)
        check_ended_once(door)

    run_virtual(main)


@pytest.mark.parametrize("items", [6, 1])
def test_what_fits_after_that_stays_whole_and_waits_no_longer(run_virtual, items: int) -> None:
    async def main() -> None:
        door = Door(500 * MIB, auto_gc=True, bytes_each=1)
        door.left_after_clearing = 100 * MIB
        of = Batch(0, [None] * items, [600.0 * MIB / items] * items, full=True)
        assert await door.gate.wait_enter(of)
        assert len(door.cleared_at_s) == 1
        assert door.totals.splits == 0
        assert door.held == (600 * MIB, 1)

    run_virtual(main)


@pytest.mark.parametrize("how", ["others in flight", "auto_gc off", "one small item", "one that never fits"])
def test_it_is_not_cleared_where_that_is_no_use_or_not_wanted(run_virtual, how: str) -> None:
    async def main() -> None:
        each = 30 if how == "one small item" else 100
        door = Door(1000 * MIB, auto_gc=how != "auto_gc off", admission_timeout_s=60, bytes_each=each * MIB)
        if how == "others in flight":
            door.probe.set(0)
            door.gate.try_enter(batch(8))
        if how == "one that never fits":
            with pytest.raises(MemoryPressureError):
                await door.gate.wait_enter(Batch(0, [None], [2.0 * GIB], full=True))
        else:
            with anyio.move_on_after(2):
                await door.gate.wait_enter(batch(1 if how == "one small item" else 4))
        assert door.cleared_at_s == []

    run_virtual(main)


def test_one_that_is_to_run_alone_has_it_cleared_once_nobody_else_is_there(run_virtual) -> None:
    async def main() -> None:
        door = Door(auto_gc=True, bytes_each=500 * MIB)
        waiter = Waiter(door)
        waiter.second.alone = True
        async with anyio.create_task_group() as group:
            waiter.start(group)
            await anyio.sleep(1)
            assert door.cleared_at_s == []
            waiter.first_ends()
            await anyio.sleep(1)
        assert waiter.answer is True
        assert len(door.cleared_at_s) == 1

    run_virtual(main)


def test_waiting_reclaims_when_that_is_due(run) -> None:
    async def main() -> None:
        probe = ScriptedProbe(1000 * MIB, limit=GIB)
        bundle = bundle_with(probe, auto_gc=True, trim=False)
        bundle.sampler.sample()
        sizer, totals = FakeSizer(bytes_each=100 * MIB), Totals()
        gate = Gate("embed", bundle, sizer, totals, BatchProcessorSettings(admission_timeout_s=0.02))  # type: ignore[arg-type]
        with pytest.raises(MemoryPressureError):
            await gate.wait_enter(batch(1))
        assert bundle.sampler.reclaims == 1

    run(main)


@pytest.mark.parametrize(("in_use", "asks"), [(850 * MIB, False), (1000 * MIB, True)])
def test_a_wait_reclaims_nothing_where_all_use_is_what_was_promised(run_virtual, in_use: int, asks: bool) -> None:
    """With 50 MiB in use without it and 800 MiB promised, 1000 MiB leave something to be had, and 850 MiB nothing."""

    async def main() -> None:
        door, asked = Door(50 * MIB, auto_gc=True), []

        async def reclaim(wanted_bytes: int) -> None:
            asked.append(wanted_bytes)

        door.bundle.sampler.reclaim_if_allowed = reclaim  # type: ignore[method-assign]  # noted, not done
        door.sizer.base_bytes = 50 * MIB
        first, second = batch(8), batch(1)
        assert door.gate.try_enter(first)
        door.probe.set(in_use)
        with anyio.move_on_after(0.1):
            await door.gate.wait_enter(second)
        assert bool(asked) is asks
        assert set(asked) <= {100 * MIB}

    run_virtual(main)


def test_where_no_thread_can_be_started_it_reclaims_by_itself(run) -> None:
    """RLIMIT_DATA counts the stack of a thread."""

    async def main() -> None:
        probe = ScriptedProbe(1000 * MIB, limit=GIB)
        bundle = bundle_with(probe, auto_gc=True, trim=False)
        bundle.sampler.sample()

        async def no_thread(wanted_bytes: int) -> None:
            raise RuntimeError("can't start new thread")

        bundle.sampler.reclaim_if_allowed = no_thread  # type: ignore[method-assign]
        totals, batch_settings = Totals(), BatchProcessorSettings(admission_timeout_s=0.02)
        gate = Gate("embed", bundle, FakeSizer(bytes_each=100 * MIB), totals, batch_settings)  # type: ignore[arg-type]
        with pytest.raises(MemoryPressureError):
            await gate.wait_enter(batch(1))
        assert bundle.sampler.reclaims >= 1

    run(main)


@pytest.mark.parametrize(
    "others", ["nobody", "others hold more than at first", "no RLIMIT_DATA", "it says that it is larger"]
)
def test_one_item_foretold_to_take_too_much_is_let_in_where_waiting_is_no_use(run_virtual, monkeypatch, others) -> None:
    protected = None if others == "no RLIMIT_DATA" else (-1, -1)
    monkeypatch.setattr("memflow.processing.gate.original_data_limit", lambda: protected)

    async def main() -> None:
        door = Door(100 * MIB, auto_gc=True, bytes_each=3)  # three bytes for each that the hint says
        one = Batch(0, [None], [(2000.0 if others == "it says that it is larger" else 400.0) * MIB], full=True)
        if others == "others hold more than at first":
            door.gate = door.another()  # it has seen what was in use at first
            door.probe.set(300 * MIB)
            door.bundle.sampler.sample()
        with anyio.move_on_after(5):
            if others == "it says that it is larger":
                with pytest.raises(MemoryPressureError):
                    await door.gate.wait_enter(one)
            else:
                assert await door.gate.wait_enter(one)
        assert door.held[1] == (others == "nobody")
        assert one.alone == (others == "nobody")
        if others == "nobody":
            assert len(door.cleared_at_s) == 1
            door.gate.leave(one, anyio.current_time())
            assert door.held == (0, 0)

    run_virtual(main)


def test_one_that_is_run_again_alone_is_not_held_up_by_what_is_foretold(run_virtual, monkeypatch) -> None:
    monkeypatch.setattr("memflow.processing.gate.original_data_limit", lambda: (-1, -1))

    async def main() -> None:
        door = Door(100 * MIB, auto_gc=True, bytes_each=3)
        one = Batch(0, [None], [400.0 * MIB], full=True)
        one.alone = True
        with anyio.fail_after(1):
            assert await door.gate.wait_enter(one)

    run_virtual(main)


def test_one_item_that_could_not_be_let_in_against_its_prediction_keeps_nobody_waiting(
    run_virtual, monkeypatch
) -> None:
    monkeypatch.setattr("memflow.processing.gate.original_data_limit", lambda: (-1, -1))

    async def main() -> None:
        door = Door(100 * MIB, auto_gc=True, bytes_each=3)
        large = Batch(0, [None], [900.0 * MIB], full=True)  # less than the limit, and more than RLIMIT_DATA leaves
        async with anyio.create_task_group() as group:
            group.start_soon(door.gate.wait_enter, large)
            await anyio.sleep(0.2)  # after 0.25 s, whoever has waited longest goes first, alone or not
            assert not large.alone
            assert door.another().try_enter(Batch(1, [None], [1.0 * MIB], full=True))
            group.cancel_scope.cancel()

    run_virtual(main)
