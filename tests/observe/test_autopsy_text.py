"""A diagnosis in words: `memflow.observe.autopsy_text`."""

from __future__ import annotations

from dataclasses import replace

from memflow.journal.autopsy import Aftermath, diagnose
from memflow.journal.flight_format import FlightRecord
from memflow.observe.autopsy_text import autopsy_text
from tests.journal.records import LIMIT, batch, reading, record

KILLED = Aftermath(same_boot=True, group_exists=True, oom_kills=3, machine_oom_kills=10, limit_bytes=LIMIT)
FULL = [reading(each / 10, 60 + each * 0.6) for each in range(110)]


def text_of(found: FlightRecord, *, width: int = 100, plain: bool = False) -> str:
    return autopsy_text(found, diagnose(found, KILLED), width=width, plain=plain)


def test_it_tells_cause_curve_suspects_and_advice() -> None:
    small = [batch(each, 1.0, 1e6) for each in range(30)]
    text = text_of(record(FULL, [*small, batch(99, 1.0, 3e7, key="größe.pdf")]))
    lines = text.splitlines()
    assert lines[0] == "cause      killed at the limit (certain)"
    assert any(line.startswith("why        the kernel has killed 1") for line in lines)
    assert "run        embed, process 7 on box; 11 s up to the last sign of life" in lines
    assert "limit      128 MiB, from cgroup v2 memory.max of /app" in lines
    assert any(line.startswith("   128 MiB ┤──") for line in lines)
    assert "in flight  31 items" in lines
    assert "suspects   the first stands out" in lines
    assert any(line.startswith("           item 99 (größe.pdf), for 9.9 s, size hint 28.6 MiB: ") for line in lines)
    assert "           and 21 more; --json has all" in lines
    assert any(line.startswith("advice     run item 99 (größe.pdf) alone") for line in lines)


def test_batches_and_what_had_no_room_are_told() -> None:
    text = text_of(record(FULL, [batch(0, 1.0, count=50), batch(50, 1.0, count=50)], unrecorded=4))
    assert "in flight  100 items in 2 batches, and 4 more for which the record had no room" in text
    assert "suspects   none stands out" in text
    assert "items 0 to 49" in text


def test_an_end_in_order_suspects_nobody() -> None:
    text = text_of(record(FULL, closed=True))
    assert text.startswith("cause      ended in order (certain)")
    assert "in flight  nothing" in text
    assert "suspects" not in text
    assert "advice" not in text


def test_without_readings_there_is_no_curve() -> None:
    text = text_of(replace(record(), torn_events=1))
    assert "no reading of memory was recorded" in text
    assert "record     1 event half-written at the end, left out" in text
    assert "┤" not in text


def test_plain_text_is_ascii_and_narrow_text_is_narrow() -> None:
    found = record(FULL, [batch(99, 1.0, key="größe…")])
    assert text_of(found, plain=True).isascii()
    assert max(len(line) for line in text_of(found, width=60).splitlines()) <= 60
