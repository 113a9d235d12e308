"""`isolate_failures`: a batch that fails is run again in halves, down to the items that fail."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed, BatchResultError
from memflow.journal.memory import MemoryJournal
from memflow.processing.outcome import ItemFailure
from memflow.testing import make_processor
from tests.processing.calls import check_quiet, through
from tests.processing.journaling import OPERATION
from tests.processing.parts import MIB, settle
from tests.processing.test_memory_pressure import Machine

BATCHES = pytest.mark.parametrize("method", ["process_batches", "stream_batches"])
JOURNALED = pytest.mark.parametrize("journaled", [False, True])


class Fragile:
    """A batch function that fails where an item does; notes what it was given, and what it got done."""

    def __init__(self, failing: set[int], error: type[Exception] = ValueError) -> None:
        self.failing = failing
        self.error = error
        self.given: list[list[int]] = []
        self.done: Counter[int] = Counter()

    async def __call__(self, items: list[int]) -> list[int]:
        self.given.append(list(items))
        await anyio.sleep(0)
        for item in items:
            if item in self.failing:
                raise self.error(f"no {item}")
        self.done.update(items)
        return [2 * item for item in items]


def options(journaled: bool, **more: Any) -> dict[str, Any]:
    journal = {"journal": MemoryJournal(), "keep_results": True} if journaled else {}
    return {"operation": OPERATION, "as_it_is": True, "isolate_failures": True, **journal, **more}


@BATCHES
@JOURNALED
def test_only_the_items_that_fail_are_failures(run, method: str, journaled: bool) -> None:
    async def main() -> None:
        work = Fragile({3, 4, 37})
        asked = options(journaled, on_error="collect")
        async with make_processor(batch_size=8, concurrency=3, auto_optimize=False) as of:
            found = await through(of, method, range(60), work, **asked)
            figures = of.statistics()
            check_quiet(of)
        tries = {3: 4, 4: 4, 37: 4}  # in a batch of 8, in halves of 4 and 2, by itself
        assert found == [ItemFailure(n, "ValueError", f"no {n}", tries[n]) if n in tries else 2 * n for n in range(60)]
        assert (figures.items_done, figures.items_failed, figures.items_rerun, figures.retries) == (57, 3, 0, 0)
        assert work.done == Counter(n for n in range(60) if n not in work.failing)
        if journaled:
            assert [each.position for each in asked["journal"].failures()] == [3, 4, 37]
            assert asked["journal"].summary().finished == 57

    run(main)


@BATCHES
@JOURNALED
def test_the_error_names_the_first_item_that_fails(run, method: str, journaled: bool) -> None:
    async def main() -> None:
        work = Fragile({5, 6})
        asked = options(journaled)
        async with make_processor(batch_size=16, concurrency=1, auto_optimize=False) as of:
            with pytest.raises(BatchFailed) as caught:
                await through(of, method, range(32), work, **asked)
            assert caught.value.indices == ((5,),)
            assert str(caught.value.exceptions[0]) == "no 5"
            assert of.statistics().items_failed == 1
            check_quiet(of)
        assert work.given == [[*range(16)], [*range(8)], [*range(4)], [*range(4, 8)], [4, 5], [4], [5]]
        if journaled:
            assert asked["journal"].summary().finished == 5

    run(main)


@BATCHES
def test_what_is_isolated_keeps_its_hints_and_its_room(run, method: str) -> None:
    async def main() -> None:
        machine, failing = Machine(), {2, 11}

        async def work(items: list[int]) -> list[int]:
            machine.hold(100 * MIB * len(items))
            try:
                await settle(3)
                if failing & set(items):
                    raise ValueError
            finally:
                machine.hold(-100 * MIB * len(items))
            return items

        async with machine.processor(batch_size=4, concurrency=4, auto_optimize=False) as of:
            asked = options(False, on_error="collect", size_hint=lambda _: 100 * MIB)
            found = await through(of, method, range(24), work, **asked)
            check_quiet(of)
        assert [n for n, each in enumerate(found) if isinstance(each, ItemFailure)] == sorted(failing)
        assert machine.most <= 1 << 30

    run(main)


@BATCHES
def test_want_of_memory_has_its_own_way(run, method: str) -> None:
    async def main() -> None:
        work = Fragile({9}, MemoryError)
        async with make_processor(batch_size=4, concurrency=2, auto_optimize=False) as of:
            found = await through(of, method, range(16), work, **options(False, on_error="collect"))
            assert of.statistics().items_rerun > 0
            check_quiet(of)
        assert [n for n, each in enumerate(found) if isinstance(each, ItemFailure)] == [9]
        assert found[9].error_type == "MemoryError"

    run(main)


@BATCHES
def test_too_few_results_are_isolated_too(run, method: str) -> None:
    async def main() -> None:
        async def work(items: list[int]) -> list[int]:
            return [item for item in items if item != 6]

        async with make_processor(batch_size=8, auto_optimize=False) as of:
            found = await through(of, method, range(8), work, **options(False, on_error="collect"))
            assert [n for n, each in enumerate(found) if isinstance(each, ItemFailure)] == [6]
            with pytest.raises(BatchFailed) as caught:
                await through(of, method, range(8), work, **options(False))
        assert isinstance(caught.value.exceptions[0], BatchResultError)
        assert caught.value.indices == ((6,),)

    run(main)


@BATCHES
def test_without_being_asked_the_whole_batch_fails(run, method: str) -> None:
    async def main() -> None:
        work = Fragile({3})
        async with make_processor(batch_size=8, concurrency=1, auto_optimize=False) as of:
            asked = options(False, on_error="collect", isolate_failures=False)
            found = await through(of, method, range(16), work, **asked)
        assert [bool(isinstance(each, ItemFailure)) for each in found] == [True] * 8 + [False] * 8
        assert len(work.given) == 2

    run(main)


@BATCHES
def test_a_call_that_ends_meanwhile_leaves_nothing(run, method: str) -> None:
    async def main() -> None:
        async def work(items: list[int]) -> list[int]:
            if len(items) == 8:
                raise ValueError
            await anyio.sleep_forever()
            return items

        async with make_processor(batch_size=8, auto_optimize=False) as of:
            with anyio.move_on_after(0.02) as scope:
                await through(of, method, range(8), work, **options(True))
            assert scope.cancelled_caught
            check_quiet(of)

    run(main)
