"""A reservation passes from a batch that has ended to the next, and nothing else changes."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.readings import MemoryReading
from memflow.memory.spacing import Spacing
from memflow.memory.state import MemoryState
from memflow.processing.batch import Batch
from memflow.processing.handover import Handover
from memflow.sizing.admission import Admission, Refusal, Reservation
from tests.processing.test_gate import MIB, Door


def batch(weight: float = 1.0, *, alone: bool = False) -> Batch:
    made = Batch(0, [None], [weight], full=True)
    made.alone = alone
    return made


class Desk:
    """A ledger of which 100 bytes of 1000 are in use, and one reservation of 300."""

    def __init__(self) -> None:
        self.state, self.admission = MemoryState(), Admission()
        self.foretold = 0
        self.handover = Handover(self.admission, self.state, self.predict)
        self.read()
        self.held = self.reserve(300)
        self.handover.admitted(self.reading)

    def predict(self, of: Batch, reading: MemoryReading) -> int:
        self.foretold += 1
        return int(of.weight)

    def read(self, now_s: float = 0.0) -> None:
        self.reading = self.state.reading = MemoryReading(now_s, 100, 100, 100, 1000)

    def reserve(self, count: int) -> Reservation:
        answer = self.admission.try_reserve(count, reading=self.reading, now_s=self.reading.time_s)
        assert isinstance(answer, Reservation)
        return answer

    def refuses(self, count: int, *, now_s: float = 0.0, pinned: bool = False) -> bool:
        answer = self.admission.try_reserve(count, reading=self.reading, now_s=now_s, pinned=pinned)
        if isinstance(answer, Reservation):
            answer.release()
        return isinstance(answer, Refusal)

    def take(self, following: Batch, waiter: str | None = None, *, now_s: float = 0.0) -> Reservation | None:
        return self.handover.take(following, waiter, now_s=now_s)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_whoever_follows_gets_the_same_bytes(desk: Desk) -> None:
    changes = desk.admission.changes
    assert desk.handover.keep(desk.held)
    assert desk.take(batch(300)) is desk.held
    assert (desk.admission.reserved_bytes, desk.admission.holders) == (300, 1)
    assert desk.admission.changes > changes  # there is progress
    assert desk.handover.drop() is None


def test_whoever_needs_less_gets_less(desk: Desk) -> None:
    desk.handover.keep(desk.held)
    assert desk.take(batch(200)) is desk.held
    assert desk.admission.reserved_bytes == desk.held.bytes == 200


def test_whoever_needs_more_gets_what_is_spare(desk: Desk) -> None:
    """Of 850 bytes that may be promised, 100 are in use and 320 promised: 430 are spare, for all who follow."""
    small = desk.reserve(20)
    desk.handover.keep(small)
    assert desk.take(batch(100)) is small
    assert (desk.admission.reserved_bytes, small.bytes, desk.admission.spare_bytes) == (400, 100, 350)
    desk.admission.spare_bytes = 15
    desk.handover.keep(small)
    assert desk.take(batch(116)) is None
    assert desk.take(batch(115)) is small
    assert desk.admission.spare_bytes == 0


def test_one_large_block_has_to_ask_for_more(desk: Desk) -> None:
    """What is spare counts what lies free in the heap, of which a block of more than 125 bytes of 1000 gets nothing."""
    small = desk.reserve(20)
    desk.handover.keep(small)
    assert desk.take(batch(126)) is None
    assert desk.take(batch(125)) is small


def test_what_is_more_counts_as_live_until_a_reading_shows_it(desk: Desk) -> None:
    """Of 880 bytes that may be live, 100 are in use when everything promised was allocated and freed again."""
    desk.held.release()
    small = desk.reserve(20)
    desk.read(now_s=1.0)
    desk.reserve(1)
    desk.handover.admitted(desk.reading)
    desk.handover.keep(small)
    assert desk.take(batch(120), now_s=1.5) is small
    desk.admission._share = 10.0
    assert desk.refuses(680, now_s=1.5)
    assert not desk.refuses(679, now_s=1.5)
    assert desk.refuses(660, now_s=1.5, pinned=True)  # what had ended makes no room for that, and what follows counts
    assert not desk.refuses(659, now_s=1.5, pinned=True)
    desk.read(now_s=2.0)
    assert not desk.refuses(700, now_s=2.0)


def test_where_more_is_wanted_nobody_follows_whom_the_last_that_asked_left_nothing(desk: Desk) -> None:
    small = desk.reserve(20)
    assert desk.refuses(431)
    desk.handover.keep(small)
    assert desk.take(batch(21)) is None
    assert desk.take(batch(20)) is small


def test_one_is_kept_and_no_more(desk: Desk) -> None:
    other = desk.reserve(10)
    assert desk.handover.keep(desk.held)
    assert not desk.handover.keep(other)
    assert desk.take(batch(10)) is desk.held


def test_a_new_reading_is_judged_first(desk: Desk) -> None:
    desk.read()
    assert not desk.handover.keep(desk.held)
    desk.handover.admitted(desk.reading)
    assert desk.handover.keep(desk.held)
    desk.read()
    assert desk.take(batch(300)) is None
    assert desk.handover.drop() is desk.held


def test_whoever_runs_alone_asks(desk: Desk) -> None:
    desk.handover.keep(desk.held)
    assert desk.take(batch(300, alone=True)) is None


def test_what_is_kept_alive_makes_no_room(desk: Desk) -> None:
    desk.handover.keep(desk.held)
    with desk.state.pins.held():
        assert desk.take(batch(300)) is None
    assert desk.take(batch(300)) is desk.held


def test_nobody_is_overtaken(desk: Desk) -> None:
    desk.admission.try_reserve(900, reading=desk.reading, now_s=0.0, waiter="other")
    desk.handover.keep(desk.held)
    assert desk.take(batch(300)) is None
    assert desk.take(batch(300), "me") is None
    assert desk.take(batch(300), "other") is desk.held
    assert not desk.admission.waits_besides(None)  # it has had its turn


def test_what_one_like_it_takes_is_foretold_once_a_reading(desk: Desk) -> None:
    for _ in range(3):
        desk.handover.keep(desk.held)
        assert desk.take(batch(300)) is desk.held
    assert desk.foretold == 1
    desk.handover.keep(desk.held)
    desk.take(batch(200))
    assert desk.foretold == 2


@given(
    st.lists(
        st.tuples(st.sampled_from(["end", "follow", "ask", "read", "drop"]), st.integers(1, 400)),
        min_size=1,
        max_size=60,
    )
)
def test_the_ledger_adds_up_whatever_happens(steps: list[tuple[str, int]]) -> None:
    desk = Desk()
    held = [desk.held]
    for what, count in steps:
        kept: Reservation | None = None
        if what == "end" and held:
            ended = held.pop()
            if not desk.handover.keep(ended):
                ended.release(now_s=0.0)
            continue
        if what == "follow":
            kept = desk.take(batch(count))
            held += [kept] if kept is not None else []
        elif what == "ask":
            answer = desk.admission.try_reserve(count, reading=desk.reading, now_s=0.0)
            if isinstance(answer, Reservation):
                desk.handover.admitted(desk.reading)
                held.append(answer)
        elif what == "read":
            desk.read()
        elif (kept := desk.handover.drop()) is not None:
            kept.release(now_s=0.0)
    last = desk.handover.drop()
    every = held + ([last] if last is not None else [])
    assert len({id(each) for each in every}) == len(every) == desk.admission.holders
    assert desk.admission.reserved_bytes == sum(each.bytes for each in every)
    assert desk.admission.reserved_bytes <= 850 - 100 or len(every) == 1


def test_a_gate_passes_on_between_two_readings_and_gives_back_when_nobody_follows(run_virtual) -> None:
    async def main() -> None:
        door = Door(bytes_each=400 * MIB)
        door.bundle.sampler.spacing = Spacing(10.0, 0.05)
        first, second, third = (Batch(n, [None], None, full=True) for n in range(3))
        door.bundle.sampler.sample()
        assert door.gate.try_enter(first)
        door.gate.crowded = False
        assert door.gate.try_enter(second)
        assert door.gate.crowded
        asked = door.bundle.admission.changes
        door.gate.leave(first, anyio.current_time(), followed=True)
        assert door.held == (800 * MIB, 2)
        assert door.gate.try_enter(third)
        assert third.reserved is not None
        assert first.reserved is None
        assert door.held == (800 * MIB, 2)
        assert door.bundle.admission.changes == asked + 1
        door.gate.leave(third, anyio.current_time(), followed=True)
        door.gate.nobody_follows()
        assert door.held == (400 * MIB, 1)
        door.gate.close()
        assert door.held == (0, 0)

    run_virtual(main)


def test_what_was_kept_is_given_back_with_the_gate(run_virtual) -> None:
    async def main() -> None:
        door = Door(bytes_each=400 * MIB)
        door.bundle.sampler.spacing = Spacing(10.0, 0.05)
        door.bundle.sampler.sample()
        first, second = (Batch(n, [None], None, full=True) for n in range(2))
        assert door.gate.try_enter(first)
        assert door.gate.try_enter(second)
        door.gate.leave(first, anyio.current_time(), followed=True)
        assert door.held == (800 * MIB, 2)
        door.gate.close()
        assert door.held == (0, 0)

    run_virtual(main)


def test_a_gate_counts_on_nothing_that_somebody_keeps_alive(run_virtual, monkeypatch) -> None:
    async def main() -> None:
        door, asked, reserve = Door(bytes_each=MIB), [], Admission.try_reserve

        def try_reserve(self: Admission, count: int, *, pinned: bool, **more: object) -> object:
            asked.append(pinned)
            return reserve(self, count, pinned=pinned, **more)  # type: ignore[arg-type]  # as given

        monkeypatch.setattr(Admission, "try_reserve", try_reserve)
        door.gate.try_enter(batch())
        with door.bundle.state.pins.held():
            door.gate.try_enter(batch())
        assert asked == [False, True]

    run_virtual(main)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("size", [5, 7])
def test_what_is_kept_for_somebody_who_does_not_come_holds_up_nobody(run_virtual, alone: bool, size: int) -> None:
    async def main() -> None:
        door = Door()
        door.bundle.sampler.spacing = Spacing(10.0, 0.05)
        door.bundle.sampler.sample()
        first, other = (Batch(n, [None] * size, None, full=True) for n, size in enumerate((6, size)))
        other.alone = alone
        assert door.gate.try_enter(first)
        door.gate.leave(first, anyio.current_time(), tell=False, followed=True)
        assert door.held == (600 * MIB, 1)
        with anyio.fail_after(1):
            assert await door.gate.wait_enter(other)
        assert door.held == (size * 100 * MIB, 1)

    run_virtual(main)
