"""What failed for want of memory, or was cancelled for it, is run again; nothing is lost, nothing comes twice."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed, ConfigurationError
from memflow.processing.outcome import ItemFailure
from memflow.processing.preemption import count_to_preempt
from memflow.testing import make_processor
from tests.processing.calls import METHODS, check_quiet, through
from tests.processing.parts import GIB, MIB, settle
from tests.processing.test_memory_pressure import Machine

ORDERED = pytest.mark.parametrize("ordered", [True, False])


class Crowd:
    """A function that notes who ran beside whom, and runs out of memory when an item is not alone (or always)."""

    def __init__(self, *, short: set[int], hopeless: set[int] = frozenset()) -> None:
        self.short, self.hopeless = short, hopeless
        self.inside = 0
        self.tries: Counter[int] = Counter()

    async def __call__(self, item: int) -> int:
        self.tries[item] += 1
        self.inside += 1
        try:
            await settle(3)
            if item in self.hopeless or (item in self.short and self.inside > 1):
                raise MemoryError
            await settle(2)
        finally:
            self.inside -= 1
        return 2 * item


# ---- alone after a MemoryError ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hinted", [False, True])
def test_an_item_that_ran_out_of_memory_runs_again_alone_and_keeps_its_place(run, hinted: bool) -> None:
    async def main() -> None:
        crowd = Crowd(short={7, 8, 30})
        async with make_processor(concurrency=8, auto_optimize=False) as processor:
            hint = (lambda item: MIB) if hinted else None
            assert await processor.process(range(40), crowd, size_hint=hint) == [2 * n for n in range(40)]
            figures = processor.statistics()
            assert figures.items_rerun == 3
            assert (figures.items_done, figures.items_failed, figures.items_in_flight) == (40, 0, 0)
            check_quiet(processor)
        assert {item: tries for item, tries in crowd.tries.items() if tries > 1} == {7: 2, 8: 2, 30: 2}

    run(main)


@METHODS
def test_what_fails_alone_too_is_a_failure_of_that_item_only(run, method: str) -> None:
    async def main() -> None:
        crowd = Crowd(short=set(), hopeless={5})
        async with make_processor(concurrency=4, batch_size=8, on_error="collect") as processor:
            results = await through(processor, method, range(32), crowd)
            assert [index for index, result in enumerate(results) if isinstance(result, ItemFailure)] == [5]
            assert (results[5].error_type, results[5].index) == ("MemoryError", 5)
            assert [result for result in results if result is not results[5]] == [2 * n for n in range(32) if n != 5]
            figures = processor.statistics()
            assert (figures.items_done, figures.items_failed, figures.items_in_flight) == (31, 1, 0)
            check_quiet(processor)

    run(main)


@METHODS
def test_with_raise_the_call_ends_with_the_item_that_failed_alone(run, method: str) -> None:
    async def main() -> None:
        crowd = Crowd(short=set(), hopeless={5})
        async with make_processor(concurrency=2, batch_size=4) as processor:
            with pytest.raises(BatchFailed) as caught:
                await through(processor, method, range(12), crowd)
            assert isinstance(caught.value.exceptions[0], MemoryError)
            assert caught.value.indices == ((5,),)
            check_quiet(processor)

    run(main)


def test_a_batch_too_large_even_alone_is_halved_until_it_fits(run) -> None:
    async def main() -> None:
        sizes: list[int] = []

        async def work(batch: list[int]) -> list[int]:
            sizes.append(len(batch))
            await settle(2)
            if len(batch) > 3:
                raise MemoryError
            return [2 * item for item in batch]

        async with make_processor(batch_size=16, concurrency=1, auto_optimize=False) as processor:
            assert await processor.process_batches(range(16), work) == [2 * n for n in range(16)]
            assert processor.statistics().items_done == 16
            check_quiet(processor)
        # Nothing else ran beside it, so that it isn't tried whole again.
        assert sizes == [16, 8, 4, 2, 2, 4, 2, 2, 8, 4, 2, 2, 4, 2, 2]

    run(main)


def test_a_batch_that_failed_beside_another_is_tried_whole_alone_before_it_is_halved(run) -> None:
    async def main() -> None:
        sizes: dict[int, list[int]] = {0: [], 8: []}
        inside = 0

        async def work(batch: list[int]) -> list[int]:
            nonlocal inside
            sizes[batch[0] // 8 * 8].append(len(batch))
            inside += 1
            try:
                await settle(2)
                if batch[0] < 8 and (inside > 1 or len(batch) > 4):
                    raise MemoryError
                await settle(2)
            finally:
                inside -= 1
            return [2 * item for item in batch]

        async with make_processor(batch_size=8, concurrency=2, auto_optimize=False) as processor:
            assert await processor.process_batches(range(16), work) == [2 * n for n in range(16)]
            check_quiet(processor)
        assert sizes == {0: [8, 8, 4, 4], 8: [8]}

    run(main)


def test_it_can_be_switched_off(run) -> None:
    async def main() -> None:
        crowd = Crowd(short={3})
        async with make_processor(
            concurrency=8, auto_optimize=False, on_error="collect", rerun_on_memory_error=False
        ) as processor:
            results = await processor.process(range(16), crowd)
            assert isinstance(results[3], ItemFailure)
            assert processor.statistics().items_rerun == 0
        assert crowd.tries[3] == 1

    run(main)


def test_an_item_that_waits_for_others_of_its_kind_does_not_wait_for_ever(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item runs a call of its own, on the same memory, in which an item wants to be alone."""
    monkeypatch.setattr("memflow.processing.gate._ALONE_S", 0.05)

    async def main() -> None:
        async with make_processor(concurrency=2, auto_optimize=False) as processor:
            tried: Counter[int] = Counter()

            async def inner(item: int) -> int:
                tried[item] += 1
                await anyio.sleep(0.01)
                if tried[item] == 1:
                    raise MemoryError
                return item

            async def outer(item: int) -> list[int]:
                return await processor.process([10 * item, 10 * item + 1], inner)

            assert await processor.process([1, 2], outer) == [[10, 11], [20, 21]]
            check_quiet(processor)

    run(main)


