"""Record files: which format, which compression, and the bytes of an input.

Covers JSON Lines, CSV and plain lines, gzip and zstd by extension, and `-` for standard input and output.
Bytes become records in `record_reader`, results become bytes in `record_writer`, and the output file itself is
`output`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, BinaryIO, Literal, get_args

from memflow.cli.usage import UsageError
from memflow.exceptions import RecordError

__all__ = [
    "BadRecordPolicy",
    "Compression",
    "InputFile",
    "RecordFormat",
    "compression_of",
    "format_of",
    "load_zstandard",
]

RecordFormat = Literal["jsonl", "csv", "lines"]
Compression = Literal["", "gz", "zst"]
BadRecordPolicy = Literal["stop", "skip"]

_BY_EXTENSION: dict[str, RecordFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "lines",
    ".lines": "lines",
    ".log": "lines",
}
_BLOCK_BYTES = 1 << 20
# Compressed input is read in small pieces, since a piece may grow a thousandfold.
_COMPRESSED_BLOCK_BYTES = 1 << 14


def compression_of(path: str) -> Compression:
    """The compression that the extension names; none for "-"."""
    return "gz" if path.endswith(".gz") else "zst" if path.endswith((".zst", ".zstd")) else ""


def format_of(path: str, given: RecordFormat | None, *, option: str) -> RecordFormat:
    """The record format of a path: the one given, else the one its extension names; JSON Lines for "-".

    Args:
        path: A path, or "-".
        given: What the option says, if anything.
        option: The option that says it, for the message.

    Raises:
        UsageError: The extension names none.
    """
    if given is not None or path == "-":
        return given or "jsonl"
    name = PurePath(path)
    extension = PurePath(name.stem).suffix if compression_of(path) else name.suffix
    known = _BY_EXTENSION.get(extension.lower())
    if known is None:
        formats = ", ".join(get_args(RecordFormat)[:-1]) + f" or {get_args(RecordFormat)[-1]}"
        raise UsageError(
            f"the extension of {path} names no record format ({', '.join(_BY_EXTENSION)}); give {option} {formats}"
        )
    return known


def load_zstandard(path: str) -> Any:
    """Import the optional zstandard, or say how to get it."""
    try:
        import zstandard
    except ImportError as error:
        raise UsageError(
            f"{path} is compressed with zstd, which needs the package zstandard; "
            "pip install 'memflow-async[cli]', or use .gz"
        ) from error
    return zstandard


class InputFile:
    """The decompressed bytes of an input, a block at a time. Reads block: call them in a thread.

    Args:
        path: A path, or "-" for standard input.

    Raises:
        UsageError: The file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = "<stdin>" if path == "-" else path
        decompressed = _DECOMPRESSED[compression_of(path)](path)
        self.position_bytes = 0
        """How far the file itself was read, before decompression."""
        self._file = _open_raw(path)
        self.size_bytes = _size_of(self._file)
        """The file's size, or None for a pipe."""
        self._read = decompressed(self._file)

    def read_block(self) -> bytes:
        """The next bytes, or none at the end.

        Raises:
            RecordError: The file cannot be read on, or its compressed data is damaged or cut off.
        """
        try:
            block = self._read()
        except EOFError as error:
            raise RecordError(
                self.path, None, "the compressed data is cut off", "everything before the cut was read; fetch it again"
            ) from error
        except (OSError, ValueError) as error:
            raise RecordError(self.path, None, f"cannot be read on: {error}") from error
        if self.size_bytes is not None:
            self.position_bytes = self._file.tell()
        return block

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open_raw(path: str) -> BinaryIO:
    try:
        # Unbuffered, so that a read gives what a pipe holds instead of waiting for a full block.
        if path == "-":
            return open(0, "rb", buffering=0, closefd=False)
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path} (looked for in {os.getcwd()})") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _size_of(file: BinaryIO) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


Opener = Callable[[BinaryIO], Callable[[], bytes]]
"""Turns an open file into what reads its decompressed blocks."""


def _plain(_path: str) -> Opener:
    return lambda file: lambda: file.read(_BLOCK_BYTES)


def _gunzip(_path: str) -> Opener:
    import gzip

    def start(file: BinaryIO) -> Callable[[], bytes]:
        members = gzip.GzipFile(fileobj=file, mode="rb")
        return lambda: members.read1(_BLOCK_BYTES)

    return start


def _unzstd(path: str) -> Opener:
    zstandard = load_zstandard(path)
    return lambda file: _ZstdFrames(file, zstandard).read


class _ZstdFrames:
    """Decompresses frame by frame. zstandard's own `stream_reader` takes a frame that was cut off for a whole one."""

    def __init__(self, file: BinaryIO, zstandard: Any) -> None:
        self._file = file
        self._error = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame: Any = None

    def read(self) -> bytes:
        while compressed := self._file.read(_COMPRESSED_BLOCK_BYTES):
            try:
                block = b"".join(self._decompress(compressed))
            except self._error as error:
                raise ValueError(str(error)) from error
            if block:
                return block
        if self._frame is not None:
            raise EOFError
        return b""

    def _decompress(self, compressed: bytes) -> Iterator[bytes]:
        while compressed:
            frame = self._frame or self._decompressor.decompressobj()
            yield frame.decompress(compressed)
            self._frame = None if frame.eof else frame
            compressed = frame.unused_data if frame.eof else b""


_DECOMPRESSED: dict[Compression, Callable[[str], Opener]] = {"": _plain, "gz": _gunzip, "zst": _unzstd}
