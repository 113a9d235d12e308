"""One field of each record: `memflow.cli.record_field`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memflow.cli.record_reader import RecordReader
from memflow.cli.records import InputFile
from memflow.exceptions import RecordError

DATA = '{"index": 0, "input": {"id": 1}}\n{"input": null}\n{"id": 3}\n[4]\n{}\nbroken\n{"input": 7}\n'


@contextmanager
def reader(path: Path, **options: Any) -> Iterator[RecordReader]:
    file = InputFile(str(path))
    try:
        yield RecordReader(file, record_format="csv" if path.suffix == ".csv" else "jsonl", **options)
    finally:
        file.close()


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    path = tmp_path / "failed.jsonl"
    path.write_text(DATA)
    return path


def test_the_field_is_the_item(failures: Path) -> None:
    bad: list[RecordError] = []
    with reader(failures, field="input", on_bad_record="skip", on_skip=bad.append) as found:
        assert [*found.read_chunk(), *found.read_chunk()] == [(1, {"id": 1}), (2, None), (7, 7)]
    assert [error.line for error in bad] == [3, 4, 5, 6]
    assert "it has no field 'input'; its fields are 'id'" in str(bad[0])
    assert "it is a list, and has no field 'input'" in str(bad[1])
    assert "its fields are none" in str(bad[2])
    assert "not JSON" in str(bad[3])


def test_what_comes_before_a_record_without_it_is_given_out(failures: Path) -> None:
    with reader(failures, field="input") as found:
        assert found.read_chunk() == [(1, {"id": 1}), (2, None)]
        with pytest.raises(RecordError, match=r"failed\.jsonl.*3.*no field 'input'.*--on-bad-record skip"):
            found.read_chunk()


def test_columns_of_csv_are_fields(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("name,url\na,x\nb,y\n")
    with reader(path, field="url") as found:
        assert [record for _, record in found.read_chunk()] == ["x", "y"]
