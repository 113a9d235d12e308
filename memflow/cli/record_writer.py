"""From results to the bytes of a record file, one record a result.

Covers what can be written in each format and what to say of a result that cannot. Where the bytes go is `output`'s
and `sink`'s. Encoding runs on the loop, one result at a time: it holds the interpreter's lock anyway, and a
result's size is only known, and so bounded, once it is bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from memflow.cli.records import RecordFormat
from memflow.exceptions import MemflowError

__all__ = [
    "CsvEncoder",
    "Encoder",
    "KeptProblem",
    "KeptRecord",
    "ResultError",
    "encode_json",
    "encoder_for",
    "keep_for",
]

Encoder = Callable[[Any], bytes]
"""Turns one result into its record, line break included; raises ResultError."""


class ResultError(MemflowError):
    """A result cannot be written in the output's format; its item counts as failed."""

    def __init__(self, result: object, problem: str, advice: str) -> None:
        kind = type(result)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        super().__init__(f"its result, of type {name}, {problem}; {advice}")

    @classmethod
    def saying(cls, text: str) -> ResultError:
        """Make one of a text that was kept."""
        error = cls.__new__(cls, text)
        error.args = (text,)
        return error


class KeptRecord(bytes):
    """A record as it was encoded in an earlier run, to be written as it is."""


@dataclass(frozen=True, slots=True)
class KeptProblem:
    """Stands for a result that could not be encoded in an earlier run."""

    text: str
    """The error's text."""


def keep_for(record_format: RecordFormat) -> tuple[Encoder | Callable[[Any], Any], Callable[[Any], Any]]:
    """Make what turns a result into plain values for a journal, and what turns those into something to encode.

    A record made of the second is the same, byte for byte, as one made of the result.
    """
    plain: Callable[[Any], Any] = (
        _to_kept_cells if record_format == "csv" else encode_json if record_format == "jsonl" else _encode_text
    )

    def keep(result: Any) -> Any:
        try:
            return plain(result)
        except ResultError as error:
            return (str(error),)

    def find_again(kept: Any) -> Any:
        if isinstance(kept, tuple):
            return KeptProblem(kept[0])
        if isinstance(kept, dict):
            return {name: KeptProblem(cell[0]) if isinstance(cell, tuple) else cell for name, cell in kept.items()}
        return KeptRecord(kept)

    return keep, find_again


def encoder_for(record_format: RecordFormat) -> Encoder:
    """Make the encoder of a format; a CSV encoder learns its columns from the first row."""
    if record_format == "csv":
        return CsvEncoder()
    return encode_json if record_format == "jsonl" else _encode_text


def encode_json(result: Any) -> bytes:
    """Write a result as one line of JSON: integers of any length, NaN as NaN, arrays through their `tolist`.

    Raises:
        ResultError: It holds something that JSON has no form for.
    """
    if type(result) is KeptRecord:
        return bytes(result)
    _refuse_problem(result)
    try:
        return to_json(result, inf_nan_mode="constants", fallback=_to_plain) + b"\n"
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        problem = f"cannot be written as JSON ({_shorten(error)})"
        raise ResultError(result, problem, "return what JSON has: dict, list, str, int, float, bool or None") from None


def _to_plain(value: Any) -> Any:
    """Turn arrays and their scalars (numpy's, and all that look like it) into lists and numbers."""
    convert = getattr(value, "tolist", None)
    if callable(convert):
        return convert()
    raise TypeError(f"no JSON for {type(value).__qualname__}")


def _shorten(error: Exception) -> str:
    text = str(error).removeprefix("Error calling `fallback` function: ").removeprefix("Error serializing to JSON: ")
    return text.removeprefix("TypeError: ").partition("\n")[0][:200]


def _refuse_problem(result: Any) -> None:
    if type(result) is KeptProblem:
        raise ResultError.saying(result.text)


def _encode_text(result: Any) -> bytes:
    if type(result) is KeptRecord:
        return bytes(result)
    _refuse_problem(result)
    if isinstance(result, int | float):
        result = str(result)
    if not isinstance(result, str):
        raise ResultError(result, "is no line of text", "return a str, or give --output-format jsonl")
    if "\n" in result:
        raise ResultError(result, "has a line break in it", "replace it, or give --output-format jsonl")
    return result.encode(errors="surrogateescape") + b"\n"


class CsvEncoder:
    """Rows under the columns of the first one.

    Attributes:
        columns: of the rows; None before the first. Set them to go on in a file that has them already.
    """

    def __init__(self) -> None:
        self.columns: list[str] | None = None

    def __call__(self, result: Any) -> bytes:
        """Write one row, and the header before the first."""
        _refuse_problem(result)
        if not isinstance(result, dict) or not result:
            raise _no_row(result)
        names = [str(name) for name in result]
        columns = names if self.columns is None else self.columns
        extra = [name for name in names if name not in columns]
        if extra:
            problem = f"has a column {extra[0]!r} that the first row lacks"
            raise ResultError(result, problem, "give every row the same columns, or give --output-format jsonl")
        cells = _to_cells(result)
        row = [cells.get(name, "") for name in columns]
        rows = [columns, row] if self.columns is None else [row]
        self.columns = columns  # only now: a row that cannot be written names no columns
        return _join_rows(rows)


def _to_kept_cells(result: Any) -> dict[str, str | tuple[str]]:
    """As `_to_cells`, but what cannot be a cell is kept in words: a row's columns are judged before its cells."""
    if not isinstance(result, dict) or not result:
        raise _no_row(result)
    cells: dict[str, str | tuple[str]] = {}
    for name, value in result.items():
        try:
            cells[str(name)] = _to_cell(value)
        except ResultError as error:
            cells[str(name)] = (str(error),)
    return cells


def _to_cells(result: dict[Any, Any]) -> dict[str, str]:
    return {str(name): _to_cell(value) for name, value in result.items()}


def _no_row(result: Any) -> ResultError:
    return ResultError(result, "is no CSV row", "return a dict of columns, or give --output-format jsonl")


def _to_cell(value: Any) -> str:
    """Text as it is, nothing for None, and what JSON says of everything else."""
    if isinstance(value, str):
        return value
    _refuse_problem(value)
    return "" if value is None else encode_json(value)[:-1].decode()


def _join_rows(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")
