"""The flight record: where everything lies in the file, and the values that are read from it. Pure.

Covers the layout and the frozen values. Writing is `memflow.journal.flight`'s, reading `flight_reader`'s.

The file has a header (a fixed part and a JSON object, written once), a table of what is in flight, as columns of
numbers, and two rings of events: that of memory turns slowly, so that a minute of it is left however many batches
end in a second.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["FlightEvent", "FlightHeader", "FlightKind", "FlightRecord", "InFlight", "Origin"]

MAGIC = b"MEMFLOW<" if sys.byteorder == "little" else b"MEMFLOW>"
"""What a record begins with; the last byte tells the byte order."""
VERSION = 1
PREFIX = "8sII8q"
"""Magic, version, length of the JSON object, and eight counters: state, unrecorded now, unrecorded ever, spare."""
STATE, UNRECORDED, EVER_UNRECORDED = 0, 1, 2
COUNTERS_AT = 16
JSON_AT = 128
HEADER_BYTES = 16_384
RUNNING, CLOSED = 1, 2

SLOTS = 2048
KEY_BYTES = 64
COLUMN_BYTES = SLOTS * 8
FIRSTS_AT = HEADER_BYTES
"""First position + 1; 0 for a free slot. Written last at the start and first at the end."""
LASTS_AT = FIRSTS_AT + COLUMN_BYTES
STARTS_AT = LASTS_AT + COLUMN_BYTES
WEIGHTS_AT = STARTS_AT + COLUMN_BYTES
WORKERS_AT = WEIGHTS_AT + COLUMN_BYTES
KEY_SIZES_AT = WORKERS_AT + COLUMN_BYTES
"""Bytes of each key; `KEY_CUT` more where it was longer than fits."""
KEYS_AT = KEY_SIZES_AT + SLOTS
KEY_CUT = 128

EVENT = "qd5dII"
"""Sequence number, time, five numbers, kind, and the sequence number's low half again: a torn event has two."""
EVENT_BYTES = 64
MEMORY_EVENTS = 6144
"""A minute of readings at the rate that `FlightRecorder.reading` thins them to."""
BATCH_EVENTS = 4096
MEMORY_AT = KEYS_AT + SLOTS * KEY_BYTES
BATCHES_AT = MEMORY_AT + MEMORY_EVENTS * EVENT_BYTES
FILE_BYTES = -(-(BATCHES_AT + BATCH_EVENTS * EVENT_BYTES) // 4096) * 4096


class FlightKind(IntEnum):
    """What an event is about, and what its numbers are. Those below 32 are kept in memory's ring."""

    READING = 1
    """In use, RSS, limit (bytes), level."""
    LEVEL = 2
    """Level before, level now."""
    DECISION = 3
    """Batch size, concurrency; where one of them changed, since each takes a reading's place."""
    RECLAIM = 4
    """Bytes given back, seconds."""
    MEMORY_ERROR = 5
    """Position, bytes asked for, where known."""
    BATCH_STARTED = 32
    """First position, last position, weight."""
    BATCH_ENDED = 33
    """Items, seconds, weight, first position."""
    WAIT = 34
    """Seconds of waiting for memory, bytes asked for."""
    ALONE = 35
    """Position of an item that runs alone."""
    NOTE = 63
    """Whatever the writer means by it."""


FIRST_BATCH_KIND = 32


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and under what a record was written; the kernel's counters are those at the start."""

    pid: int
    """The process that wrote it."""
    started: str
    """What tells that process from a later one with its number; "" where nothing does."""
    host: str
    """The machine's name."""
    boot_id: str
    """The kernel's name for this boot; "" where it has none."""
    group_path: str
    """The process's own memory control group, as the kernel names it; "" without one."""
    group_directory: str
    """Where that group's files are."""
    group_version: int
    """1 or 2; 0 without a group."""
    group_inode: int
    """Tells the group from a later one with its name; 0 where unknown."""
    oom_kills: int | None
    """Processes of the group that the kernel has killed for want of memory; None where it doesn't tell."""
    machine_oom_kills: int | None
    """The same for the whole machine."""


@dataclass(frozen=True, slots=True)
class FlightHeader:
    """What was known at the start."""

    operation: str
    """The operation's name."""
    keyed: bool
    """True where items have keys."""
    wall_s: float
    """When the record was begun, in seconds since 1970."""
    monotonic_s: float
    """The same in seconds of the clock that all other times are of."""
    limit_bytes: int
    """The effective limit in bytes; 0 where unknown."""
    limit_source: str
    """Where it came from, in words."""
    limit_kind: str
    """"setting", "cgroup", "rlimit", "host", or "" where unknown."""
    origin: Origin
    """The process, the machine and the control group."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """One batch that had started and not ended."""

    first: int
    """Position of its first item."""
    last: int
    """Position of its last item."""
    start_s: float
    """When it started, in seconds of the record's clock."""
    weight: float
    """Its size hint, in bytes; 0 where none was given."""
    worker: int
    """The worker that ran it."""
    key: str
    """Its first item's key, at most 64 bytes; a longer one is cut and ends in "…"."""


@dataclass(frozen=True, slots=True)
class FlightEvent:
    """Something that happened."""

    time_s: float
    """When, in seconds of the record's clock."""
    kind: int
    """A `FlightKind`, or a number that a newer writer means something by."""
    numbers: tuple[float, ...]
    """Five numbers, as the kind says."""


@dataclass(frozen=True, slots=True)
class FlightRecord:
    """All that a record holds."""

    header: FlightHeader
    """What was known at the start."""
    closed: bool
    """True where the run ended in order."""
    writer_alive: bool
    """True where the process that writes it still runs: then all of this is of one moment, and goes on."""
    in_flight: tuple[InFlight, ...]
    """What had started and not ended, the first position first."""
    unrecorded: int
    """Batches in flight beyond those, for which the table had no room."""
    ever_unrecorded: int
    """How many there ever were."""
    events: tuple[FlightEvent, ...]
    """The last events, in order."""
    torn_events: int
    """Events that were being written at the end, and are left out."""

    @property
    def last_sign_s(self) -> float:
        """The last moment that the record tells of, in seconds of its clock."""
        times = [event.time_s for event in self.events[-1:]] + [each.start_s for each in self.in_flight]
        return max(times, default=self.header.monotonic_s)
