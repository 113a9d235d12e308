"""Finished positions and their kept results, in the database and in memory.

Covers the tables `finished`, `kept` and `released`. Not covered: keys (`memflow.journal.key_book`), transactions and
threads (`memflow.journal.sqlite`).
"""

from __future__ import annotations

import heapq
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from memflow.exceptions import JournalError
from memflow.journal.base import NOTHING, ItemId, KeptResult
from memflow.journal.chunks import MAX_ITEMS, MAX_SPAN, Chunker
from memflow.journal.codec import Codec
from memflow.journal.done import Digests, Positions

__all__ = ["PositionBook"]

_Entry = tuple[int, Any, Any]
_Row = tuple[int, int, bytes | None, bytes]
_REACH = MAX_ITEMS * (MAX_SPAN + 1)
"""No row reaches further than this from its first position."""
_POSITION = itemgetter(0)
_PAGE = 4
"""Rows read at a time."""
_LAST = (1 << 62) - 1


class PositionBook:
    """What is finished in a run without keys."""

    def __init__(self, path: str, codec: Codec) -> None:
        self._codec = codec
        self._chunker = Chunker(path, codec)
        self._released = False
        self._settled = 0
        self.done = Positions()

    def load(self, db: sqlite3.Connection, settled: int) -> None:
        """Read which positions are finished; `settled` of them are delivered."""
        self.done = Positions()
        self._settled = settled
        if settled:
            self.done.add(0, settled)
        for first, count in db.execute("SELECT first, count FROM finished ORDER BY first"):
            self.done.add(first, count)
        for first, last, offsets in db.execute("SELECT first, last, offsets FROM kept ORDER BY first"):
            for start, end in _runs(_positions(first, last, offsets)) if offsets else ((first, last + 1),):
                self.done.add(start, end - start)
        # Last, since a row of results that reaches past what is delivered still names those before it.
        released = db.execute("SELECT position FROM released").fetchall()
        self._released = bool(released)
        for (position,) in released:
            self.done.remove(position)

    def snapshot(self) -> tuple[Positions, Digests | None]:
        """Return what is finished now, for the run."""
        return self.done.copy(), None

    def __contains__(self, item: ItemId) -> bool:
        return isinstance(item, int) and item in self.done

    def note(self, item: ItemId) -> None:
        """Take an item as finished, since it failed."""
        if isinstance(item, int):
            self.done.add(item)

    note_at_opening = note

    def write(self, db: sqlite3.Connection, finished: Sequence[_Entry], report: Callable[[JournalError], None]) -> None:
        """Write finished items; those that are not stored are reported."""
        plain = [entry[0] for entry in finished if entry[1] is NOTHING]
        if self._released:
            db.executemany("DELETE FROM released WHERE position = ?", [(entry[0],) for entry in finished])
        if plain:
            plain.sort()
            self._write_plain(db, plain)
        if len(plain) < len(finished):
            kept = [entry for entry in finished if entry[1] is not NOTHING] if plain else list(finished)
            kept.sort(key=_POSITION)
            self._write_kept(db, self._first_time(kept), report)

    def _write_plain(self, db: sqlite3.Connection, positions: Sequence[int]) -> None:
        """Keep the rows what the ranges in memory are: one that grows together with others takes their place."""
        ranges: dict[int, int] = {}
        for first, end in _runs(positions):
            start, stop = self.done.add(first, end - first)
            ranges[start] = stop
        db.executemany(
            "INSERT OR REPLACE INTO finished VALUES (?, ?)", [(start, end - start) for start, end in ranges.items()]
        )
        db.executemany("DELETE FROM finished WHERE first > ? AND first < ?", ranges.items())

    def _first_time(self, kept: list[_Entry]) -> list[_Entry]:
        """Leave out what is recorded already: what was recorded first stays."""
        done = self.done
        if not done.meets(kept[0][0], kept[-1][0] + 1) and len(set(map(_POSITION, kept))) == len(kept):
            return kept
        return list({entry[0]: entry for entry in reversed(kept) if entry[0] not in done}.values())[::-1]

    def _write_kept(
        self, db: sqlite3.Connection, kept: Sequence[_Entry], report: Callable[[JournalError], None]
    ) -> None:
        rows: list[_Row] = []
        for near in _near(kept):
            for part, results in self._chunker.chunk(near, report):
                positions = list(map(_POSITION, part))
                first, last = positions[0], positions[-1]
                gaps = last - first >= len(positions)
                for start, end in _runs(positions) if gaps else [(first, last + 1)]:
                    self.done.add(start, end - start)
                offsets = array("I", [position - first for position in positions]).tobytes() if gaps else None
                rows.append((first, last, offsets, results))
        db.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", rows)

    def settle(self, db: sqlite3.Connection, before: int, now: int) -> None:
        """Forget the rows of what is delivered: all before position `now`, and all before `before` was so already."""
        if now > before:
            self.done.add(before, now - before)
        self._settled = now
        db.execute("DELETE FROM finished WHERE first < ? AND first + count <= ?", (now, now))
        db.execute("DELETE FROM kept WHERE first < ? AND last < ?", (now, now))

    def release(self, db: sqlite3.Connection, items: Sequence[ItemId], settled: int) -> None:
        """Let positions run again."""
        for position in items:
            if not isinstance(position, int):
                continue
            self.done.remove(position)
            self._split(db, position)
            if position < settled:
                db.execute("INSERT OR IGNORE INTO released VALUES (?)", (position,))
                self._released = True

    def _split(self, db: sqlite3.Connection, position: int) -> None:
        """Take a position out of the range that it was written with."""
        query = "SELECT first, count FROM finished WHERE first <= ? ORDER BY first DESC LIMIT 1"
        for first, count in db.execute(query, (position,)).fetchall():
            if position >= first + count:
                return
            db.execute("DELETE FROM finished WHERE first = ?", (first,))
            parts = [(first, position - first), (position + 1, first + count - position - 1)]
            db.executemany("INSERT INTO finished VALUES (?, ?)", [part for part in parts if part[1]])

    def count(self, failures: int) -> int:
        """How many items are finished, without `failures` of them."""
        return self.done.count - failures

    def result(self, _db: sqlite3.Connection, _digest: bytes) -> Any:
        """There are no keys, so there is no result of one."""
        return NOTHING

    def results(
        self, query: Callable[[str, tuple[int, ...]], list[Any]], first: int, last: int
    ) -> Iterator[tuple[int, Any]]:
        """Give kept results in order, a few rows at a time; rows may lie across each other, so they are merged."""
        waiting: list[tuple[int, int, Any]] = []
        for start, end, offsets, data in _rows(query, first, last):
            while waiting and waiting[0][0] < start:
                position, _, result = heapq.heappop(waiting)
                yield position, result
            positions = _positions(start, end, offsets)
            for position, result in zip(positions, self._codec.load(data), strict=True):
                if first <= position <= last:
                    heapq.heappush(waiting, (position, len(waiting), result))
        while waiting:
            position, _, result = heapq.heappop(waiting)
            yield position, result

    def all_results(self, query: Callable[[str, tuple[int, ...]], list[Any]]) -> Iterator[KeptResult]:
        """Give every result that is not delivered yet, in order of position."""
        return (KeptResult(position, None, result) for position, result in self.results(query, self._settled, _LAST))