# ---- preemption -------------------------------------------------------------------------------------------------


def test_how_many_are_preempted() -> None:
    def count(in_use: float, running: int) -> int:
        return count_to_preempt(in_use_bytes=ceil(in_use * GIB), limit_bytes=GIB, running=running)

    assert count(0.89, 100) == 0
    assert count(0.95, 1) == count(0.95, 0) == 0
    assert count(0.9, 2) == 1
    assert count(1.0, 100) == 20
    assert count(8.0, 10) == 9
    assert count_to_preempt(in_use_bytes=0, limit_bytes=0, running=5) in range(5)


@METHODS
@ORDERED
def test_when_others_take_memory_the_youngest_are_cancelled_and_run_again(run, method: str, ordered: bool) -> None:
    if not ordered and "stream" not in method:
        pytest.skip("lists are always in order")

    async def main() -> None:
        machine = Machine()
        cancelled: list[int] = []
        done: Counter[int] = Counter()

        async def work(item: int) -> int:
            machine.hold(20 * MIB)
            try:
                await anyio.sleep(0.02)
            except anyio.get_cancelled_exc_class():
                cancelled.append(item)
                raise
            finally:
                machine.hold(-20 * MIB)
            done[item] += 1
            if item == 20:
                machine.others = 800 * MIB  # beside 8 x 20 MiB, more than nine tenths
            if sum(done.values()) == 60:
                machine.others = 100 * MIB
            return 2 * item

        options: dict[str, Any] = {} if "stream" not in method else {"ordered": ordered}
        async with machine.processor(concurrency=8, batch_size=2, auto_optimize=False) as processor:
            results = await through(processor, method, range(100), work, preemptible=True, **options)
            figures = processor.statistics()
            assert (results if ordered else sorted(results)) == [2 * n for n in range(100)]
            assert figures.items_preempted >= len(set(cancelled)) > 0
            assert (figures.items_done, figures.items_failed, figures.items_in_flight) == (100, 0, 0)
            check_quiet(processor)
        if "batches" not in method:  # there, an item of a batch that is cancelled may be done already
            assert set(done.values()) == {1}
        assert machine.most <= GIB

    run(main)


def test_the_oldest_is_never_preempted(run) -> None:
    async def main() -> None:
        machine = Machine()
        cancelled: Counter[int] = Counter()

        async def work(item: int) -> int:
            machine.hold(30 * MIB)
            if item == 7:
                machine.others = 750 * MIB  # beside 8 x 30 MiB, more than nine tenths
            try:
                await anyio.sleep(0.2 if item == 0 else 0.02)
            except anyio.get_cancelled_exc_class():
                cancelled[item] += 1
                raise
            finally:
                machine.hold(-30 * MIB)
            return item

        async with machine.processor(concurrency=8, auto_optimize=False) as processor:
            assert await processor.process(range(30), work, preemptible=True) == list(range(30))
            check_quiet(processor)
        assert sum(cancelled.values()) > 0
        assert cancelled[0] == 0
        assert max(cancelled.values()) <= 3

    run(main)


def test_a_cancelled_call_is_not_taken_for_a_preemption(run) -> None:
    async def main() -> None:
        async with make_processor(concurrency=4) as processor:
            with anyio.move_on_after(0.02) as scope:
                await processor.process(range(8), lambda_sleep, preemptible=True)
            assert scope.cancelled_caught
            assert processor.statistics().items_preempted == 0
            check_quiet(processor)

    async def lambda_sleep(item: int) -> None:
        await anyio.sleep_forever()

    run(main)


def test_a_sync_function_cannot_be_preempted(run) -> None:
    async def main() -> None:
        async with make_processor() as processor:
            with pytest.raises(ConfigurationError, match="thread"):
                await processor.process([1], lambda item: item, preemptible=True)

    run(main)
