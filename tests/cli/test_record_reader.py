"""Reading records, good and bad, and the round trip with the writer: `memflow.cli.record_reader`."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.cli import record_lines
from memflow.cli.record_reader import RecordReader
from memflow.cli.record_writer import encoder_for
from memflow.cli.records import BadRecordPolicy, InputFile, RecordFormat
from memflow.exceptions import RecordError


class Blocks:
    """An input of given bytes, cut into blocks of any size."""

    path = "data"

    def __init__(self, data: bytes, block_bytes: int = 1 << 20) -> None:
        self._blocks = [data[start : start + block_bytes] for start in range(0, len(data), block_bytes)]
        self._blocks.reverse()

    def read_block(self) -> bytes:
        return self._blocks.pop() if self._blocks else b""


def read(
    data: bytes,
    record_format: RecordFormat = "jsonl",
    on_bad_record: BadRecordPolicy = "stop",
    *,
    block_bytes: int = 1 << 20,
) -> tuple[list[tuple[int, Any]], list[str]]:
    """All records with their lines, and what was said of bad ones."""
    told: list[RecordError] = []
    reader = RecordReader(
        Blocks(data, block_bytes),  # type: ignore[arg-type]
        record_format=record_format,
        on_bad_record=on_bad_record,
        on_skip=told.append,
    )
    entries: list[tuple[int, Any]] = []
    try:
        while chunk := reader.read_chunk():
            entries += chunk
    except RecordError as error:
        told.append(error)
    return entries, [str(each) for each in told]


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)
SMALL_BLOCKS = st.integers(1, 40)


@given(st.lists(JSON), SMALL_BLOCKS)
def test_json_lines_come_back_as_they_were_written(records: list[Any], block_bytes: int) -> None:
    encode = encoder_for("jsonl")
    entries, told = read(b"".join(encode(each) for each in records), block_bytes=block_bytes)
    assert (entries, told) == (list(enumerate(records, 1)), [])


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"))), SMALL_BLOCKS)
def test_lines_come_back_as_they_were_written(texts: list[str], block_bytes: int) -> None:
    if texts and texts[0].startswith("\ufeff"):
        texts[0] = "x" + texts[0]  # at the very start that is no text but a mark
    encode = encoder_for("lines")
    entries, _ = read(b"".join(encode(each) for each in texts), "lines", block_bytes=block_bytes)
    assert entries == list(enumerate(texts, 1))


CELLS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(['"', ",", "\n", "\r\n", '""', " a ", ""])
COLUMNS = st.lists(CELLS.filter(lambda name: not name.startswith("\ufeff")), min_size=1, max_size=4, unique=True)


@settings(max_examples=300)
@given(st.data(), COLUMNS, SMALL_BLOCKS)
def test_csv_rows_come_back_as_they_were_written(data: st.DataObject, columns: list[str], block_bytes: int) -> None:
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, CELLS)), min_size=1))
    encode = encoder_for("csv")
    entries, told = read(b"".join(encode(row) for row in rows), "csv", block_bytes=block_bytes)
    assert ([row for _, row in entries], told) == (rows, [])


@given(st.binary(max_size=300), st.sampled_from(["jsonl", "csv", "lines"]), SMALL_BLOCKS)
def test_any_bytes_are_read_or_told_and_never_raise_anything_else(
    data: bytes, record_format: RecordFormat, block_bytes: int
) -> None:
    whole, told = read(data, record_format, "skip")
    assert (whole, told) == read(data, record_format, "skip", block_bytes=block_bytes)


def test_huge_integers_and_nan_are_kept() -> None:
    entries, _ = read(b"123456789012345678901234567890\nNaN\n-Infinity\n")
    assert entries[0] == (1, 123456789012345678901234567890)
    assert math.isnan(entries[1][1])
    assert entries[2] == (3, -math.inf)


def test_blank_lines_are_no_records_in_json_lines_and_csv() -> None:
    assert read(b'{"a":1}\n\n  \n2')[0] == [(1, {"a": 1}), (4, 2)]
    assert read(b"a\r\n\r\n1\r\n", "csv")[0] == [(3, {"a": "1"})]
    assert read(b"a\n\nb\n", "lines")[0] == [(1, "a"), (2, ""), (3, "b")]


def test_windows_line_ends_and_a_mark_at_the_start_are_no_part_of_records() -> None:
    assert read(b"\xef\xbb\xbfa\r\nb\r\n", "lines")[0] == [(1, "a"), (2, "b")]
    assert read(b'\xef\xbb\xbf{"a":1}\r\n')[0] == [(1, {"a": 1})]
    assert read(b"\xef\xbb\xbfname,b\r\nx,1\r\n", "csv")[0] == [(2, {"name": "x", "b": "1"})]


def test_a_quoted_field_may_hold_line_breaks_and_counts_by_its_first_line() -> None:
    entries, _ = read(b'a,b\n"x\ny",1\nz,"say ""hi"", you"\n', "csv")
    assert entries == [(2, {"a": "x\ny", "b": "1"}), (4, {"a": "z", "b": 'say "hi", you'})]


# ---- bad records ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record_format", "data", "line", "problem"),
    [
        ("jsonl", b'{"a":1}\n{"a":\n{"a":3}\n', 2, "not JSON: EOF while parsing"),
        ("jsonl", b'{"a":1}\nhello\n{"a":3}\n', 2, "it starts with 'hello'"),
        ("jsonl", b'{"a":1}\n"\xff"\n{"a":3}\n', 2, "not JSON"),
        ("jsonl", b'{"a":1}\n{"a": 2', 2, "half-written last line: not JSON"),
        ("lines", b"a\n\xe4\nb\n", 2, "not UTF-8: byte 0xe4 at position 1"),
        ("csv", b"a,b\n1,2\n3\n4,5\n", 3, "the row has 1 fields, and the header names 2"),
        ("csv", b"a,b\n1,2\n3,4,5\n", 3, "the row has 3 fields"),
        ("csv", b"a,b\n1,2\n3", 3, "half-written last line: the row has 1 fields"),
        ("csv", b'a,b\n1,2\n3,"x', 3, "half-written last row: a quote is opened and never closed"),
        ("csv", b'a,b\n1,2\n"x"y,3\n', 3, "not CSV"),
        ("csv", b"a,b\n1,2\n\xff,3\n", 3, "not UTF-8: byte 0xff"),
        ("csv", b"a,a\n1,2\n", 1, "the header row names 'a' twice"),
        ("csv", b'"a\n', 1, "the header row cannot be read"),
    ],
)
def test_a_bad_record_is_named_by_its_line(record_format: RecordFormat, data: bytes, line: int, problem: str) -> None:
    for block_bytes in (1, 7, 1 << 20):
        entries, told = read(data, record_format, block_bytes=block_bytes)
        assert len(told) == 1
        assert told[0].startswith(f"data:{line}: ")
        assert problem in told[0]
        assert [number for number, _ in entries] == ([line - 1] if line > 1 else [])
        if record_format != "csv" or line > 1:
            assert "--on-bad-record skip" in told[0]


def test_what_came_before_a_bad_record_is_given_out_first() -> None:
    assert read(b"1\n2\nx\n4\n")[0] == [(1, 1), (2, 2)]


def test_skipping_goes_on_behind_each_bad_record_and_tells_it() -> None:
    entries, told = read(b"1\nx\n3\ny\n5\n{", on_bad_record="skip")
    assert entries == [(1, 1), (3, 3), (5, 5)]
    assert [each.split(": ")[0] for each in told] == ["data:2", "data:4", "data:6"]


def test_a_last_line_without_a_break_counts_if_it_is_whole() -> None:
    assert read(b'{"a":1}\n{"a":2}') == ([(1, {"a": 1}), (2, {"a": 2})], [])
    assert read(b"a,b\n1,2", "csv") == ([(2, {"a": "1", "b": "2"})], [])


@pytest.mark.parametrize("record_format", ["jsonl", "lines", "csv"])
def test_a_line_without_end_is_refused_and_not_kept(
    record_format: RecordFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_lines, "MAX_RECORD_BYTES", 1000)
    data = b"1\n" + b"2" * 5000 + b"\n3\n"
    entries, told = read(data, record_format, "skip", block_bytes=100)
    assert [number for number, _ in entries] == ([3] if record_format == "csv" else [1, 3])
    assert told[0].startswith("data:2: the line is longer than")


@pytest.mark.parametrize("record_format", ["jsonl", "lines", "csv"])
def test_an_empty_file_has_no_records(record_format: RecordFormat) -> None:
    assert read(b"", record_format) == ([], [])


def test_an_error_of_the_file_comes_after_the_records_before_it(tmp_path: Path) -> None:
    whole = gzip.compress(b"1\n" * 100_000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:-20])
    file = InputFile(str(tmp_path / "a.jsonl.gz"))
    reader = RecordReader(file, record_format="jsonl", on_bad_record="skip")
    chunks: list[list[tuple[int, Any]]] = []
    with pytest.raises(RecordError, match="cut off"):
        chunks.extend(iter(reader.read_chunk, []))
    file.close()
    assert sum(map(len, chunks)) > 10_000
