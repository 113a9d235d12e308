"""The flight recorder: what is in flight and what happened last, in a file that survives a SIGKILL.

Covers making the file and writing it. The kernel keeps a shared mapping's pages when the process is killed, so there
is nothing to flush; a power cut takes what the kernel had not written yet. Reading is `flight_reader`'s, the file's
layout `flight_format`'s.

Stores are in an order that leaves no lie whenever the process is killed: a slot of the table counts once its position
is written, which is written last and taken back first; an event has its number at both ends.
"""

from __future__ import annotations

import errno
import itertools
import json
import mmap
import os
import struct
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from memflow.exceptions import FlightRecordError
from memflow.journal import flight_format as layout
from memflow.journal.flight_format import FlightHeader, FlightKind
from memflow.journal.flight_origin import read_origin
from memflow.memory.readings import MemoryLimit

__all__ = ["FlightRecorder", "close_all"]

_PACK_EVENT = struct.Struct(layout.EVENT).pack_into
_LOW = 0xFFFFFFFF
# Names of this module are found faster than another one's, and these are used for every batch.
_MEMORY_AT, _MEMORY_EVENTS = layout.MEMORY_AT, layout.MEMORY_EVENTS
_BATCHES_AT, _BATCH_EVENTS = layout.BATCHES_AT, layout.BATCH_EVENTS
_EVENT_BYTES, _FIRST_BATCH_KIND = layout.EVENT_BYTES, layout.FIRST_BATCH_KIND
_KEYS_AT, _KEY_BYTES, _KEY_CUT = layout.KEYS_AT, layout.KEY_BYTES, layout.KEY_CUT
_THIN_S = 0.01
_RISE = 0.01
_recorders: weakref.WeakSet[FlightRecorder] = weakref.WeakSet()


class FlightRecorder:
    """Writes one record. After `close`, and in a forked child, everything works and nothing is written.

    Any thread may call; only the count of what found no slot may then be off by a few.

    Args:
        path: The file; one that is there is replaced, once the new one has its room on the disk.
        operation: The operation's name.
        keyed: Keep items' keys.
        limit: The effective limit, where it is known.
        clock: A monotonic clock, in seconds.

    Raises:
        FlightRecordError: The file cannot be made.
    """

    __slots__ = (
        *("_batch_numbers", "_buffer", "_clock", "_counters", "_firsts", "_free", "_key_sizes", "_keyed", "_keys"),
        *("_lasts", "_map", "_memory_numbers", "_next_s", "_starts", "_step_bytes", "_weights", "_workers"),
        *("path", "__weakref__"),
    )

    def __init__(
        self,
        path: Path,
        *,
        operation: str,
        keyed: bool = False,
        limit: MemoryLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        header = FlightHeader(
            operation=operation[:256],
            keyed=keyed,
            wall_s=time.time(),
            monotonic_s=clock(),
            limit_bytes=limit.limit_bytes if limit else 0,
            limit_source=limit.source[:512] if limit else "",
            limit_kind=limit.kind if limit else "",
            origin=read_origin(),
        )
        self._keyed = keyed
        self._clock = clock
        self._next_s = self._step_bytes = float("-inf")
        self._memory_numbers = itertools.count(1)
        self._batch_numbers = itertools.count(1)
        self._free = list(range(layout.SLOTS - 1, -1, -1))
        self._map: mmap.mmap | None = _create(path, header)
        self._attach(self._map)
        _watch_forks()
        _recorders.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, first: int, last: int, weight: float = 0.0, key: str = "", worker: int = 0) -> int:
        """Note that a batch starts.

        Args:
            first: Position of its first item.
            last: Position of its last item.
            weight: Its size hint, in bytes.
            key: Its first item's key; kept where the run is keyed.
            worker: Who runs it.

        Returns:
            The slot, for `end`, once.
        """
        try:
            slot = self._free.pop()
        except IndexError:
            return self._overflow()
        self._lasts[slot] = last
        self._starts[slot] = self._clock()
        self._weights[slot] = weight
        self._workers[slot] = worker
        if self._keyed:
            self._set_key(slot, key)
        self._firsts[slot] = first + 1
        return slot

    def end(self, slot: int) -> None:
        """Note that the batch of a slot is no longer in flight, however it ended."""
        if slot < 0:
            self._counters[layout.UNRECORDED] -= 1
            return
        self._firsts[slot] = 0
        self._free.append(slot)

    def note(
        self, kind: FlightKind, a: float = 0.0, b: float = 0.0, c: float = 0.0, d: float = 0.0, e: float = 0.0
    ) -> None:
        """Note an event.

        Args:
            kind: What happened; its docstring says what the numbers are.
            a: The first number.
            b: The second.
            c: The third.
            d: The fourth.
            e: The fifth.
        """
        if kind >= _FIRST_BATCH_KIND:
            number = next(self._batch_numbers)
            at = _BATCHES_AT + (number - 1) % _BATCH_EVENTS * _EVENT_BYTES
        else:
            number = next(self._memory_numbers)
            at = _MEMORY_AT + (number - 1) % _MEMORY_EVENTS * _EVENT_BYTES
        _PACK_EVENT(self._buffer, at, number, self._clock(), a, b, c, d, e, kind, number & _LOW)

    def reading(self, in_use_bytes: int, rss_bytes: int, limit_bytes: int, level: int = 0) -> None:
        """Note a reading; one each 10 ms is kept, and each that is 1 % of the limit above the one kept before.

        Args:
            in_use_bytes: What counts against the limit.
            rss_bytes: Resident pages of the process.
            limit_bytes: The limit.
            level: The level of pressure.
        """
        now_s = self._clock()
        if now_s < self._next_s and in_use_bytes < self._step_bytes:
            return
        self._next_s, self._step_bytes = now_s + _THIN_S, in_use_bytes + _RISE * limit_bytes
        self.note(FlightKind.READING, in_use_bytes, rss_bytes, limit_bytes, level)

    def close(self) -> None:
        """Mark an end in order; once more does nothing."""
        if self._map is not None:
            self._counters[layout.STATE] = layout.CLOSED
        self._leave()

    def _overflow(self) -> int:
        self._counters[layout.UNRECORDED] += 1
        self._counters[layout.EVER_UNRECORDED] += 1
        return -1

    def _set_key(self, slot: int, key: str) -> None:
        data = key.encode(errors="surrogatepass")
        size = len(data)
        if size > _KEY_BYTES:
            data, size = data[:_KEY_BYTES], _KEY_BYTES + _KEY_CUT
        at = _KEYS_AT + slot * _KEY_BYTES
        self._key_sizes[slot] = size
        self._keys[at : at + len(data)] = data

    def _leave(self) -> None:
        """Write to memory of our own from here on, so that no call needs to ask whether there is a file."""
        self._attach(mmap.mmap(-1, layout.FILE_BYTES))
        # Not closed by name: another thread may be in the middle of a store. It goes with its last view.
        self._map = None

    def _attach(self, buffer: mmap.mmap) -> None:
        self._buffer = buffer
        view = memoryview(buffer)

        def column(at: int) -> memoryview:
            return view[at : at + layout.COLUMN_BYTES]

        self._counters = view[layout.COUNTERS_AT : layout.COUNTERS_AT + 64].cast("q")
        self._firsts = column(layout.FIRSTS_AT).cast("q")
        self._lasts = column(layout.LASTS_AT).cast("q")
        self._starts = column(layout.STARTS_AT).cast("d")
        self._weights = column(layout.WEIGHTS_AT).cast("d")
        self._workers = column(layout.WORKERS_AT).cast("q")
        self._key_sizes = view[layout.KEY_SIZES_AT : layout.KEY_SIZES_AT + layout.SLOTS]
        self._keys = view


