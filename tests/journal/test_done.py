"""Positions as ranges and digests in buckets: `memflow.journal.done`, against plain sets."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.journal.done import Digests, Positions

ADDS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=30)


def digest(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def as_ranges(held: set[int]) -> list[tuple[int, int]]:
    starts = sorted(i for i in held if i - 1 not in held)
    ends = sorted(i + 1 for i in held if i + 1 not in held)
    return list(zip(starts, ends, strict=True))


@given(adds=ADDS, gone=st.lists(st.integers(0, 75), max_size=8))
def test_positions_are_a_set(adds: list[tuple[int, int]], gone: list[int]) -> None:
    positions, held = Positions(), set[int]()
    for first, count in adds:
        start, end = positions.add(first, count)
        held |= set(range(first, first + count))
        assert (start, end) in as_ranges(held)
        assert start <= first < first + count <= end
    for position in gone:
        positions.remove(position)
        held.discard(position)
    assert list(positions.ranges()) == as_ranges(held)
    assert positions.count == len(held)
    assert [i in positions for i in range(80)] == [i in held for i in range(80)]


@given(adds=ADDS)
def test_what_is_missing_next_is_missing(adds: list[tuple[int, int]]) -> None:
    positions = Positions()
    for first, count in adds:
        positions.add(first, count)
    for position in range(80):
        missing = positions.next_missing(position)
        assert missing not in positions
        assert all(each in positions for each in range(position, missing))


@given(adds=ADDS, first=st.integers(0, 80), count=st.integers(1, 20))
def test_meeting_is_having_one_in_common(adds: list[tuple[int, int]], first: int, count: int) -> None:
    positions = Positions()
    for start, length in adds:
        positions.add(start, length)
    assert positions.meets(first, first + count) == any(i in positions for i in range(first, first + count))


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 0)])
def test_nonsense_is_no_position(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="positions are 0 or more"):
        Positions().add(first, count)


def test_a_copy_changes_by_itself() -> None:
    positions = Positions()
    positions.add(0, 5)
    copy = positions.copy()
    positions.add(7)
    copy.remove(2)
    assert list(positions.ranges()) == [(0, 5), (7, 8)]
    assert list(copy.ranges()) == [(0, 2), (3, 5)]


@given(numbers=st.sets(st.integers(0, 500)), tagged=st.booleans())
def test_digests_are_a_set(numbers: set[int], tagged: bool) -> None:
    digests = Digests(tagged=tagged)
    for number in numbers:
        digests.add([digest(number)], number)
    for number in list(numbers)[::2]:
        digests.remove(digest(number))
    held = set(list(numbers)[1::2])
    assert len(digests) == len(held)
    assert {i for i in range(501) if digest(i) in digests} == held
    assert all(digests.tag(digest(i)) == (i if tagged else None) for i in held)
    assert digests.tag(digest(501)) is None


@pytest.mark.parametrize("tagged", [True, False])
def test_many_digests_stay_found_while_the_table_grows(tagged: bool) -> None:
    digests = Digests(tagged=tagged)
    every = [digest(i) for i in range(100_000)]
    digests.add_packed(b"".join(every[:70_000]), 3)
    for each in every[70_000:]:
        digests.add([each], 4)
    assert len(digests) == 100_000
    assert all(each in digests for each in every)
    assert digests.held([digest(-1), *every]) == set(every)
    assert not any(digest(-i) in digests for i in range(1, 1000))
    assert digests.tag(every[5]) == (3 if tagged else None)
    assert digests.tag(every[-1]) == (4 if tagged else None)
