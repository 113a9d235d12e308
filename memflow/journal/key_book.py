"""Finished keys and their kept results, in the database and in memory.

Covers the table `keyed`. Not covered: positions (`memflow.journal.position_book`), transactions and threads
(`memflow.journal.sqlite`).
"""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from memflow.exceptions import DuplicateKeyError, JournalError
from memflow.journal.base import NOTHING, ItemId, KeptResult
from memflow.journal.chunks import Chunker
from memflow.journal.codec import Codec
from memflow.journal.done import Digests, Positions
from memflow.journal.keys import DIGEST_BYTES

__all__ = ["KeyBook"]

_Entry = tuple[int, Any, Any]
_ROWS_KEPT = 8
"""Rows whose results stay at hand: items come back much in the order in which they were finished."""


class KeyBook:
    """What is finished in a run with keys."""

    def __init__(self, path: str, codec: Codec) -> None:
        self._path = path
        self._codec = codec
        self._chunker = Chunker(path, codec)
        self._before = Digests(tagged=True)
        self._since = Digests(tagged=True)
        self._next_row = 1
        self._at_hand: dict[int, dict[bytes, Any]] = {}

    def load(self, db: sqlite3.Connection, settled: int) -> None:
        """Read which keys are finished."""
        self._before = Digests(tagged=True)
        self._since = Digests(tagged=True)
        self._next_row = 1
        self._at_hand.clear()
        for row, digests in db.execute("SELECT id, digests FROM keyed"):
            self._before.add_packed(digests, row)
            self._next_row = row + 1

    def snapshot(self) -> tuple[Positions, Digests | None]:
        """Return what is finished now, for the run; what is added later is held apart."""
        return Positions(), self._before

    def __contains__(self, item: ItemId) -> bool:
        return isinstance(item, bytes) and (item in self._before or item in self._since)

    def note(self, item: ItemId) -> None:
        """Take an item as finished, since it failed."""
        if isinstance(item, bytes):
            self._since.add([item])

    def note_at_opening(self, item: ItemId) -> None:
        """Take an item as finished, since it failed before."""
        if isinstance(item, bytes):
            self._before.add([item])

    def write(self, db: sqlite3.Connection, finished: Sequence[_Entry], report: Callable[[JournalError], None]) -> None:
        """Write finished items; keys that are there already, and results that are not stored, are reported."""
        digests = [entry[2][0] for entry in finished]
        there = self._since.held(digests) | self._before.held(digests)
        if there or len(set(digests)) < len(digests):
            finished = self._first_time(db, finished, there, report)
        plain = [entry for entry in finished if entry[1] is NOTHING]
        if plain:
            self._append(db, plain, None)
        if len(plain) < len(finished):
            kept = [entry for entry in finished if entry[1] is not NOTHING]
            for part, results in self._chunker.chunk(kept, report):
                self._append(db, part, results)

    def _first_time(
        self,
        db: sqlite3.Connection,
        finished: Sequence[_Entry],
        there: set[bytes],
        report: Callable[[JournalError], None],
    ) -> list[_Entry]:
        """Leave out keys that are recorded already: the same item again is none the worse, another one is reported."""
        here: dict[bytes, int] = {}
        left = []
        for entry in finished:
            position, _, (digest, text) = entry
            if digest not in here and digest not in there:
                here[digest] = position
                left.append(entry)
                continue
            first = here[digest] if digest in here else self._position_of(db, digest)
            if first != position:
                report(DuplicateKeyError(self._path, text, first, position))
        return left

    def _append(self, db: sqlite3.Connection, part: Sequence[_Entry], results: bytes | None) -> None:
        row = self._next_row
        digests = [entry[2][0] for entry in part]
        positions = array("q", [entry[0] for entry in part]).tobytes()
        db.execute("INSERT INTO keyed VALUES (?, ?, ?, ?)", (row, b"".join(digests), positions, results))
        self._next_row += 1
        self._since.add(digests, row)

    def _position_of(self, db: sqlite3.Connection, digest: bytes) -> int:
        """Find where a key was finished or given up; every row is searched, since this only words an error."""
        for digests, positions in db.execute(
            "SELECT digests, positions FROM keyed WHERE instr(digests, ?) UNION ALL "
            "SELECT item, position FROM failures WHERE item = ?",
            (digest, digest),
        ):
            if isinstance(positions, int):
                return positions
            at = _place(digests, digest)
            if at >= 0:
                return int(array("q", positions)[at])
        return -1

    def settle(self, db: sqlite3.Connection, before: int, now: int) -> None:
        """Keep everything: keys are needed for as long as the run may be resumed."""

    def release(self, db: sqlite3.Connection, items: Sequence[ItemId], settled: int) -> None:
        """Let keys run again."""
        for digest in items:
            if isinstance(digest, bytes):
                self._before.remove(digest)
                self._since.remove(digest)

    def count(self, failures: int) -> int:
        """How many items are finished, without `failures` of them."""
        return len(self._before) + len(self._since) - failures

    def result(self, db: sqlite3.Connection, digest: bytes) -> Any:
        """Give the kept result of a key, or `NOTHING`."""
        row = self._since.tag(digest) or self._before.tag(digest)
        if row is None:
            return NOTHING
        if row not in self._at_hand:
            while len(self._at_hand) >= _ROWS_KEPT:
                del self._at_hand[next(iter(self._at_hand))]
            self._at_hand[row] = self._read(db, row)
        return self._at_hand[row].get(digest, NOTHING)

    def _read(self, db: sqlite3.Connection, row: int) -> dict[bytes, Any]:
        found = db.execute("SELECT digests, results FROM keyed WHERE id = ?", (row,)).fetchone()
        if found is None or found[1] is None:
            return {}
        return dict(zip(_cut(found[0]), self._codec.load(found[1]), strict=True))

    def results(
        self, query: Callable[[str, tuple[int, ...]], list[Any]], first: int, last: int
    ) -> Iterator[tuple[int, Any]]:
        """Results are asked for by key."""
        return iter(())

    def all_results(self, query: Callable[[str, tuple[int, ...]], list[Any]]) -> Iterator[KeptResult]:
        """Give every kept result in order of position, a row at a time; rows may lie across each other."""
        firsts = query("SELECT id, positions FROM keyed WHERE results IS NOT NULL", ())
        rows = sorted((min(array("q", positions)), row) for row, positions in firsts)
        waiting: list[tuple[int, int, KeptResult]] = []
        count = itertools.count()  # so that no two results are ever compared
        for first, row in rows:
            while waiting and waiting[0][0] < first:
                yield heapq.heappop(waiting)[2]
            for digests, positions, data in query("SELECT digests, positions, results FROM keyed WHERE id = ?", (row,)):
                for each in zip(array("q", positions), _cut(digests), self._codec.load(data), strict=True):
                    heapq.heappush(waiting, (each[0], next(count), KeptResult(*each)))
        while waiting:
            yield heapq.heappop(waiting)[2]


def _cut(digests: bytes) -> Iterator[bytes]:
    """Give the digests that lie side by side."""
    return (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))


def _place(digests: bytes, digest: bytes) -> int:
    """Return the place of a digest among those that lie side by side, -1 where it is not there."""
    at = digests.find(digest)
    while at % DIGEST_BYTES and at >= 0:
        at = digests.find(digest, at + 1)
    return at // DIGEST_BYTES if at >= 0 else -1
