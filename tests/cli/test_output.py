"""Output files: `memflow.cli.output`."""

from __future__ import annotations

import errno
import gzip
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from memflow.cli.output import OutputFile, open_output
from memflow.cli.usage import UsageError
from memflow.exceptions import RecordError


def test_what_was_written_is_with_the_kernel_at_once(tmp_path: Path) -> None:
    output = open_output(str(tmp_path / "a.jsonl"), overwrite=False, option="--output")
    output.write(b"1\n")
    assert (tmp_path / "a.jsonl").read_bytes() == b"1\n"
    output.close()
    output.close()


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_compressed_files_are_whole_once_closed(name: str, tmp_path: Path) -> None:
    output = open_output(str(tmp_path / name), overwrite=False, option="--output")
    for _ in range(3):
        output.write(b"line\n")
    output.close()
    data = (tmp_path / name).read_bytes()
    text = gzip.decompress(data) if name == "a.gz" else zstandard.ZstdDecompressor().decompressobj().decompress(data)
    assert text == b"line\n" * 3


def test_a_file_that_exists_is_refused_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("long text")
    with pytest.raises(UsageError, match=r"--output .*a exists; give --overwrite to replace it, or another name"):
        open_output(str(path), overwrite=False, option="--output")
    open_output(str(path), overwrite=True, option="--output").close()
    assert path.read_text() == ""


def test_a_folder_that_is_missing_or_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"there is no folder {tmp_path}/no; make it first"):
        open_output(str(tmp_path / "no" / "a"), overwrite=False, option="--output")
    with pytest.raises(UsageError, match="directory"):
        open_output(str(tmp_path), overwrite=False, option="--output")


def test_discarding_takes_only_new_files_away(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")
    open_output(str(tmp_path / "old"), overwrite=True, option="--output").discard()
    open_output(str(tmp_path / "new"), overwrite=False, option="--output").discard()
    assert [each.name for each in tmp_path.iterdir()] == ["old"]


class FillingDisk:
    """A file that takes a few bytes and then has no more room, as a full disk does."""

    def __init__(self, path: Path, room_bytes: int, number: int = errno.ENOSPC) -> None:
        self.file: Any = path.open("wb", buffering=0)
        self._room_bytes = room_bytes
        self._number = number
        self.closed = False

    def fileno(self) -> int:
        return int(self.file.fileno())

    def write(self, data: memoryview) -> int:
        taken = data[: min(3, self._room_bytes)]
        if data and not taken:
            raise OSError(self._number, os.strerror(self._number))
        self._room_bytes -= len(taken)
        return int(self.file.write(taken))

    def close(self) -> None:
        self.closed = True
        self.file.close()


def test_a_disk_that_gets_full_leaves_whole_records(tmp_path: Path) -> None:
    disk = FillingDisk(tmp_path / "a", room_bytes=14)
    output = OutputFile(disk, path="a")  # type: ignore[arg-type]
    output.write(b"first\n")
    output.write(b"two\n")
    with pytest.raises(RecordError, match="a: the disk is full; free some space, or write elsewhere"):
        output.write(b"third\n")
    output.close()
    assert (tmp_path / "a").read_bytes() == b"first\ntwo\n"
    assert disk.closed


@pytest.mark.parametrize(
    ("number", "problem"),
    [(errno.EPIPE, "its reader has closed it"), (errno.EDQUOT, "disk is full"), (errno.EIO, "cannot be written: ")],
)
def test_each_error_is_told_in_words(number: int, problem: str, tmp_path: Path) -> None:
    output = OutputFile(FillingDisk(tmp_path / "a", 0, number), path="a")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=problem):
        output.write(b"x")
    output.close()


def test_a_trailer_that_does_not_fit_is_told(tmp_path: Path) -> None:
    disk = FillingDisk(tmp_path / "a", room_bytes=0)
    output = OutputFile(disk, path="a", compression="gz")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="the disk is full"):
        output.close()
    assert disk.closed


def test_without_zstandard_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError, match=r"memflow-async\[cli\]"):
        open_output(str(tmp_path / "a.zst"), overwrite=False, option="--output")
    assert not (tmp_path / "a.zst").exists()
