"""Records of which one field is the item: what `--input-field` asks for.

Covers picking the field, and records that lack it. Its use is to give failed items to a later run: each line of a
failures file, or of `memflow journal export --failures`, has the item under "input".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memflow.cli.record_lines import ADVICE
from memflow.exceptions import RecordError

__all__ = ["pick_field"]

_NAMED = 5
Entry = tuple[int, Any]
"""A line number, counted from 1, and a record, or a RecordError in a bad one's place."""


def pick_field(chunks: Iterator[list[Entry]], field: str, path: str) -> Iterator[list[Entry]]:
    """Put each record's field in its place; a record without it is a bad one.

    Args:
        chunks: records with their line numbers.
        field: which field.
        path: what messages call the input.
    """
    for chunk in chunks:
        yield [(line, _pick(record, field, path, line)) for line, record in chunk]


def _pick(record: Any, field: str, path: str, line: int) -> Any:
    if isinstance(record, RecordError):
        return record
    if not isinstance(record, dict):
        problem = f"it is a {type(record).__name__}, and has no field {field!r} for --input-field"
        return RecordError(path, line, problem, ADVICE)
    if field not in record:
        names = ", ".join(repr(name) for name in list(record)[:_NAMED]) or "none"
        return RecordError(path, line, f"it has no field {field!r}; its fields are {names}", ADVICE)
    return record[field]
