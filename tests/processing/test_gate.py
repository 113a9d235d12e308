"""Admission by memory: `memflow.processing.gate`."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from memflow.exceptions import MemoryPressureError
from memflow.processing.batch import Batch
from memflow.processing.bundle import MemoryBundle
from memflow.processing.gate import Gate
from memflow.processing.totals import Totals
from memflow.settings import BatchProcessorSettings
from memflow.testing import ScriptedProbe
from tests.processing.parts import GIB, MIB, FakeSizer, bundle_with


def batch(size: int) -> Batch:
    return Batch(0, [None] * size, None, full=True)


async def not_now(wanted_bytes: int) -> None:
    """Reclaim nothing: virtual time leaps while a thread works."""


class Door:
    """A gate, with everything around it, in the time of the running backend."""

    def __init__(self, script: Any = 0, *, bytes_each: int = 100 * MIB, **settings: Any) -> None:
        self.probe = ScriptedProbe(script, limit=GIB, source="the script")
        self.bundle: MemoryBundle = bundle_with(self.probe, clock=anyio.current_time)
        self.bundle.sampler.reclaim_if_allowed = not_now  # type: ignore[method-assign]
        self.totals = Totals()
        self.sizer = FakeSizer(bytes_each=bytes_each)
        self.settings = BatchProcessorSettings(**settings)
        self.gate = self.another()
        self.bundle.sampler.sample()

    def another(self) -> Gate:
        return Gate("embed", self.bundle, self.sizer, self.totals, self.settings, clock=anyio.current_time)  # type: ignore[arg-type]

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
        assert not door.bundle.admission._waiters
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
