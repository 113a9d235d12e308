"""One call: where intake, crew and delivery meet: `memflow.processing.call`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed, SizeHintError, SourceFailed
from memflow.processing.outcome import ItemFailure
from memflow.processing.stream import ResultStream, RunningCall
from memflow.processing.totals import Totals
from memflow.testing import ScriptedProbe
from tests.processing.parts import FakeSizer, bundle_with, call_of, results_of, settle

KINDS = ("items", "batches")


def function_for(kind: str) -> Any:
    async def one(item: Any) -> Any:
        await anyio.sleep(0)
        return item

    return one


async def arriving(count: int, *, every: int = 1) -> AsyncIterator[int]:
    for number in range(count):
        if number % every == 0:
            await anyio.sleep(0)
        yield number


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_results_are_aligned(run, kind: str, count: int) -> None:
    async def main() -> None:
        for items in (range(count), arriving(count), arriving(count, every=9)):
            call = call_of(items, function_for(kind), kind=kind, keep=True)
            assert await results_of(call) == list(range(count))

    run(main)


def test_a_worker_that_leaves_gives_back_what_was_kept_for_its_next_batch(run, monkeypatch) -> None:
    async def main() -> None:
        left, sizer = [], FakeSizer(concurrency=3)

        async def work(item: Any) -> None:
            await settle()
            if item == 5:
                sizer.concurrency = 1

        call = call_of(range(20), work, sizer=sizer, keep=True)
        gives_back = call._gate.nobody_follows

        def nobody_follows() -> None:
            left.append(call.crew.size)
            gives_back()

        monkeypatch.setattr(call._gate, "nobody_follows", nobody_follows)
        await results_of(call)
        assert left[:2] == [2, 1]

    run(main)


def test_no_more_workers_are_hired_than_there_are_items(run) -> None:
    async def main() -> None:
        hired = []

        async def work(item: Any) -> None:
            hired.append(call.crew.size)
            await settle()

        call = call_of([1, 2], work, sizer=FakeSizer(concurrency=50), keep=True)
        await results_of(call)
        assert hired == [2, 2]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_concurrency_that_grows_hires_more(run, kind: str) -> None:
    async def main() -> None:
        sizer, running, most = FakeSizer(batch_size=1, concurrency=1), 0, 0

        async def work(item: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await settle(5)
            running -= 1
            sizer.concurrency = 6
            return item

        call = call_of(range(60), work, kind=kind, sizer=sizer, keep=True)
        assert await results_of(call) == list(range(60))
        assert most == 6

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_concurrency_that_shrinks_lets_workers_go(run, kind: str) -> None:
    async def main() -> None:
        sizer, running, late = FakeSizer(batch_size=1, concurrency=8), 0, []

        async def work(item: Any) -> Any:
            nonlocal running
            running += 1
            await settle(5)
            number = item if kind == "items" else item[0]
            if number == 20:
                sizer.concurrency = 1
            if number > 60:
                late.append(running)
            running -= 1
            return item

        call = call_of(range(80), work, kind=kind, sizer=sizer, keep=True)
        assert await results_of(call) == list(range(80))
        assert set(late) == {1}

    run(main)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [1, 3, 50])
def test_shrinking_while_the_source_is_slow_does_not_hang(run, kind: str, every: int) -> None:
    """All but one worker are parked when that one finds itself too many: another must take its place."""

    async def main() -> None:
        sizer, done = FakeSizer(batch_size=1, concurrency=10), 0

        async def slow() -> AsyncIterator[int]:
            for number in range(100):
                if number % every == 0:
                    await settle(10)
                yield number

        async def work(item: Any) -> Any:
            nonlocal done
            done += 1
            if done == 5:
                sizer.concurrency = 1
            return item

        call = call_of(slow(), work, kind=kind, sizer=sizer, keep=True)
        with anyio.fail_after(60):
            assert await results_of(call) == list(range(100))

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_shrinking_while_memory_is_short_does_not_hang(run, kind: str) -> None:
    async def main() -> None:
        probe = ScriptedProbe("1000MiB", limit="1GiB")
        bundle = bundle_with(probe, sample_interval_s=0.001)
        bundle.sampler.sample()
        sizer = FakeSizer(batch_size=1, concurrency=10, bytes_each=2**20)
        done = 0

        async def work(item: Any) -> Any:
            nonlocal done
            done += 1
            await anyio.sleep(0)
            if done == 3:
                sizer.concurrency = 1
            if done == 10:
                probe.set(0)
            return item

        call = call_of(range(50), work, kind=kind, sizer=sizer, bundle=bundle, keep=True)
        with anyio.fail_after(60):
            assert await results_of(call) == list(range(50))

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sizer_is_told_about_every_batch(run, kind: str) -> None:
    async def main() -> None:
        sizer = FakeSizer(batch_size=4, concurrency=2)
        call = call_of(range(10), function_for(kind), kind=kind, sizer=sizer, keep=True)
        await results_of(call)
        assert sum(told["items"] for told in sizer.told) == 10
        assert sum(told["weight"] for told in sizer.told) == 10
        assert all(told["seconds"] >= 0 and told["in_flight"] >= 1 for told in sizer.told)
        assert sizer.closed == 1
        if kind == "batches":
            assert [(told["items"], told["full"]) for told in sizer.told] == [(4, True), (4, True), (2, False)]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("handed_before", [1, 10, 16, 19, 40])
@pytest.mark.parametrize("concurrency_after", [8, 1])
def test_what_waited_for_memory_may_have_to_wait_for_the_consumer_too(
    run, kind: str, handed_before: int, concurrency_after: int
) -> None:
    """It is admitted while the window is full, and no part of it may be lost."""

    async def main() -> None:
        probe = ScriptedProbe(0, limit="1GiB")
        bundle = bundle_with(probe, sample_interval_s=0.001)
        bundle.sampler.sample()
        sizer = FakeSizer(batch_size=2, concurrency=8, bytes_each=2**20)
        call = call_of(range(200), function_for(kind), kind=kind, sizer=sizer, bundle=bundle)
        async with RunningCall(call, None, lambda: None):
            results = ResultStream(call)
            for _ in range(100):
                if call.delivery.handed >= handed_before:
                    break
                await settle(1)
            probe.set("2GiB")
            await settle(200)
            sizer.concurrency = concurrency_after
            probe.set(0)
            for _ in range(20):
                await anyio.sleep(0.001)
            with anyio.fail_after(60):
                got = [result async for result in results]
        assert got == list(range(200))

    run(main)


# ---- failures ---------------------------------------------------------------------------------------------------


def test_a_failure_ends_the_call_and_names_the_item(run) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0)
            if item == 5:
                raise ValueError("five")
            return item

        totals = Totals()
        call = call_of(range(100), work, totals=totals, keep=True)
        with pytest.raises(BatchFailed) as caught:
            await results_of(call)
        assert caught.value.indices == ((5,),)
        assert totals.items_failed == 1
        assert totals.items_in_flight == 0
        assert 4 <= totals.items_done < 30

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_an_allocation_that_failed_shrinks_sizes(run, kind: str) -> None:
    async def main() -> None:
        async def work(given: Any) -> Any:
            raise MemoryError

        sizer = FakeSizer()
        await results_of(call_of(range(4), work, kind=kind, sizer=sizer, keep=True, collect=True))
        assert sizer.shrunk >= 1

    run(main)


def test_errors_of_a_batch_name_all_its_items(run) -> None:
    async def main() -> None:
        async def work(items: list[int]) -> list[int]:
            raise ValueError(items[0])

        totals = Totals()
        call = call_of(
            range(10), work, kind="batches", sizer=FakeSizer(batch_size=4, concurrency=1), totals=totals, keep=True
        )
        with pytest.raises(BatchFailed, match="items 0 to 3") as caught:
            await results_of(call)
        assert caught.value.indices == ((0, 1, 2, 3),)
        assert (totals.items_failed, totals.items_done) == (4, 0)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_collected_failures_stand_in_their_places(run, kind: str) -> None:
    async def main() -> None:
        async def work(given: Any) -> Any:
            await anyio.sleep(0)
            if 5 in (given if kind == "batches" else [given]):
                raise ValueError("five")
            return given

        totals = Totals()
        call = call_of(range(8), work, kind=kind, totals=totals, keep=True, collect=True)
        results = await results_of(call)
        failed = [5] if kind == "items" else [4, 5, 6, 7]
        for index, result in enumerate(results):
            expected = ItemFailure(index, "ValueError", "five", 1) if index in failed else index
            assert result == expected
        assert (totals.items_done, totals.items_failed) == (8 - len(failed), len(failed))

    run(main)


def test_several_failures_at_once_are_all_named(run) -> None:
    async def main() -> None:
        both = anyio.Event()

        async def work(item: int) -> int:
            try:
                if item == 1:
                    both.set()
                await both.wait()
            finally:
                raise ValueError(item)

        call = call_of(range(2), work, sizer=FakeSizer(concurrency=2), keep=True)
        with pytest.raises(BatchFailed) as caught:
            await results_of(call)
        assert {index for indices in caught.value.indices for index in indices} <= {0, 1}
        assert len(caught.value.exceptions) == len(caught.value.indices)

    run(main)


@pytest.mark.parametrize("make", ["sync", "async"])
def test_what_a_failing_source_gave_is_finished_first(run, make: str) -> None:
    def sync() -> Any:
        yield from range(5)
        raise OSError("disk")

    async def asynchronous() -> AsyncIterator[int]:
        for number in range(5):
            yield number
        raise OSError("disk")

    async def main() -> None:
        for kind in KINDS:
            call = call_of(sync() if make == "sync" else asynchronous(), function_for(kind), kind=kind, keep=True)
            with pytest.raises(SourceFailed, match="after 5 items") as caught:
                await results_of(call)
            assert caught.value.results == [0, 1, 2, 3, 4]
            assert caught.value.pulled == 5
            assert isinstance(caught.value.__cause__, OSError)

    run(main)


def test_a_bad_hint_ends_the_call_bare(run) -> None:
    async def main() -> None:
        call = call_of(range(5), function_for("items"), hint=lambda item: -1, keep=True)
        with pytest.raises(SizeHintError):
            await results_of(call)

    run(main)


def test_a_crash_of_a_worker_ends_the_call_bare(run) -> None:
    """Whatever breaks inside, nobody waits for ever and nothing is wrapped."""

    async def main() -> None:
        class Broken(FakeSizer):
            def finished(self, **told: Any) -> None:
                raise RuntimeError("bug in sizing")

        for kind in KINDS:
            call = call_of(range(20), function_for(kind), kind=kind, sizer=Broken(), keep=True)
            with anyio.fail_after(60), pytest.raises(RuntimeError, match="bug in sizing"):
                await results_of(call)

    run(main)


# ---- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_early_gives_everything_back_and_counts_what_is_done(run, kind: str) -> None:
    async def main() -> None:
        totals, bundle = Totals(), bundle_with(ScriptedProbe(0))
        bundle.sampler.sample()
        call = call_of(
            range(1000), function_for(kind), kind=kind, totals=totals, bundle=bundle, sizer=FakeSizer(bytes_each=100)
        )
        taken = 0
        async with RunningCall(call, bundle.sampler, lambda: None):
            results = ResultStream(call)
            async for _ in results:
                taken += 1
                if taken == 10:
                    break
            results.close()
        assert totals.items_in_flight == 0
        assert 10 <= totals.items_done + totals.items_failed <= 10 + 2 * 2 * 4 + 16
        assert bundle.admission.reserved_bytes == bundle.admission.holders == 0
        assert bundle.state.work.drained
        assert bundle.state.work.items_done()["test.work"] == totals.items_done

    run(main)


def test_a_call_that_is_left_at_once_never_starts(run) -> None:
    async def main() -> None:
        started = []
        call = call_of(range(10), lambda item: started.append(item))
        async with RunningCall(call, None, lambda: None):
            pass
        assert started == []
        assert call.ended

    run(main)


def test_a_call_in_a_scope_that_is_cancelled_already_never_starts(run) -> None:
    async def main() -> None:
        started = []

        async def work(item: Any) -> None:
            started.append(item)

        for _ in range(20):  # who is scheduled first is left to chance on trio
            with anyio.CancelScope() as scope:
                scope.cancel()
                await results_of(call_of(range(10), work, keep=True))
            assert scope.cancelled_caught
        assert started == []

    run(main)


def test_release_lets_go_of_source_and_batches(run) -> None:
    async def main() -> None:
        closed = []

        def lines() -> Any:
            try:
                yield from range(1000)
            finally:
                closed.append(True)

        call = call_of(lines(), function_for("items"))
        async with RunningCall(call, None, lambda: None):
            await anext(ResultStream(call))
        assert closed == [True]
        assert call.current is None

    run(main)
