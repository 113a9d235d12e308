"""An item that kills whoever runs it: found, left out, reported; everything else gets done."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from memflow.journal.base import Selection
from memflow.journal.flight import FlightRecorder
from memflow.journal.flight_reader import load_flight
from memflow.journal.memory import MemoryJournal
from memflow.journal.sqlite import SqliteJournal
from memflow.processing.outcome import ItemFailure
from tests.processing.calls import METHODS, through
from tests.processing.journaling import Work, left_by, options, processor
from tests.processing.killing import ITEMS, POISON, killed


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.slow
@pytest.mark.parametrize("way", ["process", "process keyed", "process_batches", "process_batches keyed", "stream"])
def test_after_max_deaths_everything_else_is_done(tmp_path: Path, way: str) -> None:
    deaths, found = killed("poison", way, tmp_path)
    assert deaths == 3
    assert found[POISON] == [POISON, "poison", 3]
    del found[POISON]
    assert found == [{"item": n, "result": 3 * n} for n in range(ITEMS) if n != POISON]
    journal = SqliteJournal(tmp_path / "journal")
    summary = journal.summary()
    assert (summary.complete, summary.finished, summary.quarantined, summary.failed) == (True, ITEMS - 1, 1, 0)
    [failure] = journal.failures()
    assert (failure.position, failure.kind, failure.attempts, failure.input) == (POISON, "poison", 3, b"%d" % POISON)
    last = load_flight(tmp_path / "journal-flight-last")
    assert [(each.first, each.last) for each in last.in_flight] == [(POISON, POISON)]
    assert not last.closed


@METHODS
def test_it_is_delivered_in_its_place_and_runs_again_once_released(run, method: str) -> None:
    async def main() -> None:
        journal = left_by(range(20), finished={}, suspects={7: 3, 8: 2})
        async with processor(max_deaths=3) as of:
            work = Work()
            for _ in range(2):
                found = await through(of, method, range(20), work, **options(False, journal))
                assert isinstance(found[7], ItemFailure)
                assert (found[7].index, found[7].kind, found[7].attempts) == (7, "poison", 3)
                assert "it was in flight at 3 deaths of the run" in str(found[7])
            assert work.runs == Counter(n for n in range(20) if n != 7)
            assert work.most_beside[8] == 0
            assert journal.release(Selection.parse(["poison"])) == 1
            assert await through(of, method, range(20), work, **options(False, journal)) == [2 * n for n in range(20)]
        assert work.runs == Counter(range(20))

    run(main)


def test_max_deaths_is_a_setting(run) -> None:
    async def main() -> None:
        journal = left_by(range(4), finished={}, suspects={1: 1})
        async with processor(max_deaths=1) as of:
            found = await of.process(range(4), Work(), **options(False, journal))
        assert [n for n, each in enumerate(found) if isinstance(each, ItemFailure)] == [1]

    run(main)


@METHODS
@pytest.mark.parametrize("keyed", [False, True])
def test_what_was_in_flight_at_a_death_runs_alone(run, tmp_path: Path, method: str, keyed: bool) -> None:
    from memflow.processing.recording import name_of

    path = tmp_path / "journal"

    async def main() -> None:
        work = Work()
        async with processor() as of:
            async with of.stream(range(20), Work(), **options(keyed, path)) as results:
                assert await anext(results) == 0
            flight = FlightRecorder(Path(f"{path}-flight"), operation="test.work", keyed=keyed)
            for position in (0, 15, 16):  # the first is finished since
                flight.start(position, position, 0.0, name_of(make_key(str(position))) if keyed else "")
            del flight  # as a kill leaves it
            assert await through(of, method, range(20), work, **options(keyed, path)) == [2 * n for n in range(20)]
        assert (work.most_beside[15], work.most_beside[16]) == (0, 0)
        assert work.runs[0] == 0
        assert set(work.runs.values()) == {1}

    from memflow.journal.keys import make_key

    run(main)


def test_a_death_of_a_run_that_was_deleted_counts_for_nobody(run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "journal"
        flight = FlightRecorder(Path(f"{path}-flight"), operation="test.work")
        flight.start(3, 3)
        work = Work()
        async with processor(max_deaths=1) as of:
            assert await of.process(range(8), work, **options(False, path)) == [2 * n for n in range(8)]
        assert work.most_beside[3] > 0

    run(main)


def test_a_journal_in_memory_knows_no_suspects(run) -> None:
    async def main() -> None:
        journal = MemoryJournal()
        async with processor() as of:
            await of.process(range(8), Work(), **options(False, journal))
        assert journal.summary().quarantined == 0

    run(main)
