"""Addresses without pages, by the book and by what can be read of a process."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.holes import Holes


class Space:
    """Pages and addresses of a process, and which of them are holes, by the book."""

    def __init__(self) -> None:
        self.resident = self.holes = self.fresh = 0
        self.seen = Holes()
        self.note()

    @property
    def data(self) -> int:
        return self.resident + self.holes + self.fresh

    def note(self) -> int:
        return self.seen.add(resident_bytes=self.resident, data_bytes=self.data)

    def map_touched(self, count: int) -> None:
        self.resident += count

    def unmap_touched(self, count: int) -> None:
        self.resident -= min(count, self.resident)

    def trim(self, count: int) -> None:
        count = min(count, self.resident)
        self.resident, self.holes = self.resident - count, self.holes + count

    def refill(self, count: int) -> None:
        count = min(count, self.holes)
        self.resident, self.holes = self.resident + count, self.holes - count

    def reserve(self, count: int) -> None:
        self.fresh += count

    def touch(self, count: int) -> None:
        count = min(count, self.fresh)
        self.resident, self.fresh = self.resident + count, self.fresh - count


def follow(steps: list[tuple[str, int]]) -> Iterator[Space]:
    space = Space()
    for what, count in steps:
        getattr(space, what)(count)
        space.note()
        yield space


def steps_of(*names: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 1000)), max_size=40)


@given(steps_of("map_touched", "unmap_touched", "trim", "refill"))
def test_pages_that_went_while_addresses_stayed_are_holes_and_refilling_removes_them(steps):
    for space in follow(steps):
        assert space.seen.bytes == space.holes


@given(steps_of("map_touched", "unmap_touched", "reserve"))
def test_what_is_reserved_is_no_hole(steps):
    for space in follow(steps):
        assert space.seen.bytes == 0


@given(steps_of("map_touched", "unmap_touched", "trim", "refill", "reserve", "touch"))
def test_holes_are_never_negative_nor_more_than_there_are(steps):
    for space in follow(steps):
        # What is reserved may be touched: nobody can tell that from filling holes, and it is taken for that.
        assert 0 <= space.seen.bytes <= space.holes


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=40))
def test_whatever_is_read_holes_are_within_what_is_not_resident(readings):
    """Two numbers of two moments: there may be more pages than addresses."""
    holes, least_gap = Holes(), None
    for resident, data in readings:
        found = holes.add(resident_bytes=resident, data_bytes=data)
        least_gap = data - resident if least_gap is None else min(least_gap, data - resident)
        assert found == holes.bytes
        assert 0 <= found <= data - resident - least_gap


def test_a_trim_and_a_reservation_between_two_readings_are_told_apart_as_far_as_that_goes():
    holes = Holes()
    holes.add(resident_bytes=500, data_bytes=600)
    assert holes.add(resident_bytes=400, data_bytes=1600) == 100  # 100 pages went, whatever else was reserved
    assert holes.add(resident_bytes=300, data_bytes=1550) == 150  # half of these went with their addresses
