"""From the source to admitted batches: `memflow.processing.intake`."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.exceptions import SizeHintError
from memflow.processing.batch import Batch
from memflow.processing.intake import Intake, count_within
from memflow.processing.source import SyncSource
from tests.processing.parts import plan, settle


class FakeGate:
    """Lets in what it is told to, and notes who asks."""

    holds = False
    limit_bytes = 1e9

    def __init__(
        self, *, at_once: bool = True, waiting: list[bool] | None = None, fits: dict[int, int] | None = None
    ) -> None:
        self.at_once = at_once
        self.fits = fits if fits is not None else {}
        self.told = 0
        self.go_on = anyio.Event()
        self.waiting = waiting if waiting is not None else []
        self.asked: list[int] = []

    def try_enter(self, batch: Batch) -> bool:
        self.asked.append(batch.size)
        return self.at_once

    def try_take(self, batch: Batch) -> bool:
        self.asked.append(batch.size)
        return self.at_once

    def items_that_fit(self, batch: Batch) -> int:
        return self.fits.get(batch.size, batch.size)

    def tell(self) -> None:
        self.told += 1

    async def wait_enter(self, batch: Batch) -> bool:
        self.asked.append(batch.size)
        await anyio.sleep(0)
        if self.waiting:
            return self.waiting.pop(0)
        if self.holds:
            await self.go_on.wait()
        return True


def intake(items: Any, gate: FakeGate | None = None, *, kind: str = "batches", **changes: Any) -> Intake:
    return Intake(plan(kind, **changes), SyncSource(items), gate or FakeGate())  # type: ignore[arg-type]  # a fake


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


@pytest.mark.parametrize(("allowed", "sizes"), [(7.0, [8, 8, 8, 6]), (5.9, [5] * 6), (0.4, [1] * 30)])
def test_what_memory_clearly_does_not_allow_any_more_begins_the_next_batch(allowed: float, sizes: list[int]) -> None:
    """Sizes are decided where batches end; that items have become larger may be known before the next one does."""
    of = intake(range(30))
    batches = [batch for _ in range(40) if (batch := of.pull(8, NO_END, lambda: allowed))]
    assert [batch.size for batch in batches] == sizes
    assert [item for batch in batches for item in batch.items] == list(range(30))
    assert of.done


def test_items_come_in_quanta_and_no_more_than_there_is_room_for() -> None:
    of = intake(range(100), kind="items")
    of.quantum = 16
    sizes = [(of.pull(999, room) or pytest.fail("none")).size for room in (NO_END, 16, 5, 1)]
    assert sizes == [16, 16, 5, 1]


def test_what_exceeds_the_whole_limit_stands_alone() -> None:
    for kind in ("items", "batches"):
        of = intake([1.0, 2.0, 2e9, 3.0], kind=kind, hint=float)
        of.quantum = 4
        batches = [of.pull(4, NO_END) for _ in range(3)]
        assert [(batch.start, batch.weights) for batch in batches if batch] == [(0, [1, 2]), (2, [2e9]), (3, [3])]
        assert of.done


def test_what_is_left_of_a_larger_batch_does_not_make_one_too_large() -> None:
    of = intake(range(8), hint=lambda item: 10.0)
    first = of.pull(8, NO_END, lambda: 20.0)
    later = [of.pull(3, NO_END) for _ in range(2)]
    assert [(batch.start, batch.items) for batch in (first, *later) if batch] == [
        (0, [0, 1]),
        (2, [2, 3, 4]),
        (5, [5, 6, 7]),
    ]


def test_a_refusal_makes_quanta_smaller_for_a_while() -> None:
    gate = FakeGate(at_once=False)
    of = intake(range(1000), gate, kind="items")
    of.quantum = 16
    assert of.pull(1, NO_END) is None
    assert of.quantum == 8
    for _ in range(63):
        of.pace(0.001, 100)
    assert of.quantum == 8
    for _ in range(200):
        of.pace(0.001, 100)
    assert of.quantum == 100


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


def test_a_batch_that_is_refused_goes_on_with_what_fits(run) -> None:
    async def main() -> None:
        gate = FakeGate(at_once=False, waiting=[False, False, True, True, False], fits={16: 5, 5: 1, 11: 4})
        of = intake(range(16), gate, hint=lambda item: 10.0)
        assert of.pull(16, NO_END) is None
        got = []
        while of.needs_admission:
            batch = await of.wait_admitted()
            got.append((batch.start, batch.size, batch.weight))
        assert got == [(0, 1, 10), (1, 4, 40), (5, 4, 40), (9, 7, 70)]
        assert gate.asked == [16, 16, 5, 1, 4, 11, 4, 7]

    run(main)


def test_batches_are_halved_while_they_are_refused_and_more_would_fit(run) -> None:
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


# ---- taking what waits ------------------------------------------------------------------------------------------


class Asleep:
    """An intake whose first batch waits, with somebody asleep at it until the gate's `go_on` is set."""

    def __init__(self, count: int = 12, *, kind: str = "batches") -> None:
        self.gate = FakeGate(at_once=False)
        self.gate.holds = True
        self.of = intake(range(count), self.gate, kind=kind)
        self.of.quantum = 4
        assert self.of.pull(4, NO_END) is None
        self.answers: list[Any] = []
        self.scope = anyio.CancelScope()

    async def wait(self) -> None:
        with self.scope:
            self.answers.append(await self.of.wait_admitted())

    def take(self, *, admits: bool) -> list[Any] | None:
        self.gate.at_once = admits
        batch = self.of.take_waiting()
        return None if batch is None else batch.items


