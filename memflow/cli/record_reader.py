"""From the bytes of an input to its records, thousands of lines at a time.

Covers splitting, decoding and parsing, with the number of every line, and what happens to a record that cannot be
read. Opening and decompressing is `records`'s. Everything here blocks and runs in a thread; memory is bounded by a
block of the file and its records, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from memflow.cli.record_csv import parse_csv
from memflow.cli.record_field import pick_field
from memflow.cli.record_lines import ADVICE, BOM, Lines, describe_encoding, too_long
from memflow.cli.records import BadRecordPolicy, InputFile, RecordFormat
from memflow.exceptions import RecordError

__all__ = ["RecordReader"]

Entry = tuple[int, Any]
"""A line number, counted from 1, and a record, or a RecordError in a bad one's place."""


class RecordReader:
    """Records of one input, in chunks.

    Args:
        file: Where the bytes come from.
        record_format: How they are to be read.
        on_bad_record: "stop" raises at the first bad record, after everything before it was given out; "skip"
            passes it to `on_skip` and goes on.
        on_skip: Told of each record that was passed over.
        passed_lines: Lines to pass over unread; not for CSV, whose first line is needed.
        field: The field of each record that is the item; None: the whole record.
    """

    def __init__(
        self,
        file: InputFile,
        *,
        record_format: RecordFormat,
        on_bad_record: BadRecordPolicy = "stop",
        on_skip: Callable[[RecordError], None] | None = None,
        passed_lines: int = 0,
        field: str | None = None,
    ) -> None:
        self._skip = on_bad_record == "skip"
        self._on_skip = on_skip
        self._error: RecordError | None = None
        chunks = _PARSERS[record_format](Lines(file, passed=passed_lines), file.path)
        self._chunks = chunks if field is None else pick_field(chunks, field, file.path)

    def read_chunk(self) -> list[Entry]:
        """The next records with their line numbers; none at the end.

        Raises:
            RecordError: A record or the file cannot be read, once everything before it was given out.
        """
        while True:
            if self._error is not None:
                raise self._error
            try:
                entries = next(self._chunks, None)
            except RecordError as error:
                self._error = error
                continue
            if entries is None:
                return []
            good = self._sift(entries)
            if good:
                return good

    def _sift(self, entries: list[Entry]) -> list[Entry]:
        """Take the bad records out; with "stop", also everything behind the first."""
        good: list[Entry] = []
        for entry in entries:
            if not isinstance(entry[1], RecordError):
                good.append(entry)
            elif self._skip:
                if self._on_skip is not None:
                    self._on_skip(entry[1])
            else:
                self._error = entry[1]
                break
        return good


def _parse_each(lines: Lines, path: str, parse: Callable[[bytes], Any]) -> Iterator[list[Entry]]:
    """Records of formats with one record a line. `parse` raises ValueError, or gives `_BLANK` for no record."""
    while (block := lines.read_block()) is not None:
        entries: list[Entry] = []
        for line in block:
            lines.number += 1
            entry = _parse_line(line, lines, path, parse)
            if entry is not _BLANK:
                entries.append((lines.number, entry))
        yield entries


def _parse_line(line: bytes | None, lines: Lines, path: str, parse: Callable[[bytes], Any]) -> Any:
    if line is None:
        return too_long(path, lines.number)
    if lines.number == 1:
        line = line.removeprefix(BOM)
    try:
        return parse(line)
    except ValueError as error:
        problem = _describe(error, line)
        return RecordError(path, lines.number, f"half-written last line: {problem}" if lines.cut else problem, ADVICE)


_BLANK = object()


def _parse_json(line: bytes) -> Any:
    # pydantic_core's parser, since it keeps integers of any length and NaN as they are.
    return from_json(line) if line.strip() else _BLANK


def _parse_text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode()


def _describe(error: ValueError, line: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return describe_encoding(error)
    reason = str(error).replace(" at line 1 column ", " at column ")
    start = line[:40].decode(errors="replace")
    return f"not JSON: {reason} (it starts with {start!r})"


_PARSERS: dict[RecordFormat, Callable[[Lines, str], Iterator[list[Entry]]]] = {
    "jsonl": lambda lines, path: _parse_each(lines, path, _parse_json),
    "csv": parse_csv,
    "lines": lambda lines, path: _parse_each(lines, path, _parse_text),
}
