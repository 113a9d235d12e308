"""Results of many items in few rows: how they are cut, and which of them are not stored.

Covers the size of rows and the search for what is not stored. Which types are: `memflow.journal.codec`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from memflow.exceptions import ResultNotStorableError
from memflow.journal.codec import Codec, NotStorable

__all__ = ["MAX_ITEMS", "MAX_SPAN", "Chunker"]

MAX_ITEMS = 1000
"""Results in one row, at most."""
MAX_SPAN = 64
"""Positions that may be missing between two of a row."""
_MAX_BYTES = 1 << 20
_RESULT = itemgetter(1)

_Entry = tuple[int, Any, Any]


class Chunker:
    """Cuts finished items into rows of at most a thousand results or a mebibyte (one result may be larger)."""

    def __init__(self, path: str, codec: Codec) -> None:
        self._path = path
        self._codec = codec
        self._per_row = MAX_ITEMS

    def chunk(
        self, entries: Sequence[_Entry], report: Callable[[ResultNotStorableError], None]
    ) -> Iterator[tuple[Sequence[_Entry], bytes]]:
        """Give parts of the entries, in order, with their results dumped; those that are not stored are reported."""
        at = 0
        while at < len(entries):
            part = entries[at : at + self._per_row]
            at += len(part)
            yield from self._dump(part, report)

    def _dump(
        self, part: Sequence[_Entry], report: Callable[[ResultNotStorableError], None]
    ) -> Iterator[tuple[Sequence[_Entry], bytes]]:
        try:
            data = self._codec.dump(list(map(_RESULT, part)))
        except NotStorable as error:
            if len(part) == 1:
                report(ResultNotStorableError(self._path, error.type_name, part[0][0], error.problem))
                return
            yield from self._halves(part, report)
            return
        self._per_row = max(1, min(MAX_ITEMS, _MAX_BYTES * len(part) // len(data)))
        if len(data) > _MAX_BYTES and len(part) > 1:
            del data
            yield from self._halves(part, report)
        else:
            yield part, data

    def _halves(
        self, part: Sequence[_Entry], report: Callable[[ResultNotStorableError], None]
    ) -> Iterator[tuple[Sequence[_Entry], bytes]]:
        half = len(part) // 2
        yield from self._dump(part[:half], report)
        yield from self._dump(part[half:], report)
