"""From the source to admitted batches: `memflow.processing.intake`."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from memflow.exceptions import SizeHintError
from memflow.processing.batch import Batch
from memflow.processing.intake import Intake, count_within
from memflow.processing.source import SyncSource
from tests.processing.parts import plan, settle


class FakeGate:
    """Lets in what it is told to, and notes who asks."""

    holds = False

    def __init__(self, *, at_once: bool = True, waiting: list[bool] | None = None) -> None:
        self.at_once = at_once
        self.go_on = anyio.Event()
        self.waiting = waiting if waiting is not None else []
        self.asked: list[int] = []

    def try_enter(self, batch: Batch) -> bool:
        self.asked.append(batch.size)
        return self.at_once

    async def wait_enter(self, batch: Batch) -> bool:
        self.asked.append(batch.size)
        await anyio.sleep(0)
        if self.holds:
            await self.go_on.wait()
        return self.waiting.pop(0) if self.waiting else True


def intake(items: Any, gate: FakeGate | None = None, *, kind: str = "batches", **changes: Any) -> Intake:
    return Intake(plan(kind, **changes), SyncSource(items), gate or FakeGate())  # type: ignore[arg-type]


NO_END = 1 << 30


def test_batches_come_in_the_size_asked_for_and_in_order() -> None:
    of = intake(range(10))
    batches = [of.pull(4, NO_END) for _ in range(4)]
    assert [(b.start, b.items, b.full) for b in batches if b] == [
        (0, [0, 1, 2, 3], True),
        (4, [4, 5, 6, 7], True),
        (8, [8, 9], False),
    ]
    assert batches[3] is None
    assert of.done


def test_items_come_in_quanta_and_no_more_than_there_is_room_for() -> None:
    of = intake(range(100), kind="items")
    of.quantum = 16
    sizes = [(of.pull(999, room) or pytest.fail("none")).size for room in (NO_END, 16, 5, 1)]
    assert sizes == [16, 16, 5, 1]


def test_hints_weigh_the_items() -> None:
    batch = intake(["a", "bbb"], hint=len).pull(5, NO_END)
    assert batch is not None
    assert (batch.items, batch.weights, batch.weight) == (["a", "bbb"], [1, 3], 4)


def test_items_with_hints_travel_with_them() -> None:
    of = intake(["a", "bbb"], kind="items", hint=len)
    of.quantum = 2
    batch = of.pull(1, NO_END)
    assert batch is not None
    assert batch.items == [("a", 1), ("bbb", 3)]


def test_a_bad_hint_names_the_position_in_the_input() -> None:
    of = intake(["a", "b", None], hint=len)
    of.pull(2, NO_END)
    with pytest.raises(SizeHintError, match="item 2"):
        of.pull(2, NO_END)


def test_what_is_refused_waits_and_nothing_overtakes_it(run) -> None:
    async def main() -> None:
        gate = FakeGate(at_once=False)
        of = intake(range(10), gate)
        assert of.pull(4, NO_END) is None
        assert of.waits_for_memory
        assert of.needs_admission
        assert not of.done

        async def first() -> None:
            batch = await of.wait_admitted()
            assert batch.items == [0, 1, 2, 3]

        gate.holds = True
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            while of.needs_admission:
                await anyio.sleep(0)
            assert of.waits_for_memory  # somebody is at it
            gate.go_on.set()
        assert not of.waits_for_memory

    run(main)


def test_items_go_one_by_one_while_memory_is_short(run) -> None:
    async def main() -> None:
        gate = FakeGate(at_once=False)
        of = intake(range(3), gate, kind="items")
        of.quantum = 3
        assert of.pull(1, NO_END) is None
        starts = []
        while of.needs_admission:
            batch = await of.wait_admitted()
            starts.append((batch.start, batch.size))
        assert starts == [(0, 1), (1, 1), (2, 1)]

    run(main)


def test_batches_are_halved_while_they_are_refused(run) -> None:
    async def main() -> None:
        gate = FakeGate(at_once=False, waiting=[False, False, True, True, True])
        of = intake(range(8), gate, hint=lambda item: 10.0)
        assert of.pull(8, NO_END) is None
        got = []
        while of.needs_admission:
            batch = await of.wait_admitted()
            got.append((batch.start, batch.items, batch.weight))
        assert got == [(0, [0, 1], 20), (2, [2, 3], 20), (4, [4, 5, 6, 7], 40)]
        assert gate.asked == [8, 8, 4, 2, 2, 4]

    run(main)


def test_an_admission_that_is_cancelled_is_open_to_others(run) -> None:
    async def main() -> None:
        of = intake(range(8), FakeGate(at_once=False, waiting=[False] * 99))
        of.pull(8, NO_END)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await of.wait_admitted()
        assert not of._admitting
        await settle()

    run(main)


def test_the_quantum_follows_how_long_a_batch_took() -> None:
    of = intake([], kind="items")
    sizes = []
    for _ in range(6):
        of.pace(0.001, 10)
        sizes.append(of.quantum)
    assert sizes == [2, 4, 8, 16, 16, 16]
    of.pace(0.01, 10)
    assert of.quantum == 16
    for _ in range(6):
        of.pace(1.0, 10)
    assert of.quantum == 1
    for _ in range(9):
        of.pace(0.0, 200)
    assert of.quantum == 200


def test_letting_go_forgets_what_waits() -> None:
    of = intake(range(8), FakeGate(at_once=False))
    of.pull(4, NO_END)
    of.let_go()
    assert not of.waits_for_memory
    assert of.done


@pytest.mark.parametrize(
    ("weights", "most", "count"), [([1, 1, 1], 2, 2), ([5, 1], 2, 1), ([1, 1], 9, 2), ([], 1, 0), ([2, 2], 4, 2)]
)
def test_a_batch_ends_where_its_hints_exceed_what_fits(weights: list[float], most: float, count: int) -> None:
    assert count_within(weights, most) == count


def test_what_goes_beyond_begins_the_next_batch_and_nothing_is_lost() -> None:
    of = intake([1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 9.0], hint=float)
    batches = []
    while not of.done:
        batch = of.pull(4, NO_END, lambda: 6.0)
        if batch is not None:
            batches.append((batch.start, batch.items, batch.full))
    assert [start for start, _, _ in batches] == [0, 2, 4, 6]
    assert [items for _, items, _ in batches] == [[1.0, 1.0], [5.0, 1.0], [1.0, 1.0], [9.0]]
