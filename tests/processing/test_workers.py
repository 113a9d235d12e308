"""The loops that run the user's function: `memflow.processing.workers`."""

from __future__ import annotations

import array
import itertools
from collections import deque
from typing import Any

import anyio
import numpy
import pytest

from memflow.exceptions import BatchFailed, BatchResultError
from memflow.memory.work import OperationLoad
from memflow.processing.workers import check_results, track_weights
from tests.processing.parts import FakeSizer, call_of, results_of

# ---- results of batch functions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "returned", [[1, 2], (1, 2), range(1, 3), deque([1, 2]), array.array("i", [1, 2]), numpy.array([1, 2])]
)
def test_sequences_are_results(returned: Any) -> None:
    assert list(check_results("work", 2, returned)) == [1, 2]


def test_rows_of_an_array_are_results() -> None:
    rows = check_results("work", 2, numpy.eye(2))
    assert [list(row) for row in rows] == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("returned", "type_name"),
    [
        (None, "NoneType"),
        (7, "int"),
        ("ab", "str"),
        (b"ab", "bytes"),
        ({1: 1, 2: 2}, "dict"),
        ({1, 2}, "set"),
        (iter([1, 2]), "list_iterator"),
        ((n for n in (1, 2)), "generator"),
    ],
)
def test_other_things_are_not(returned: Any, type_name: str) -> None:
    with pytest.raises(BatchResultError, match=f"a batch of 2 items and returned a {type_name}") as caught:
        check_results("work", 2, returned)
    assert (caught.value.due, caught.value.came) == (2, None)


@pytest.mark.parametrize("came", [0, 1, 3])
def test_a_wrong_number_says_how_many_were_due_and_came(came: int) -> None:
    with pytest.raises(BatchResultError, match=f"a batch of 2 items and returned {came} results") as caught:
        check_results("work", 2, [None] * came)
    assert (caught.value.due, caught.value.came) == (2, came)


def test_wrong_results_fail_the_batch(run) -> None:
    async def main() -> None:
        async def too_few(items: list[int]) -> list[int]:
            return items[:-1]

        call = call_of(range(8), too_few, kind="batches", sizer=FakeSizer(batch_size=4, concurrency=1), keep=True)
        with pytest.raises(BatchFailed) as caught:
            await results_of(call)
        assert isinstance(caught.value.exceptions[0], BatchResultError)
        assert caught.value.indices == ((0, 1, 2, 3),)

    run(main)


def test_a_batch_function_may_keep_or_change_its_list(run) -> None:
    async def main() -> None:
        kept = []

        async def greedy(items: list[int]) -> list[int]:
            kept.append(items)
            results = [item * 2 for item in items]
            items.clear()
            return results

        call = call_of(range(8), greedy, kind="batches", keep=True)
        assert await results_of(call) == [n * 2 for n in range(8)]
        assert kept == [[], []]

    run(main)


def test_a_batch_function_may_return_the_list_it_got(run) -> None:
    async def main() -> None:
        async def same(items: list[int]) -> list[int]:
            return items

        assert await results_of(call_of(range(8), same, kind="batches", keep=True)) == list(range(8))

    run(main)


# ---- rests ------------------------------------------------------------------------------------------------------


def test_a_worker_rests_after_each_batch(run_virtual) -> None:
    async def main() -> None:
        times = []

        async def work(items: list[int]) -> list[int]:
            times.append(anyio.current_time())
            return items

        sizer = FakeSizer(batch_size=2, concurrency=1)
        await results_of(call_of(range(6), work, kind="batches", sizer=sizer, delay_s=3.0, keep=True))
        assert [after - before for before, after in itertools.pairwise(times)] == pytest.approx([3, 3])

    run_virtual(main)


def test_a_worker_of_items_rests_after_each_group(run_virtual) -> None:
    async def main() -> None:
        async def work(item: int) -> int:
            await anyio.sleep(0.1)  # long enough that a group is one item
            return item

        began_s = anyio.current_time()
        call = call_of(range(4), work, sizer=FakeSizer(concurrency=1), delay_s=5.0, keep=True, clock=anyio.current_time)
        assert await results_of(call) == [0, 1, 2, 3]
        assert anyio.current_time() - began_s == pytest.approx(15.4, abs=5.1)

    run_virtual(main)


# ---- letting others run -----------------------------------------------------------------------------------------


def ticking_clock(step_s: float) -> Any:
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += step_s
        return now_s

    return clock


@pytest.mark.parametrize("kind", ["items", "batches"])
@pytest.mark.parametrize("concurrency", [1, 3, 50])
def test_functions_that_never_suspend_let_a_heartbeat_run(run, kind: str, concurrency: int) -> None:
    """On a clock where each look takes 10 µs a slice of 0.8 ms is 80 looks; the others then take two items each."""

    async def main() -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await anyio.sleep(0)
                beats += 1

        async def instant(given: Any) -> Any:
            return given

        sizer = FakeSizer(batch_size=1, concurrency=concurrency)
        call = call_of(
            range(20_000), instant, kind=kind, sizer=sizer, keep=True, collect=True, clock=ticking_clock(1e-5)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            assert await results_of(call) == list(range(20_000))
            group.cancel_scope.cancel()
        assert beats >= 20_000 // (80 + 3 * concurrency)

    run(main)


def test_functions_that_never_suspend_can_be_cancelled(run) -> None:
    async def main() -> None:
        done = 0

        async def instant(item: Any) -> Any:
            nonlocal done
            done += 1
            return item

        def endless() -> Any:
            while True:
                yield 1

        call = call_of(endless(), instant, sizer=FakeSizer(concurrency=2), ordered=False, keep=True)
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                while done < 1000:
                    await anyio.sleep(0)
                group.cancel_scope.cancel()

            group.start_soon(stop)
            await results_of(call)
        assert done >= 1000

    run(main)


# ---- weights ----------------------------------------------------------------------------------------------------


def test_weights_are_in_flight_while_the_item_is(run) -> None:
    async def main() -> None:
        load = OperationLoad("work")

        async def work(item: str) -> str:
            assert load.weight == 7.5
            if item == "bad":
                raise ValueError
            return item

        tracked = track_weights(work, load)
        assert await tracked(("good", 7.5)) == "good"
        with pytest.raises(ValueError):
            await tracked(("bad", 7.5))
        assert (load.weight, load.started) == (0, 0)
        assert load.cut() == 7.5

    run(main)
