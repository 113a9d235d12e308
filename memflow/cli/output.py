"""An output file: opened with care, written in whole records, and cut back to them when a write fails.

Covers refusing to overwrite, compression, full disks and closed pipes. What is written comes from `record_writer`
through `sink`. Everything here blocks and runs in a thread, except `open_output`.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from memflow.cli.records import Compression, compression_of, load_zstandard
from memflow.cli.usage import UsageError
from memflow.exceptions import RecordError

__all__ = ["OutputFile", "open_output"]


class OutputFile:
    """Bytes on their way to a file. What `write` was given is with the kernel when it returns.

    Args:
        file: An unbuffered binary file.
        path: What messages call it.
        compression: How the bytes are compressed.
        new: Whether the file was made for this, and may be taken away again.
        resumable: Whether what is compressed can be gone on with after a kill: each write is whole by itself.
        length: Bytes that are in it already.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        path: str,
        compression: Compression = "",
        new: bool = False,
        resumable: bool = False,
        length: int = 0,
    ) -> None:
        self.path = path
        self._new = new
        self._file = file
        self._regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        self._whole_bytes = length
        self._compress, self._finish = (_BY_THEMSELVES if resumable else _COMPRESSORS)[compression](path)
        self._failed = False

    def write(self, records: bytes) -> None:
        """Write whole records.

        Raises:
            RecordError: The disk is full, the reader is gone, or the like; the file ends with a whole record.
        """
        self._write_all(self._compress(records))

    @property
    def length(self) -> int:
        """Bytes of whole records in the file."""
        return self._whole_bytes

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        if self._regular:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the compressed stream, hand everything to the disk and close. Repeated calls do nothing."""
        if self._file.closed:
            return
        try:
            if not self._failed:
                self._write_all(self._finish())
                if self._regular:
                    os.fsync(self._file.fileno())
        except OSError as error:
            raise RecordError(self.path, None, _describe(error)) from error
        finally:
            self._file.close()

    def discard(self) -> None:
        """Close, and take the file away again if it was made for nothing."""
        self._file.close()
        if self._new:
            os.unlink(self.path)

    def _write_all(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._failed = True
            self._cut_back()
            raise RecordError(self.path, None, _describe(error)) from error
        self._whole_bytes += len(data)

    def _cut_back(self) -> None:
        """Drop the part of a record that still fitted, so that every line of the file is whole."""
        if self._regular:
            try:
                os.ftruncate(self._file.fileno(), self._whole_bytes)
            except OSError:
                pass  # the first error is the one to tell


def _describe(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "its reader has closed it"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space, or write elsewhere"
    return f"cannot be written: {error.strerror or error}"


def open_output(
    path: str, *, overwrite: bool, option: str, resumable: bool = False, length: int | None = None
) -> OutputFile:
    """Open a file to write, or standard output for "-".

    Args:
        path: Where to.
        overwrite: Whether a file that is there may be replaced. Pipes and devices are written to anyway.
        option: The option that named it, for messages.
        resumable: Whether a later run may go on behind any write.
        length: How long it was when an earlier run last noted so: what lies behind is cut off. None: it is new.

    Raises:
        UsageError: It exists, or cannot be made; or it is shorter than it was.
    """
    compression = compression_of(path)
    if compression == "zst":
        load_zstandard(path)
    if path == "-":
        return OutputFile(_take_stdout(), path="<stdout>", compression=compression)
    new = not os.path.exists(path)
    file = _open_new(path, overwrite=overwrite, option=option) if length is None else _reopen(path, length, option)
    return OutputFile(file, path=path, compression=compression, new=new, resumable=resumable, length=length or 0)


def _reopen(path: str, length: int, option: str) -> BinaryIO:
    """Open a file behind what is known to be whole; what a kill left of a record is cut off."""
    try:
        file = open(path, "r+b" if length or os.path.exists(path) else "xb", buffering=0)  # noqa: SIM115 - it is handed on
        size = os.fstat(file.fileno()).st_size
        if size < length:
            file.close()
            raise UsageError(
                f"{option} {path} has {size:,} bytes, and the journal says that {length:,} were written; put the file "
                "back as it was, or begin again with another --journal and --output"
            )
        file.truncate(length)
        file.seek(length)
    except FileNotFoundError:
        raise UsageError(
            f"{option} {path} is gone, and the journal says that {length:,} bytes were written to it; put it back, or "
            "begin again with another --journal"
        ) from None
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror or error}") from error
    return file


def _open_new(path: str, *, overwrite: bool, option: str) -> BinaryIO:
    special = os.path.exists(path) and not os.path.isfile(path)
    try:
        return open(path, "wb" if overwrite or special else "xb", buffering=0)
    except FileExistsError:
        raise UsageError(f"{option} {path} exists; give --overwrite to replace it, or another name") from None
    except FileNotFoundError:
        folder = os.path.dirname(os.path.abspath(path))
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it first") from None
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror or error}") from error


def _take_stdout() -> BinaryIO:
    """Keep standard output for records, and send what the user's code prints to standard error from now on."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    # The descriptor itself is redirected, since C code and child processes print too.
    os.dup2(2, 1)
    return open(descriptor, "wb", buffering=0)


Pair = tuple[Callable[[bytes], bytes], Callable[[], bytes]]


def _plain(_path: str) -> Pair:
    return (lambda data: data), (lambda: b"")


def _gzip(_path: str) -> Pair:
    import zlib

    stream = zlib.compressobj(wbits=31)  # 31: with gzip's header and trailer
    # Flushed at every write, so that what was written can be read again after a kill.
    return (lambda data: stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)), stream.flush


def _zstd(path: str) -> Pair:
    zstandard = load_zstandard(path)
    stream: Any = zstandard.ZstdCompressor().compressobj()
    flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return (lambda data: stream.compress(data) + stream.flush(flush_block)), lambda: bytes(stream.flush())


def _gzip_members(_path: str) -> Pair:
    import zlib

    def compress(data: bytes) -> bytes:
        stream = zlib.compressobj(wbits=31)
        return stream.compress(data) + stream.flush()

    return compress, lambda: b""


def _zstd_frames(path: str) -> Pair:
    compressor: Any = load_zstandard(path).ZstdCompressor()
    return (lambda data: bytes(compressor.compress(data))), lambda: b""


_BY_THEMSELVES: dict[Compression, Callable[[str], Pair]] = {"": _plain, "gz": _gzip_members, "zst": _zstd_frames}
_COMPRESSORS: dict[Compression, Callable[[str], Pair]] = {"": _plain, "gz": _gzip, "zst": _zstd}
