"""Formats, compression and the bytes of inputs: `memflow.cli.records`."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest
import zstandard

from memflow.cli.records import InputFile, compression_of, format_of
from memflow.cli.usage import UsageError
from memflow.exceptions import RecordError


def read_all(path: Path) -> bytes:
    file = InputFile(str(path))
    try:
        return b"".join(iter(file.read_block, b""))
    finally:
        file.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jsonl", "jsonl"),
        ("a.NDJSON", "jsonl"),
        ("a.csv", "csv"),
        ("a.b.txt", "lines"),
        ("a.log.gz", "lines"),
        ("a.jsonl.zst", "jsonl"),
        ("-", "jsonl"),
    ],
)
def test_the_extension_names_the_format(path: str, expected: str) -> None:
    assert format_of(path, None, option="--input-format") == expected


def test_the_option_goes_before_the_extension() -> None:
    assert format_of("a.csv", "lines", option="--input-format") == "lines"


@pytest.mark.parametrize("path", ["a", "a.json", "a.gz", "dir.csv/a"])
def test_an_unknown_extension_says_which_option_tells(path: str) -> None:
    with pytest.raises(UsageError, match=r"names no record format.*give --input-format jsonl, csv or lines"):
        format_of(path, None, option="--input-format")


@pytest.mark.parametrize(("path", "expected"), [("a.gz", "gz"), ("a.zst", "zst"), ("a.zstd", "zst"), ("a", "")])
def test_the_extension_names_the_compression(path: str, expected: str) -> None:
    assert compression_of(path) == expected


TEXT = b"".join(b"line %d\n" % number for number in range(50_000))


def test_plain_gzip_and_zstd_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]))
    compress = zstandard.ZstdCompressor().compress
    (tmp_path / "a.txt.zst").write_bytes(compress(TEXT[:1000]) + compress(TEXT[1000:]))
    assert [read_all(tmp_path / name) for name in ("a.txt", "a.txt.gz", "a.txt.zst")] == [TEXT] * 3


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_compressed_data_that_is_cut_off_is_told(name: str, tmp_path: Path) -> None:
    whole = gzip.compress(TEXT) if name == "a.gz" else zstandard.ZstdCompressor().compress(TEXT)
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=f"{name}: the compressed data is cut off"):
        read_all(tmp_path / name)


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_data_that_is_not_compressed_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"plain text, not compressed")
    with pytest.raises(RecordError, match=f"{name}: cannot be read on"):
        read_all(tmp_path / name)


def test_position_and_size_are_those_of_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(TEXT))
    file = InputFile(str(tmp_path / "a.gz"))
    while file.read_block():
        pass
    assert file.position_bytes == file.size_bytes == (tmp_path / "a.gz").stat().st_size
    file.close()


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"there is no file nowhere.csv \\(looked for in {tmp_path}\\)"):
        InputFile("nowhere.csv")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="directory"):
        InputFile(str(tmp_path))


def test_without_zstandard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zst").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError, match=r"pip install 'memflow-async\[cli\]'"):
        InputFile(str(tmp_path / "a.zst"))