def _rows(query: Callable[[str, tuple[int, ...]], list[Any]], first: int, last: int) -> Iterator[_Row]:
    """Give the rows that reach into a range, in order, with no statement left open between two of them."""
    sql = "SELECT * FROM kept WHERE first >= ? AND first <= ? AND last >= ? ORDER BY first LIMIT ?"
    start = first - _REACH
    while rows := query(sql, (start, last, first, _PAGE)):
        yield from rows
        start = rows[-1][0] + 1


def _positions(first: int, last: int, offsets: bytes | None) -> Sequence[int]:
    return [first + offset for offset in array("I", offsets)] if offsets else range(first, last + 1)


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give the ranges of sorted positions; one that comes twice counts once."""
    start = end = positions[0]
    for position in positions:
        if position > end:
            yield start, end
            start = position
        end = position + 1
    yield start, end


def _near(kept: Sequence[_Entry]) -> Iterator[Sequence[_Entry]]:
    """Cut sorted entries where too many positions are missing between two."""
    if not kept or kept[-1][0] - kept[0][0] < len(kept) + MAX_SPAN:
        yield from [kept] if kept else []  # fewer are missing in all
        return
    at = 0
    for i in range(1, len(kept)):
        if kept[i][0] - kept[i - 1][0] > MAX_SPAN:
            yield kept[at:i]
            at = i
    if at < len(kept):
        yield kept[at:]
