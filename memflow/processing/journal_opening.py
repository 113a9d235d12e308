"""Opening a call's journal, and closing it.

Covers who died last, and the files beside the journal. What happens between is
`memflow.processing.journaled`'s.

Beside a journal at PATH stand PATH-flight, where the run that is alive says what is in flight, and PATH-flight-last,
the same of the last run that died, for `memflow autopsy`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memflow.exceptions import FlightRecordError
from memflow.journal.base import Journal, Opened, RunIdentity
from memflow.journal.flight import FlightRecorder
from memflow.journal.flight_format import FlightRecord
from memflow.journal.flight_reader import load_flight
from memflow.journal.keys import Key
from memflow.journal.writer import JournalWriter
from memflow.memory.readings import MemoryLimit
from memflow.processing.fingerprint import fingerprint_of
from memflow.processing.journaled import JournaledRun
from memflow.processing.leftover import Suspicion
from memflow.processing.plan import CallPlan
from memflow.processing.recorder import NoRecorder, Recorder

__all__ = ["close_run", "flight_path", "open_run"]


def open_run(plan: CallPlan, items: Any, *, max_deaths: int, limit: MemoryLimit | None) -> JournaledRun:
    """Open the journal, count the last run's death if it died, and begin a flight record. Blocks.

    Raises:
        JournalError: the journal is of another run, in use, or cannot be read or written.
    """
    asked = plan.journal
    assert asked is not None
    keyed = asked.key is not None
    found = {} if keyed else fingerprint_of(items)
    identity = RunIdentity(plan.operation, keyed, {**found, "keep_results": asked.keep, **asked.fingerprint})
    opened = asked.journal.open(identity)
    try:
        suspicion = _suspect(asked.journal, opened, max_deaths)
        recorder: Recorder = NoRecorder()
        if asked.journal.path is not None:
            recorder = FlightRecorder(flight_path(asked.journal), operation=plan.operation, keyed=keyed, limit=limit)
        writer = JournalWriter(asked.journal)
    except BaseException:
        asked.journal.close(complete=opened.complete)
        raise
    return JournaledRun(asked, opened, writer, recorder, suspicion)


def close_run(run: JournaledRun) -> None:
    """Commit what waits, and let go of the journal. Blocks.

    Raises:
        JournalError: something could not be written; what had been acknowledged is there.
    """
    try:
        run.writer.close(complete=run.complete)
    finally:
        run.recorder.close()


def flight_path(journal: Journal) -> Path:
    """Return where the run that is alive says what is in flight."""
    return Path(f"{journal.path}-flight")


def _suspect(journal: Journal, opened: Opened, max_deaths: int) -> Suspicion:
    """Count a death against what was in flight when the last run died, if it did, and keep its record."""
    deaths = dict(opened.deaths)
    path = flight_path(journal) if journal.path is not None else None
    record = _load(path) if path is not None and not opened.fresh else None
    if path is not None and record is not None and not record.closed:
        os.replace(path, f"{path}-last")
        died_with = [each for each in _ids(record) if not _is_known(opened, each)]
        if died_with:
            deaths.update(journal.count_deaths(died_with))
    return Suspicion(deaths, max_deaths)


def _load(path: Path) -> FlightRecord | None:
    try:
        return load_flight(path)
    except FlightRecordError:  # torn as it was made, or of another version: nobody is a suspect then
        return None


def _ids(record: FlightRecord) -> Iterator[int | Key]:
    for each in record.in_flight:
        if each.key:
            digest, text = each.key.split(" ", 1)
            yield bytes.fromhex(digest), text
        else:
            yield from range(each.first, each.last + 1)


def _is_known(opened: Opened, which: int | Key) -> bool:
    if isinstance(which, int):
        return which in opened.finished
    return opened.digests is not None and which[0] in opened.digests
