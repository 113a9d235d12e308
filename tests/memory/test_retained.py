"""What is done about freed memory that the C library keeps."""

from __future__ import annotations

import pytest

from memflow.memory import retained
from memflow.memory.readings import AllocatorReading, MemoryLimit, MemoryReading
from memflow.memory.retained import Retained, limit_kills
from memflow.memory.state import MemoryState
from memflow.settings import MemoryManagerSettings

MIB = 2**20
LIMIT = 1000 * MIB


class Heap:
    """A heap that says what it is told, and counts what is done to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, live: int = 100, free: int = 0, known: bool = True) -> None:
        self.live, self.free, self.known = live, free, known
        self.trims: list[float] = []
        self.pins = self.unpins = self.shares = 0
        self.can_share = False
        self.system_s = 0.0
        self.now_s = 0.0
        self.trim_s = 0.0
        self.state = MemoryState()
        self.state.limit = MemoryLimit(LIMIT, "the test", "cgroup")
        monkeypatch.setattr(MemoryState, "allocator", lambda _: self.read())
        monkeypatch.setattr(retained, "trim", self.trim)
        monkeypatch.setattr(retained, "mmap_threshold_is_set", lambda: False)
        monkeypatch.setattr(retained, "share_arena", self.share)
        monkeypatch.setattr(retained, "pin_mmap_threshold", self.pin)
        monkeypatch.setattr(retained, "unpin_mmap_threshold", self.unpin)

    def read(self) -> AllocatorReading:
        if not self.known:
            return AllocatorReading(0, None, None)
        return AllocatorReading(0, self.live * MIB, self.free * MIB)

    def trim(self) -> bool:
        self.trims.append(self.now_s)
        self.now_s += self.trim_s
        return True

    def pin(self, threshold: int) -> bool:
        self.pins += 1
        return True

    def share(self) -> bool:
        self.shares += 1
        return self.can_share

    def unpin(self, untrimmed_bytes: int) -> bool:
        assert untrimmed_bytes == LIMIT // 8
        self.unpins += 1
        return True

    def of(self, *, may_pin: bool = True, **settings: bool) -> Retained:
        return Retained(
            MemoryManagerSettings(**settings),
            self.state,
            lambda: self.now_s,
            may_pin=may_pin,
            system_s=lambda: self.system_s,
        )

    def reading(self, rss: int, in_use: int | None = None) -> MemoryReading:
        used = (rss if in_use is None else in_use) * MIB
        found = MemoryReading(self.now_s, rss * MIB, rss * MIB, used, LIMIT)
        self.state.reading = found
        return found


def test_what_is_free_and_resident_is_given_back_at_once(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    of = heap.of()
    of.begin(heap.reading(130))  # 30 are the program's own
    heap.free = 300
    of.give_back(heap.reading(430, 950))
    assert (heap.trims, heap.pins) == ([0.0], 1)


def test_pages_that_were_given_back_already_are_no_reason_to_trim(monkeypatch) -> None:
    """The C library counts them as free for ever after."""
    heap = Heap(monkeypatch)
    of = heap.of()
    of.begin(heap.reading(130))
    heap.free = 300
    of.give_back(heap.reading(140, 950))
    assert heap.trims == []


def test_trimming_takes_a_quarter_of_the_time_at_most(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    of = heap.of()
    of.begin(heap.reading(130))
    heap.free, heap.trim_s = 300, 0.02
    while heap.now_s < 2.0:
        of.give_back(heap.reading(430, 950))
        heap.now_s += 0.001
    assert 0.15 <= 0.02 * len(heap.trims) / heap.now_s <= 0.26


@pytest.mark.parametrize("case", ["setting", "host", "unknown"])
def test_nothing_is_trimmed_where_it_is_not_wanted_or_not_known(monkeypatch, case: str) -> None:
    heap = Heap(monkeypatch, known=case != "unknown")
    of = heap.of(trim=case != "setting")
    if case == "host":
        heap.state.limit = MemoryLimit(LIMIT, "the test", "host")
        assert not limit_kills(heap.state)
    of.begin(heap.reading(130))
    heap.free = 300
    of.give_back(heap.reading(430, 950))
    assert heap.trims == []


def test_it_pins_once_what_stays_free_while_memory_is_short(monkeypatch) -> None:
    heap = Heap(monkeypatch, free=200)
    of = heap.of()
    for _ in range(30):
        of.watch(heap.reading(300, 400))  # not short
        heap.now_s += 0.05
    assert heap.pins == 0
    for _ in range(30):
        of.watch(heap.reading(300, 600))
        heap.now_s += 0.05
    assert heap.pins == 1
    assert of.is_worth_trimming()
    of.trimmed()
    assert not of.is_worth_trimming()


def test_what_is_expected_is_pinned_as_soon_as_the_limit_is_known(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    limit, heap.state.limit = heap.state.limit, None
    of = heap.of()
    of.expect()
    assert heap.pins == 0
    heap.state.limit = limit
    of.watch(heap.reading(100))
    assert heap.pins == 1


def test_another_process_s_allocator_is_left_alone(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    heap.of(may_pin=False).expect()
    heap.of(pin_mmap_threshold=False).expect()
    assert heap.pins == 0


def test_trimming_makes_room_for_what_is_large_where_about_as_much_is_free(monkeypatch) -> None:
    heap = Heap(monkeypatch, free=40)
    of = heap.of()
    heap.reading(300)
    assert of.would_make_room(80 * MIB)
    assert not of.would_make_room(90 * MIB)
    assert not of.would_make_room(40 * MIB)  # not large


def test_trimming_makes_room_for_anything_that_is_not_served_from_what_is_free(monkeypatch) -> None:
    heap = Heap(monkeypatch, live=200)
    of = heap.of()
    of.begin(heap.reading(300))
    heap.live, heap.free = 600, 250
    heap.reading(950)
    assert not of.would_make_room(MIB)  # it is given from there
    of.expect()  # and now it is not
    assert of.would_make_room(MIB)
    assert not of.would_make_room(0)
    heap.free = 40
    heap.reading(740)
    assert not of.would_make_room(MIB)  # hardly anything to give back
    heap.free = 250
    heap.reading(950)
    of.trimmed()
    assert not of.would_make_room(MIB)  # what a trim has left is parts of pages
    heap.free = 310
    heap.reading(1000)
    assert of.would_make_room(MIB)  # more has been freed since


@pytest.mark.parametrize("threads", [False, True])
def test_what_costs_too_much_is_let_go_but_for_threads(monkeypatch, threads: bool) -> None:
    heap = Heap(monkeypatch)
    of = heap.of()
    of.expect(threads=threads)
    assert heap.pins == 1
    for _ in range(10):
        heap.now_s += 0.5
        heap.system_s += 0.4
        of.watch(heap.reading(300, 600))
    assert heap.unpins == (not threads)
    assert heap.pins == 1
    of.expect()
    assert heap.pins == 1 + (not threads)


def test_threads_that_share_an_arena_are_no_reason_to_pin(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    heap.can_share = True
    heap.of().expect(threads=True)
    assert (heap.shares, heap.pins) == (1, 0)


def test_arenas_are_not_shared_without_threads_or_need_or_leave(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    heap.can_share = True
    heap.of().expect()
    assert heap.pins == 1
    heap.of(may_pin=False).expect(threads=True)
    heap.of(one_arena=False).expect(threads=True)
    assert heap.pins == 2
    heap.state.limit = MemoryLimit(LIMIT, "the test", "host")
    heap.of().expect(threads=True)
    assert (heap.shares, heap.pins) == (0, 2)


def test_what_was_never_pinned_is_never_let_go(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    monkeypatch.setattr(retained, "mmap_threshold_is_set", lambda: True)
    of = heap.of()
    of.expect()
    heap.now_s, heap.system_s = 10.0, 10.0
    of.watch(heap.reading(300, 600))
    assert (heap.pins, heap.unpins) == (0, 0)


def test_from_the_start_the_heap_keeps_large_blocks_under_a_limit_that_kills(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    heap.of().begin(heap.reading(130))
    assert heap.unpins == 1
    expecting = heap.of()
    expecting.expect(threads=True)
    expecting.begin(heap.reading(130))
    heap.of(may_pin=False).begin(heap.reading(130))
    heap.of(pin_mmap_threshold=False).begin(heap.reading(130))
    heap.state.limit = MemoryLimit(LIMIT, "the test", "host")
    heap.of().begin(heap.reading(130))
    assert heap.unpins == 1


def test_what_the_environment_chose_is_left_alone(monkeypatch) -> None:
    heap = Heap(monkeypatch)
    monkeypatch.setattr(retained, "mmap_threshold_is_set", lambda: True)
    heap.of().begin(heap.reading(130))
    assert (heap.pins, heap.unpins) == (0, 0)
