"""What `memflow journal show` shows: a journal and the files beside it, in plain values.

Covers gathering them without the journal's lock, also while a run writes. The text is `memflow.cli.journal_text`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from memflow.exceptions import FlightRecordError
from memflow.journal.base import DeathRecord, FailureRecord, Settled
from memflow.journal.flight_reader import load_flight
from memflow.journal.lock import LockHolder, read_holder
from memflow.journal.sqlite import SqliteJournal

__all__ = ["FlightNote", "ShownFailure", "ShownSuspect", "Survey", "survey"]


@dataclass(frozen=True, slots=True)
class ShownFailure:
    """An item that was given up."""

    position: int
    """Its position in the input."""
    key: str | None
    """Its key in words; None in a run without keys."""
    kind: str
    """"error" or "poison"."""
    error_type: str
    """The error's class."""
    message: str
    """The error's text."""
    attempts: int
    """How often it was tried."""

    @classmethod
    def of(cls, record: FailureRecord) -> ShownFailure:
        """Leave out the input, which may be long."""
        return cls(record.position, record.key_text, record.kind, record.error_type, record.message, record.attempts)


@dataclass(frozen=True, slots=True)
class ShownSuspect:
    """An unfinished item that was in flight when a run died."""

    position: int | None
    """Its position in the input; None in a run with keys."""
    key: str | None
    """Its key in words; None in a run without keys."""
    deaths: int
    """At how many deaths."""

    @classmethod
    def of(cls, record: DeathRecord) -> ShownSuspect:
        """Leave out the digest."""
        return cls(record.position, record.key_text, record.deaths)


@dataclass(frozen=True, slots=True)
class FlightNote:
    """A flight record beside the journal."""

    path: str
    """The file."""
    state: str
    """"running", "ended", "died", or "unreadable"."""
    in_flight: int
    """Items that it says are in flight, or were."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A journal in figures and lists."""

    path: str
    """The journal."""
    operation: str
    """Which operation the run is of."""
    keyed: bool
    """Items are known by key; otherwise by position."""
    fingerprint: Mapping[str, str | int | float | bool]
    """What is known of the input."""
    created_s: float
    """When it was made, in seconds since 1970."""
    memflow: str
    """The version of memflow that made it."""
    complete: bool
    """The run was closed as complete."""
    finished: int
    """Items finished, failures not among them."""
    failed: int
    """Items given up since the function raised."""
    quarantined: int
    """Items given up since they kill."""
    settled: Settled | None
    """What was delivered; None where nothing was, or where deliveries are not recorded."""
    size_bytes: int
    """Size of its files."""
    open: LockHolder | None
    """Who has it open, or had it open when it died."""
    suspects: tuple[ShownSuspect, ...]
    """Unfinished items that were in flight at deaths, the most deaths first; all, or the first."""
    all_suspects: int
    """How many there are."""
    failures: tuple[ShownFailure, ...]
    """Items given up, in order of position; all, or the first."""
    flight: FlightNote | None
    """The flight record of the run that is alive, or of the last one."""
    flight_last: FlightNote | None
    """The flight record of the last run that died, once another was begun."""


def survey(journal: SqliteJournal, most: int | None) -> Survey:
    """Gather it. Blocks; locks nothing and changes nothing.

    Args:
        journal: which; not opened.
        most: so many failures and suspects; None for all.

    Raises:
        JournalError: it cannot be read.
    """
    holder = read_holder(journal.path)
    found = journal.summary()
    suspects = journal.suspects()
    return Survey(
        path=str(journal.path),
        operation=found.identity.operation,
        keyed=found.identity.keyed,
        fingerprint=found.identity.fingerprint,
        created_s=found.created_s,
        memflow=found.memflow,
        complete=found.complete,
        finished=found.finished,
        failed=found.failed,
        quarantined=found.quarantined,
        settled=found.settled,
        size_bytes=found.size_bytes,
        open=holder,
        suspects=tuple(map(ShownSuspect.of, suspects[:most])),
        all_suspects=len(suspects),
        failures=tuple(map(ShownFailure.of, islice(journal.failures(), most))),
        flight=_look_at(Path(f"{journal.path}-flight")),
        flight_last=_look_at(Path(f"{journal.path}-flight-last")),
    )


def _look_at(path: Path) -> FlightNote | None:
    if not path.exists():
        return None
    try:
        record = load_flight(path)
    except FlightRecordError:
        return FlightNote(str(path), "unreadable", 0)
    state = "ended" if record.closed else "running" if record.writer_alive else "died"
    return FlightNote(str(path), state, sum(each.last - each.first + 1 for each in record.in_flight))
