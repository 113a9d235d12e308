"""Writing a flight record and reading it back: `memflow.journal.flight`, `flight_reader`, `flight_format`."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.exceptions import FlightRecordError
from memflow.journal import flight
from memflow.journal import flight_format as layout
from memflow.journal.flight import FlightRecorder
from memflow.journal.flight_format import FlightKind, InFlight
from memflow.journal.flight_reader import is_flight_record, load_flight
from memflow.memory.readings import MemoryLimit

LIMIT = MemoryLimit(128 << 20, "a test", "setting")


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run-flight"


def test_everything_comes_back(path: Path) -> None:
    clock = Clock()
    recorder = FlightRecorder(path, operation="embed", keyed=True, limit=LIMIT, clock=clock)
    first = recorder.start(0, 9, 1000.0, "a.pdf", worker=3)
    clock.now_s = 101.5
    recorder.start(10, 10, key="ä" * 40)
    recorder.end(first)
    recorder.start(2**62, 2**62 + 1, 7.5)
    recorder.reading(50 << 20, 40 << 20, 128 << 20, 1)
    clock.now_s = 102.0
    recorder.note(FlightKind.BATCH_ENDED, 10, 1.5, 1000, 0)
    record = load_flight(path)
    assert is_flight_record(path)
    assert path.stat().st_size == layout.FILE_BYTES
    assert record.in_flight == (
        InFlight(10, 10, 101.5, 0.0, 0, "ä" * 32 + "…"),
        InFlight(2**62, 2**62 + 1, 101.5, 7.5, 0, ""),
    )
    assert [(each.kind, each.time_s, each.numbers) for each in record.events] == [
        (FlightKind.READING, 101.5, (50 << 20, 40 << 20, 128 << 20, 1, 0)),
        (FlightKind.BATCH_ENDED, 102.0, (10, 1.5, 1000, 0, 0)),
    ]
    header = record.header
    assert (header.operation, header.keyed, header.monotonic_s) == ("embed", True, 100.0)
    assert (header.limit_bytes, header.limit_source, header.limit_kind) == (128 << 20, "a test", "setting")
    assert header.origin.pid == os.getpid()
    assert (record.closed, record.writer_alive, record.last_sign_s) == (False, True, 102.0)
    recorder.close()


def test_closing_marks_an_end_in_order_and_writes_nothing_more(path: Path) -> None:
    with FlightRecorder(path, operation="embed") as recorder:
        slot = recorder.start(0, 0)
    recorder.end(slot)
    recorder.end(recorder.start(1, 1))
    recorder.note(FlightKind.NOTE, 1)
    recorder.close()
    record = load_flight(path)
    assert (record.closed, record.writer_alive, record.events) == (True, False, ())
    assert [each.first for each in record.in_flight] == [0]


def test_keys_are_kept_only_where_the_run_is_keyed(path: Path) -> None:
    with FlightRecorder(path, operation="embed") as recorder:
        recorder.start(0, 0, key="a")
    assert load_flight(path).in_flight[0].key == ""


def test_a_slot_keeps_nothing_of_the_batch_before(path: Path) -> None:
    clock = Clock()
    with FlightRecorder(path, operation="embed", keyed=True, clock=clock) as recorder:
        recorder.end(recorder.start(0, 9, 5.0, "long key", worker=2))
        recorder.start(10, 10)
    assert load_flight(path).in_flight == (InFlight(10, 10, 100.0, 0.0, 0, ""),)


def test_more_in_flight_than_slots_is_counted(path: Path) -> None:
    with FlightRecorder(path, operation="embed") as recorder:
        slots = [recorder.start(each, each) for each in range(layout.SLOTS + 5)]
        for slot in (slots[0], slots[-1], slots[-2]):
            recorder.end(slot)
        recorder.start(9999, 9999)
    record = load_flight(path)
    assert len(record.in_flight) == layout.SLOTS
    assert record.in_flight[-1].first == 9999
    assert (record.unrecorded, record.ever_unrecorded) == (3, 5)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 3 * layout.BATCH_EVENTS), readings=st.integers(0, 2 * layout.MEMORY_EVENTS))
def test_rings_keep_the_last_events_in_order(
    tmp_path_factory: pytest.TempPathFactory, count: int, readings: int
) -> None:
    path = tmp_path_factory.mktemp("ring") / "flight"
    clock = Clock()
    with FlightRecorder(path, operation="embed", clock=clock) as recorder:
        for number in range(count):
            recorder.note(FlightKind.BATCH_ENDED, number)
        clock.now_s += 1
        for number in range(readings):
            recorder.note(FlightKind.READING, number)
    record = load_flight(path)
    ended = [event.numbers[0] for event in record.events if event.kind == FlightKind.BATCH_ENDED]
    read = [event.numbers[0] for event in record.events if event.kind == FlightKind.READING]
    assert ended == list(range(count))[-layout.BATCH_EVENTS :]
    assert read == list(range(readings))[-layout.MEMORY_EVENTS :]
    assert record.torn_events == 0


@pytest.mark.parametrize("whole_bytes", [8, 16, 56, 60])
def test_a_torn_event_is_left_out(path: Path, whole_bytes: int) -> None:
    """The ring went round once; the second event over the first was written up to some byte."""
    with FlightRecorder(path, operation="embed") as recorder:
        for number in range(layout.BATCH_EVENTS):
            recorder.note(FlightKind.BATCH_ENDED, number)
    new = struct.pack(layout.EVENT, layout.BATCH_EVENTS + 1, 1e9, *[7.0] * 5, FlightKind.NOTE, layout.BATCH_EVENTS + 1)
    with path.open("r+b") as file:
        file.seek(layout.BATCHES_AT)
        file.write(new[:whole_bytes])
    record = load_flight(path)
    assert record.torn_events == 1
    assert [event.numbers[0] for event in record.events] == list(range(1, layout.BATCH_EVENTS))


def test_readings_thin_themselves_out(path: Path) -> None:
    clock = Clock()
    with FlightRecorder(path, operation="embed", clock=clock) as recorder:
        for ms, in_use in ((0, 100), (1, 101), (2, 111), (3, 115), (9, 90), (12.1, 91), (12.2, 90)):
            clock.now_s = 100 + ms / 1000
            recorder.reading(in_use, 0, 1000)
    assert [event.numbers[0] for event in load_flight(path).events] == [100, 111, 91]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_writes_nothing(path: Path) -> None:
    with FlightRecorder(path, operation="embed") as recorder:
        recorder.start(0, 0)
        child = os.fork()
        if not child:
            recorder.start(1, 1)
            recorder.note(FlightKind.NOTE, 1)
            recorder.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        record = load_flight(path)
        assert [each.first for each in record.in_flight] == [0]
        assert (record.closed, record.writer_alive, record.events) == (False, True, ())


def test_a_new_record_leaves_the_old_one_to_who_reads_it(path: Path) -> None:
    with FlightRecorder(path, operation="old") as old:
        with FlightRecorder(path, operation="new") as new:
            old.start(1, 1)
            new.start(2, 2)
        assert load_flight(path).header.operation == "new"
    assert [each.first for each in load_flight(path).in_flight] == [2]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# ---- bad files --------------------------------------------------------------------------------------------------


def cut(data: bytes) -> bytes:
    return data[: layout.FILE_BYTES - 100]


def newer(data: bytes) -> bytes:
    return data[:8] + struct.pack("I", layout.VERSION + 1) + data[12:]


def garbled(data: bytes) -> bytes:
    return data[: layout.JSON_AT] + b"{}" * 20 + data[layout.JSON_AT + 40 :]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"SQLite format 3\0" * 2000, "is no flight record; a run with a journal writes one beside it"),
        (lambda data: data[:1000], "is cut short: 1,000 bytes of 888,832"),
        (cut, "is cut short: 888,732 bytes of 888,832; copy it anew"),
        (newer, "is of version 2, and this memflow reads up to 1; read it with the memflow that wrote it"),
        (garbled, "has a header that cannot be read"),
    ],
)
def test_bad_files_are_named(path: Path, spoil: Callable[[bytes], bytes], told: str) -> None:
    FlightRecorder(path, operation="embed").close()
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(FlightRecordError) as caught:
        load_flight(path)
    assert f"{path} {told}" in str(caught.value)


def test_missing_files_are_named(path: Path) -> None:
    with pytest.raises(FlightRecordError, match="cannot be read: No such file"):
        load_flight(path)
    assert not is_flight_record(path)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlightRecordError, match="cannot be made: No such file or directory; it needs 868 KiB"):
        FlightRecorder(tmp_path / "none" / "flight", operation="embed")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no posix_fallocate here")
def test_a_full_disk_is_refused_and_the_old_record_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FlightRecorder(path, operation="old").close()

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(flight.os, "posix_fallocate", full)
    with pytest.raises(FlightRecordError, match="cannot be made: No space left on device"):
        FlightRecorder(path, operation="new")
    assert load_flight(path).header.operation == "old"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
