"""What is finished, held compactly: positions as ranges, keys as digests. Pure.

Covers adding, asking and walking. Not covered: how either is stored (`memflow.journal.sqlite`), what a digest is made
of (`memflow.journal.keys`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["Digests", "Positions"]

Range = tuple[int, int]
"""Positions from the first one up to the second one, which is not in it."""


class Positions:
    """A set of positions, as sorted ranges that neither touch nor overlap.

    A run that goes from the front to the back needs a few ranges however long it is. Adding behind the last one costs
    an append; elsewhere, the ranges behind move by one place, which is a move of memory.
    """

    __slots__ = ("_count", "_ends", "_starts")

    def __init__(self) -> None:
        self._starts: array[int] = array("q")
        self._ends: array[int] = array("q")
        self._count = 0

    @property
    def count(self) -> int:
        """How many positions there are."""
        return self._count

    def __contains__(self, position: int) -> bool:
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and position < self._ends[at]

    def add(self, first: int, count: int = 1) -> Range:
        """Add `count` positions from `first` on; those that are in it stay.

        Returns:
            The whole range that they are now part of.
        """
        starts, ends = self._starts, self._ends
        end = first + count
        if first < 0 or count < 1:
            raise ValueError(f"positions are 0 or more, and at least one at a time, not {count} from {first} on")
        if not ends or first > ends[-1]:
            starts.append(first)
            ends.append(end)
            self._count += count
            return first, end
        low = bisect_left(ends, first)  # the first range that touches it
        high = bisect_right(starts, end)  # the first range behind it
        if low == high:
            starts.insert(low, first)
            ends.insert(low, end)
            self._count += count
            return first, end
        start, stop = min(first, starts[low]), max(end, ends[high - 1])
        held = sum(ends[i] - starts[i] for i in range(low, high))
        starts[low], ends[low] = start, stop
        if high - low > 1:
            del starts[low + 1 : high]
            del ends[low + 1 : high]
        self._count += stop - start - held
        return start, stop

    def remove(self, position: int) -> None:
        """Take one position out, if it is in it."""
        at = bisect_right(self._starts, position) - 1
        if at < 0 or position >= self._ends[at]:
            return
        start, end = self._starts[at], self._ends[at]
        parts = [part for part in ((start, position), (position + 1, end)) if part[0] < part[1]]
        self._starts[at : at + 1] = array("q", [part[0] for part in parts])
        self._ends[at : at + 1] = array("q", [part[1] for part in parts])
        self._count -= 1

    def meets(self, first: int, end: int) -> bool:
        """Whether any position from `first` up to, not including, `end` is in it."""
        at = bisect_right(self._ends, first)
        return at < len(self._starts) and self._starts[at] < end

    def next_missing(self, position: int) -> int:
        """Return the first position from `position` on that is not in it."""
        at = bisect_right(self._starts, position) - 1
        return self._ends[at] if at >= 0 and position < self._ends[at] else position

    def ranges(self) -> Iterator[Range]:
        """Give the ranges in order."""
        return zip(self._starts, self._ends, strict=True)

    def copy(self) -> Positions:
        """Return a set of the same positions that changes by itself."""
        other = Positions()
        other._starts, other._ends, other._count = self._starts[:], self._ends[:], self._count
        return other


class Digests:
    """A set of digests of 16 bytes, each with a small number if wanted; as compact as the digests themselves.

    A table of buckets, each a run of digests side by side that is searched as a text is: a digest is random, so one
    that seems to lie across two of them is as rare as two keys with one digest. A Python set would take seven times the
    memory, and sorting would take a second of every start.

    Args:
        tagged: keep a number of 32 bits with each digest.
    """

    __slots__ = ("_buckets", "_count", "_tagged")

    def __init__(self, *, tagged: bool = False) -> None:
        self._tagged = tagged
        self._count = 0
        self._buckets = [bytearray() for _ in range(_FIRST_BUCKETS)]

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: bytes) -> bool:
        buckets = self._buckets
        return digest in buckets[hash(digest) % len(buckets)]

    def held(self, digests: Iterable[bytes]) -> set[bytes]:
        """Return those that are in it."""
        if not self._count:
            return set()
        buckets = self._buckets
        size = len(buckets)
        return {digest for digest in digests if digest in buckets[hash(digest) % size]}

    def add(self, digests: Iterable[bytes], tag: int = 0) -> None:
        """Add digests that are not in it (which is for the caller to know: looking costs more than adding)."""
        buckets = self._buckets
        size = len(buckets)
        end = tag.to_bytes(4, "little") if self._tagged else b""
        for digest in digests:
            buckets[hash(digest) % size] += digest + end
            self._count += 1
        while self._count > len(self._buckets) * _FULL:
            self._spread()

    def add_packed(self, packed: bytes, tag: int = 0) -> None:
        """Add digests that lie side by side."""
        self.add([packed[at : at + 16] for at in range(0, len(packed), 16)], tag)

    def remove(self, digest: bytes) -> None:
        """Take a digest out, if it is in it."""
        bucket = self._buckets[hash(digest) % len(self._buckets)]
        at = bucket.find(digest)
        if at >= 0:
            del bucket[at : at + self._size()]
            self._count -= 1

    def tag(self, digest: bytes) -> int | None:
        """Return the number that was added with a digest; None where it is not in it, or numbers are not kept."""
        bucket = self._buckets[hash(digest) % len(self._buckets)]
        at = bucket.find(digest)
        if at < 0 or not self._tagged:
            return None
        return int.from_bytes(bucket[at + 16 : at + 20], "little") & ~(_MET << 24)

    def meet(self, digest: bytes) -> int:
        """Count how often a digest was met: 0 where it is not in it, 1 for the first time, 2 for any further one.

        Only where numbers are kept, of 31 bits then.
        """
        bucket = self._buckets[hash(digest) % len(self._buckets)]
        at = bucket.find(digest)
        if at < 0:
            return 0
        if bucket[at + 19] & _MET:
            return 2
        bucket[at + 19] |= _MET
        return 1

    def _size(self) -> int:
        return 20 if self._tagged else 16

    def _spread(self) -> None:
        """Make four buckets of each, so that searching one stays short."""
        size, count = self._size(), len(self._buckets) * 4
        spread = [bytearray() for _ in range(count)]
        for bucket in self._buckets:
            entries = bytes(bucket)
            for at in range(0, len(entries), size):
                spread[hash(entries[at : at + 16]) % count] += entries[at : at + size]
        self._buckets = spread


_FIRST_BUCKETS = 1 << 10
_MET = 0x80
_FULL = 64
"""Digests in a bucket, on average, at which there are too many: a search is then half a microsecond."""
