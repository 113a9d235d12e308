"""Small files of the kernel: `memflow.memory.procfs`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.procfs import HostMemory, ProcessMemory, kib_field, read_host, read_number, read_process, try_read
from tests.memory import fixture_trees as trees
from tests.memory.fixture_trees import GIB, MIB


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"512\n", (512, "")),
        (b"0\n", (0, "")),
        (b"max\n", (None, "")),
        (b"", (None, "holds b'', which is no size")),
        (b"-1\n", (None, "holds b'-1', which is no size")),
        (b"1.5\n", (None, "holds b'1.5', which is no size")),
        (b"9" * 40, (None, f"holds {b'9' * 32!r}, which is no size")),
    ],
)
def test_read_number(text: bytes, found: tuple[int | None, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(text)
    assert read_number(tmp_path / "file") == found


def test_missing_and_unreadable_files_are_reasons(tmp_path: Path) -> None:
    assert try_read(tmp_path / "none") == (None, "no such file")
    assert try_read(tmp_path) == (None, "not readable (Is a directory)")


def test_being_out_of_descriptors_is_no_reason_but_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        try_read(tmp_path / "file")


def test_a_field_is_found_by_its_whole_name() -> None:
    data = b"Name:\tVmRSS: 7 kB\nVmRSS:\t    1024 kB\nBad:\t x kB\nCut:\t 12"
    assert kib_field(data, b"\nVmRSS:") == MIB
    assert kib_field(data, b"\nMissing:") is None
    assert kib_field(data, b"\nBad:") is None
    assert kib_field(data, b"\nCut:") is None


@given(data=st.binary(max_size=100))
def test_no_bytes_make_a_field_raise(data: bytes) -> None:
    kib_field(b"\nVmRSS:" + data, b"\nVmRSS:")


def test_snapshots(tmp_path: Path) -> None:
    trees.FixtureTree(tmp_path)
    # The fixture's process is called "VmRSS: 7 kB", which must not be taken for the field.
    assert read_process(tmp_path) == ProcessMemory(100 * MIB, 600 * MIB, 300 * MIB)
    assert read_host(tmp_path) == HostMemory(8 * GIB, 6 * GIB)


def test_snapshots_of_nothing(tmp_path: Path) -> None:
    assert read_process(tmp_path) == ProcessMemory(None, None, None)
    host = read_host(tmp_path)
    assert host.total_bytes > 0
    assert host.available_bytes is None
    assert "sysconf" in host.note
