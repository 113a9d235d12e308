"""CSV rows as dictionaries, named by the header row.

Covers quoted fields with line breaks in them, rows of the wrong length and a last row that was half-written. Lines
come from `record_lines`; writing CSV is `record_writer`'s.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from memflow.cli.record_lines import ADVICE, BOM, MAX_RECORD_BYTES, Lines, describe_encoding, too_long
from memflow.exceptions import RecordError

__all__ = ["parse_csv"]

Entry = tuple[int, Any]


class _TextLines:
    """The lines of a file as text with their breaks, as the csv module wants them; tells when a block is used up."""

    def __init__(self, lines: Lines, path: str) -> None:
        self._lines = lines
        self._path = path
        self._block: Iterator[bytes | None] = iter(())
        self.left = 0
        """Lines of the present block that were not given out yet."""

    def __iter__(self) -> _TextLines:
        return self

    def __next__(self) -> str:
        while not self.left:
            block = self._lines.read_block()
            if block is None:
                raise StopIteration
            self._block, self.left = iter(block), len(block)
        line = next(self._block)
        self.left -= 1
        self._lines.number += 1
        if line is None:
            raise too_long(self._path, self._lines.number)
        if self._lines.number == 1:
            line = line.removeprefix(BOM)
        return line.decode() + ("" if self._lines.cut else "\n")


def parse_csv(lines: Lines, path: str) -> Iterator[list[Entry]]:
    """Rows as dictionaries with the number of their first line, a block's worth at a time; bad ones as errors."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    text = _TextLines(lines, path)
    rows = csv.reader(text, strict=True)
    header = _read_header(rows, path)
    entries: list[Entry] = []
    try:
        while (entry := _next_entry(rows, header, lines, path)) is not None:
            entries.append(entry)
            if not text.left:
                yield entries
                entries = []
    except RecordError:  # of the file itself: what came before it counts
        yield entries
        raise
    yield entries


def _next_entry(rows: Iterator[list[str]], header: list[str], lines: Lines, path: str) -> Entry | None:
    while True:
        number = lines.number + 1
        try:
            row = next(rows, None)
        except RecordError as error:
            if error.line is None:
                raise
            return number, error
        except (csv.Error, UnicodeDecodeError) as error:
            return number, RecordError(path, number, _describe(error, lines), ADVICE)
        if row is None:
            return None
        if row:  # a blank line is no row
            if len(row) == len(header):
                return number, dict(zip(header, row, strict=True))
            return number, RecordError(path, number, _describe_length(row, header, lines), ADVICE)


def _read_header(rows: Iterator[list[str]], path: str) -> list[str]:
    try:
        header = next(rows, [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordError(path, 1, f"the header row cannot be read: {error}") from error
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RecordError(path, 1, f"the header row names {twice[0]!r} twice", "give each column a name of its own")
    return header


def _describe(error: Exception, lines: Lines) -> str:
    if isinstance(error, UnicodeDecodeError):
        return describe_encoding(error)
    if "unexpected end of data" in str(error):
        return "half-written last row: a quote is opened and never closed"
    if "field limit" in str(error):
        return f"a field is longer than {MAX_RECORD_BYTES >> 20} MiB; most likely a quote is opened and never closed"
    return f"{'half-written last line: ' if lines.cut else ''}not CSV: {error}"


def _describe_length(row: list[str], header: list[str], lines: Lines) -> str:
    problem = f"the row has {len(row)} fields, and the header names {len(header)}"
    return f"half-written last line: {problem}" if lines.cut else problem
