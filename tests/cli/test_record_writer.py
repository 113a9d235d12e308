"""What can be written and what is said of the rest: `memflow.cli.record_writer`. Round trips: test_record_reader."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from memflow.cli.record_writer import ResultError, encode_json, encoder_for, keep_for


@dataclass
class Point:
    x: int


class Model(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("result", "line"),
    [
        ({"a": 10**30}, '{"a":1000000000000000000000000000000}'),
        ([float("nan"), float("-inf")], "[NaN,-Infinity]"),
        (None, "null"),
        (0, "0"),
        ("", '""'),
        ({"é": "\n"}, '{"é":"\\n"}'),
        (np.arange(3), "[0,1,2]"),
        ({"vector": np.float32(0.5)}, '{"vector":0.5}'),
        ((1, 2), "[1,2]"),
        (Point(1), '{"x":1}'),
        (Model(name="a"), '{"name":"a"}'),
        (datetime.date(2024, 2, 29), '"2024-02-29"'),
    ],
    ids=str,
)
def test_json(result: Any, line: str) -> None:
    assert encode_json(result) == line.encode() + b"\n"


def test_a_loop_is_no_json() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ResultError, match="of type list, cannot be written as JSON"):
        encode_json(loop)


@pytest.mark.parametrize("result", [object(), {"a": {"b": object()}}, b"\xff", "\ud800", lambda: 1])
def test_what_json_has_no_form_for_is_refused_by_type(result: Any) -> None:
    with pytest.raises(ResultError, match=rf"of type .*{type(result).__name__}.*; return what JSON has"):
        encode_json(result)


def test_csv_takes_its_columns_from_the_first_row() -> None:
    encode = encoder_for("csv")
    assert encode({"a": 1, "b": None}) == b"a,b\r\n1,\r\n"
    assert encode({"b": [1, {"c": "d"}], "a": True}) == b'true,"[1,{""c"":""d""}]"\r\n'
    assert encode({"a": 'say "hi", you\nthere'}) == b'"say ""hi"", you\nthere",\r\n'
    with pytest.raises(ResultError, match="has a column 'c' that the first row lacks"):
        encode({"a": 1, "c": 2})


@pytest.mark.parametrize("result", [{}, [1], "text", None])
def test_csv_needs_columns(result: Any) -> None:
    with pytest.raises(ResultError, match="is no CSV row"):
        encoder_for("csv")(result)


def test_a_row_that_cannot_be_written_leaves_the_columns_open() -> None:
    encode = encoder_for("csv")
    with pytest.raises(ResultError, match="cannot be written as JSON"):
        encode({"wrong": object()})
    assert encode({"right": 1}) == b"right\r\n1\r\n"


def test_lines_take_text_and_numbers_without_breaks() -> None:
    encode = encoder_for("lines")
    assert encode("ä") == "ä\n".encode()
    assert encode(3) == b"3\n"
    assert encode("") == b"\n"
    for result, problem in (("a\nb", "has a line break"), ({}, "is no line of text"), (None, "is no line of text")):
        with pytest.raises(ResultError, match=problem):
            encode(result)


def test_json_is_what_the_standard_library_reads() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": float("inf")}}
    assert json.loads(encode_json(value)) == value


@pytest.mark.parametrize("record_format", ["jsonl", "csv", "lines"])
@pytest.mark.parametrize(
    "result",
    [
        *({"a": 1}, {"a": None, "b": "x,y"}, {"a": 1.5, "b": [1, None]}, {}, {"a": object()}, {"c": object()}),
        *("text", "two\nlines", 7, None, object(), [1], "", float("nan"), b"bytes"),
    ],
    ids=repr,
)
def test_what_is_kept_is_written_as_the_result_would_have_been(record_format, result):
    def written(value, encode):
        try:
            return encode(value)
        except ResultError as error:
            return str(error)

    keep, find_again = keep_for(record_format)
    encoders = encoder_for(record_format), encoder_for(record_format)
    for encode in encoders:
        written({"a": 1, "b": 2}, encode)  # names the columns of a CSV file
    assert written(find_again(keep(result)), encoders[0]) == written(result, encoders[1])