def test_who_waits_for_a_batch_keeps_it_while_it_is_refused(run) -> None:
    async def main() -> None:
        scene = Asleep()
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await settle()
            asked = len(scene.gate.asked)
            assert scene.take(admits=False) is None
            assert scene.gate.asked[asked:] == [4]
            assert scene.of.waits_for_memory
            assert not scene.of.needs_admission  # somebody is at it
            scene.gate.go_on.set()
        assert [batch.items for batch in scene.answers] == [[0, 1, 2, 3]]
        assert not scene.of.waits_for_memory

    run(main)


def test_a_batch_is_taken_from_who_waits_for_it_and_nothing_waits_though_that_one_sleeps_on(run) -> None:
    async def main() -> None:
        scene = Asleep()
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await settle()
            assert scene.take(admits=True) == [0, 1, 2, 3]
            assert scene.answers == []
            assert not scene.of.waits_for_memory
            assert not scene.of.needs_admission
            batch = scene.of.pull(4, NO_END)  # the next is free to be pulled
            assert batch is not None
            assert (batch.start, batch.items) == (4, [4, 5, 6, 7])
            scene.gate.go_on.set()
        assert scene.answers == [None]  # another took it

    run(main)


def test_behind_a_batch_that_was_taken_the_next_is_tried_and_keeps_its_place(run) -> None:
    async def main() -> None:
        scene = Asleep()
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await settle()
            assert scene.take(admits=True) == [0, 1, 2, 3]
            scene.gate.at_once = False
            assert scene.of.pull(4, NO_END) is None  # now this one waits, and nobody is at it
            assert scene.of.waits_for_memory
            assert not scene.of.needs_admission  # who sleeps will see to it
            told = scene.gate.told
            assert scene.take(admits=False) is None
            assert scene.gate.told == told + 1  # it is woken for that
            assert scene.of.waits_for_memory
            assert scene.take(admits=True) == [4, 5, 6, 7]
            assert not scene.of.waits_for_memory
            scene.gate.go_on.set()
        assert scene.answers == [None]
        assert not scene.of.needs_admission

    run(main)


def test_who_wakes_to_find_it_taken_leaves_the_next_to_whoever_comes(run) -> None:
    async def main() -> None:
        scene = Asleep()
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await settle()
            assert scene.take(admits=True) == [0, 1, 2, 3]
            scene.gate.at_once = False
            scene.of.pull(4, NO_END)
            scene.gate.go_on.set()
        assert scene.answers == [None]
        assert scene.of.needs_admission
        scene.gate.holds = False
        batch = await scene.of.wait_admitted()
        assert batch is not None
        assert batch.items == [4, 5, 6, 7]

    run(main)


def test_items_are_taken_one_by_one_and_in_order(run) -> None:
    async def main() -> None:
        scene = Asleep(6, kind="items")
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await settle()
            assert scene.take(admits=True) == [0]
            assert scene.take(admits=False) is None
            assert scene.take(admits=True) == [1]
            assert scene.take(admits=False) is None
            assert [scene.take(admits=True) for _ in range(2)] == [[2], [3]]
            assert not scene.of.waits_for_memory
            scene.gate.go_on.set()
        assert scene.answers == [None]

    run(main)


@pytest.mark.parametrize("taken", [True, False])
def test_a_waiter_that_is_cancelled_takes_no_batch_with_it_that_was_taken(run, taken: bool) -> None:
    async def main() -> None:
        scene = Asleep()
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            await settle()
            assert not taken or scene.take(admits=True) == [0, 1, 2, 3]
            scene.scope.cancel()
        assert scene.answers == []
        assert not scene.of.waits_for_memory
        assert not scene.of._admitting
        scene.gate.at_once = True
        batch = scene.of.pull(4, NO_END)
        assert batch is not None
        assert batch.items == [4, 5, 6, 7]

    run(main)