def _create(path: Path, header: FlightHeader) -> mmap.mmap:
    """Make the file beside its place and move it there: whoever has the old one mapped keeps it."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.unlink(missing_ok=True)  # of a process with our number that was killed right here, as in a container
        try:
            _write(new, header)
            os.replace(new, path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), layout.FILE_BYTES)
    except OSError as error:
        problem = f"cannot be made: {error.strerror or error}"
        advice = f"it needs {layout.FILE_BYTES // 1024} KiB in a directory that can be written"
        raise FlightRecordError(str(path), problem, advice) from error


def _write(path: Path, header: FlightHeader) -> None:
    """Write the header, and give every page its block: a sparse file on a full disk would be a SIGBUS later on."""
    described = json.dumps(asdict(header)).encode()
    if layout.JSON_AT + len(described) > layout.HEADER_BYTES:
        raise OSError("the names of the operation and its control group are too long")
    counters = (layout.RUNNING, 0, 0, 0, 0, 0, 0, 0)
    prefix = struct.pack(layout.PREFIX, layout.MAGIC, layout.VERSION, len(described), *counters)
    with path.open("xb") as file:
        file.write(bytes(layout.FILE_BYTES))
        file.flush()
        if hasattr(os, "posix_fallocate"):
            _allocate(file.fileno())
        file.seek(0)
        file.write(prefix.ljust(layout.JSON_AT, b"\0") + described)


def _allocate(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, layout.FILE_BYTES)
    except OSError as error:
        # Zeros were written already; here only what file systems that keep them as a hole can do better.
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise


_watching = False


def close_all() -> None:
    """Mark every record of this process as ended in order: it is about to end at once, and no item is to blame."""
    for recorder in list(_recorders):
        recorder.close()


def _watch_forks() -> None:
    global _watching
    if not _watching and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_all)
        _watching = True


def _leave_all() -> None:
    """In a forked child: what its parent does is told by the parent."""
    for recorder in list(_recorders):
        recorder._leave()
    _recorders.clear()
