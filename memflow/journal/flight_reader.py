"""Reading a flight record, whole or cut short by a kill.

Covers files that are none, that are cut, and those of a newer version. The layout is `flight_format`'s; what a record
means is `memflow.journal.autopsy`'s.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memflow.exceptions import FlightRecordError
from memflow.journal import flight_format as layout
from memflow.journal.flight_format import FlightEvent, FlightHeader, FlightRecord, InFlight, Origin
from memflow.journal.flight_origin import is_alive

__all__ = ["is_flight_record", "load_flight"]

_MAGIC = b"MEMFLOW"


def is_flight_record(path: Path) -> bool:
    """Whether a file begins like a flight record."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def load_flight(path: Path) -> FlightRecord:
    """Read a record; one that is still being written too, and `writer_alive` says so.

    Args:
        path: The file.

    Raises:
        FlightRecordError: It cannot be read, is no record, is cut short, or is of a newer version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FlightRecordError(str(path), f"cannot be read: {error.strerror or error}", "name another file") from error
    order = _byte_order(path, data)
    _, version, size, *counters = struct.unpack_from(order + layout.PREFIX, data)
    if version > layout.VERSION:
        problem = f"is of version {version}, and this memflow reads up to {layout.VERSION}"
        raise FlightRecordError(str(path), problem, "read it with the memflow that wrote it, or a newer one")
    header = _header(path, data, size)
    if len(data) < layout.FILE_BYTES:
        problem = f"is cut short: {len(data):,} bytes of {layout.FILE_BYTES:,}"
        raise FlightRecordError(str(path), problem, "copy it anew from where it was written")
    closed = counters[layout.STATE] == layout.CLOSED
    memory, torn_memory = _ring(data, order, layout.MEMORY_AT, layout.MEMORY_EVENTS)
    batches, torn_batches = _ring(data, order, layout.BATCHES_AT, layout.BATCH_EVENTS)
    return FlightRecord(
        header=header,
        closed=closed,
        writer_alive=not closed and is_alive(header.origin),
        in_flight=tuple(sorted(_in_flight(data, order, header.keyed), key=lambda each: each.first)),
        unrecorded=max(0, counters[layout.UNRECORDED]),
        ever_unrecorded=counters[layout.EVER_UNRECORDED],
        events=tuple(sorted(memory + batches, key=lambda event: event.time_s)),
        torn_events=torn_memory + torn_batches,
    )


def _byte_order(path: Path, data: bytes) -> str:
    if not data:
        raise FlightRecordError(str(path), "is empty", "name the file that a run has written")
    mark = data[len(_MAGIC) : len(_MAGIC) + 1]
    if data[: len(_MAGIC)] != _MAGIC or mark not in (b"<", b">"):
        problem = "is no flight record"
        raise FlightRecordError(str(path), problem, "a run with a journal writes one beside it, named PATH-flight")
    if len(data) < layout.HEADER_BYTES:
        problem = f"is cut short: {len(data):,} bytes of {layout.FILE_BYTES:,}"
        raise FlightRecordError(str(path), problem, "copy it anew from where it was written")
    return mark.decode()


def _header(path: Path, data: bytes, size: int) -> FlightHeader:
    try:
        fields: dict[str, Any] = json.loads(data[layout.JSON_AT : layout.JSON_AT + size])
        return FlightHeader(**{**fields, "origin": Origin(**fields["origin"])})
    except (ValueError, TypeError, KeyError) as error:
        problem = f"has a header that cannot be read ({type(error).__name__}: {error})"
        raise FlightRecordError(str(path), problem, "it was overwritten by something else") from error


def _in_flight(data: bytes, order: str, keyed: bool) -> Iterator[InFlight]:
    def column(at: int, code: str) -> tuple[Any, ...]:
        return struct.unpack_from(f"{order}{layout.SLOTS}{code}", data, at)

    lasts, starts = column(layout.LASTS_AT, "q"), column(layout.STARTS_AT, "d")
    weights, workers = column(layout.WEIGHTS_AT, "d"), column(layout.WORKERS_AT, "q")
    for slot, mark in enumerate(column(layout.FIRSTS_AT, "q")):
        if mark:
            key = _key(data, slot) if keyed else ""
            yield InFlight(mark - 1, lasts[slot], starts[slot], weights[slot], workers[slot], key)


def _key(data: bytes, slot: int) -> str:
    size = data[layout.KEY_SIZES_AT + slot]
    cut = size > layout.KEY_BYTES
    at = layout.KEYS_AT + slot * layout.KEY_BYTES
    text = data[at : at + (layout.KEY_BYTES if cut else size)].decode(errors="ignore")
    return text + "…" if cut else text


def _ring(data: bytes, order: str, at: int, capacity: int) -> tuple[list[FlightEvent], int]:
    """The whole events of a ring in the order they were written, and how many are torn."""
    found, torn = [], 0
    part = memoryview(data)[at : at + capacity * layout.EVENT_BYTES]
    for place, fields in enumerate(struct.iter_unpack(order + layout.EVENT, part)):
        number, time_s, *numbers, kind, low = fields
        if not number and not low:
            continue
        if number & 0xFFFFFFFF != low or (number - 1) % capacity != place:
            torn += 1
            continue
        found.append((number, FlightEvent(time_s, kind, tuple(numbers))))
    return [event for _, event in sorted(found, key=lambda pair: pair[0])], torn