def test_a_part_that_is_taken_leaves_the_rest_in_its_place(run) -> None:
    async def main() -> None:
        scene = Asleep()
        scene.gate.waiting = [False]
        async with anyio.create_task_group() as group:
            group.start_soon(scene.wait)
            while len(scene.gate.asked) < 3:  # it waits for the first half
                await anyio.sleep(0)
            assert scene.take(admits=True) == [0, 1]
            assert scene.of.waits_for_memory
            assert scene.take(admits=True) == [2, 3]
            assert not scene.of.waits_for_memory
            scene.gate.go_on.set()
        assert scene.answers == [None]

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


def batches_of(weights: list[float], size: int, most: float) -> list[Batch]:
    of, got = intake(weights, hint=float), []
    while not of.done:
        batch = of.pull(size, NO_END, lambda: most)
        if batch is not None:
            got.append(batch)
    return got


def test_what_goes_beyond_is_topped_up_from_the_source() -> None:
    """No tiny batch between large ones."""
    weights = [1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    got = batches_of(weights, 4, 11.0)
    assert [(b.start, b.items, b.full) for b in got] == [
        (0, [1.0, 1.0, 1.0], True),
        (3, [9.0, 1.0, 1.0], True),
        (6, [1.0, 1.0, 1.0, 1.0], True),
    ]


def test_the_rest_of_a_source_that_has_ended_is_not_full() -> None:
    got = batches_of([5.0, 5.0, 5.0], 2, 6.0)
    assert [(b.start, b.size, b.full) for b in got] == [(0, 1, True), (1, 1, True), (2, 1, False)]


@given(
    weights=st.lists(st.floats(0, 10), max_size=60),
    size=st.integers(1, 12),
    most=st.floats(0.5, 40),
)
def test_hinted_batches_are_as_large_as_they_may_be_and_nothing_is_lost(
    weights: list[float], size: int, most: float
) -> None:
    got = batches_of(weights, size, most)
    assert [each for batch in got for each in batch.items] == weights
    assert [each for batch in got for each in batch.weights or []] == weights
    end = 0
    for batch in got:
        assert batch.start == end
        end += batch.size
        assert 1 <= batch.size <= size
        assert batch.size == 1 or sum(batch.weights or []) <= most
        one_more = weights[batch.start : end + 1]
        if batch.size < size and end < len(weights):
            assert sum(one_more) > most
            assert batch.full
    if got:
        assert got[-1].full == (got[-1].size == size)


class Drip:
    """A source that has a few items there now."""

    ended, error, pulled, length = False, None, 0, None

    @staticmethod
    def place(ordinal: int) -> int:
        return ordinal

    def __init__(self, items: list[float]) -> None:
        self.items = items
        self.asked: list[tuple[int, bool]] = []

    def take(self, count: int, *, whole: bool = False) -> list[float]:
        self.asked.append((count, whole))
        if whole and len(self.items) < count:
            return []
        taken, self.items = self.items[:count], self.items[count:]
        return taken


def test_what_was_pulled_before_waits_for_no_whole_batch() -> None:
    source = Drip([1.0, 9.0, 1.0, 1.0])
    of = Intake(plan("batches", hint=float), source, FakeGate())  # type: ignore[arg-type]  # a fake
    first = of.pull(4, NO_END, lambda: 5.0)
    source.items = [1.0]
    second = of.pull(4, NO_END, lambda: 50.0)
    third = of.pull(4, NO_END, lambda: 50.0)
    assert first is not None
    assert second is not None
    assert third is None
    assert (first.items, first.full) == ([1.0], True)
    assert (second.items, second.full) == ([9.0, 1.0, 1.0, 1.0], True)
    assert source.asked == [(4, True), (1, False), (4, True)]


def test_what_goes_beyond_begins_the_next_batch_and_nothing_is_lost() -> None:
    of = intake([1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 9.0], hint=float)
    batches = []
    while not of.done:
        batch = of.pull(4, NO_END, lambda: 6.0)
        if batch is not None:
            batches.append((batch.start, batch.items, batch.full))
    assert [start for start, _, _ in batches] == [0, 2, 4, 6]
    assert [items for _, items, _ in batches] == [[1.0, 1.0], [5.0, 1.0], [1.0, 1.0], [9.0]]
    assert [full for _, _, full in batches] == [True, True, True, False]
