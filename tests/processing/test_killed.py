"""Calls that are killed at random moments and resumed: in the end, nothing is missing and nothing is doubled."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from memflow.journal.flight import FlightRecorder
from memflow.journal.sqlite import SqliteJournal
from tests.processing.calls import METHODS, through
from tests.processing.journaling import Work, options, processor
from tests.processing.killing import ITEMS, WAYS, killed

FORKS = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "win32", reason="no SIGKILL there")
EVERYTHING = [{"item": n, "result": 3 * n} for n in range(ITEMS)]


@FORKS
@pytest.mark.slow
@pytest.mark.parametrize("way", list(WAYS))
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(tmp_path: Path, way: str) -> None:
    deaths, found = killed("kill", way, tmp_path, seed=len(way))
    assert deaths > 0
    if way.endswith("not kept"):
        taken = [json.loads(line) for line in (tmp_path / "taken").read_text().splitlines() if line.endswith("}")]
        assert {each["item"] for each in taken} == set(range(ITEMS))
        # Twice comes only what was not committed yet, or not asked past, at a death.
        assert max(Counter(each["item"] for each in taken).values()) <= deaths + 1
    elif way.endswith("unordered"):
        assert sorted(found, key=lambda each: each["item"]) == EVERYTHING
    else:
        assert found == EVERYTHING
    assert SqliteJournal(tmp_path / "journal").summary().complete


def empty(path: Path) -> None:
    path.touch()


def without_tables(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


def with_half_a_flight_record(path: Path) -> None:
    path.with_name(f"{path.name}-flight").write_bytes(b"MEMFLOW<" + bytes(100))


def with_an_empty_flight_record(path: Path) -> None:
    path.with_name(f"{path.name}-flight").touch()


def with_a_flight_record_that_was_being_made(path: Path) -> None:
    path.with_name(f"{path.name}-flight.{os.getpid()}.new").write_bytes(b"MEMFLOW")


@METHODS
@pytest.mark.parametrize(
    "leave",
    [
        empty,
        without_tables,
        with_half_a_flight_record,
        with_an_empty_flight_record,
        with_a_flight_record_that_was_being_made,
    ],
    ids=lambda each: each.__name__,
)
def test_a_kill_while_the_files_are_made_is_no_hindrance(run, tmp_path: Path, method: str, leave) -> None:
    async def main() -> None:
        path = tmp_path / "journal"
        leave(path)
        async with processor() as of:
            for _ in range(2):
                work = Work()
                found = await through(of, method, range(20), work, **options(False, path))
                assert found == [2 * n for n in range(20)]
                leave(path) if leave not in (empty, without_tables) else None
        assert not work.runs

    run(main)


def test_a_record_that_was_being_made_by_a_process_of_our_number_is_replaced(tmp_path: Path) -> None:
    stale = tmp_path / f"flight.{os.getpid()}.new"
    stale.write_bytes(b"half of it")
    FlightRecorder(tmp_path / "flight", operation="embed").close()
    assert [each.name for each in tmp_path.iterdir()] == ["flight"]
