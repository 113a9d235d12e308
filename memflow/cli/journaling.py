"""A run's journal on the command line: what is in the output already, and where to go on.

Covers opening, the fingerprint of the input and output, what is noted at each write, and closing. What is finished
but not written yet is `memflow.journal`'s, cutting files back to what was noted `output`'s.

The order of things makes every record appear once: a record is written, then the journal notes how long the files
are; what a kill left behind the noted length is cut off when the run is resumed, and written again.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from memflow.cli.record_writer import keep_for
from memflow.cli.records import format_of
from memflow.cli.run import RunSettings
from memflow.cli.sink import Written
from memflow.journal.base import Commit, FailureRecord, ItemId, Opened, RunIdentity, Selection, Settled
from memflow.journal.keys import Key
from memflow.journal.sqlite import SqliteJournal

__all__ = ["RunJournal", "open_journal"]

_SAMPLE_BYTES = 64 << 10


class RunJournal:
    """A journal that is open for the whole command, and is handed to the processor so; it closes it in name only.

    Args:
        journal: open.
        opened: what it held.
        skip: items that the user passes over.

    Attributes:
        settled: what is in the output; items before `settled.items` need not be read again.
        resumed: whether an earlier run has begun it.
    """

    def __init__(self, journal: SqliteJournal, opened: Opened, skip: int) -> None:
        self._skip = skip
        self._journal = journal
        self._opened = opened
        self.resumed = not opened.fresh
        self.complete = opened.complete
        self.settled = opened.settled

    @property
    def first(self) -> int:
        """Position of the first item that is not in the output."""
        return self.settled.items if self.settled is not None else self._skip

    @property
    def path(self) -> Path:
        """The file."""
        return self._journal.path

    @property
    def written(self) -> Written:
        """What is in the files."""
        notes = self.settled.notes if self.settled is not None else {}
        return Written(**{each.name: int(notes.get(each.name, "0")) for each in fields(Written)})

    @property
    def columns(self) -> list[str] | None:
        """The columns of the CSV file; None where there are none yet."""
        notes = self.settled.notes if self.settled is not None else {}
        return from_json(notes["columns"]) if "columns" in notes else None

    def length_of(self, name: str) -> int | None:
        """Return how long a file was at the last note, in bytes; None where it was not noted."""
        return self.settled.offsets.get(name) if self.settled is not None else None

    def settle(self, items: int, written: Written, offsets: Mapping[str, int], columns: list[str] | None) -> None:
        """Note that every item before a position is in the files, and how long those are. Blocks.

        Raises:
            JournalError: it cannot be written.
        """
        notes = {name: str(value) for name, value in asdict(written).items()}
        if columns is not None and written.succeeded:
            notes["columns"] = to_json(columns).decode()
        self.settled = Settled(items, offsets, notes)
        self._journal.commit(Commit(settled=self.settled))

    def end(self, *, complete: bool) -> None:
        """Close it."""
        self._journal.close(complete)

    # ---- what the processor sees ------------------------------------------------------------------------------

    def open(self, identity: RunIdentity, *, resume: bool = True) -> Opened:
        """Give what it held when the command began; whose it is was checked then."""
        return replace(self._opened, first=self.first)

    def commit(self, commit: Commit) -> None:
        """Record all of it; see `Journal.commit`."""
        self._journal.commit(commit)

    def count_deaths(self, items: Iterable[int | Key]) -> Mapping[ItemId, int]:
        """Add one death to each; see `Journal.count_deaths`."""
        return self._journal.count_deaths(items)

    def results(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """Give kept results; see `Journal.results`."""
        return self._journal.results(first, last)

    def result(self, digest: bytes) -> Any:
        """Give a kept result; see `Journal.result`."""
        return self._journal.result(digest)

    def release(self, selection: Selection) -> int:
        """Let failures run again; see `Journal.release`."""
        return self._journal.release(selection)

    def summary(self) -> Any:
        """Give the journal in figures; see `Journal.summary`."""
        return self._journal.summary()

    def failures(self) -> Iterator[FailureRecord]:
        """Give every failure; see `Journal.failures`."""
        return self._journal.failures()

    def close(self, complete: bool) -> None:
        """Leave it open: what was finished is not in the output yet."""


def open_journal(settings: RunSettings) -> RunJournal | None:
    """Open the journal that a run is to keep; None where it keeps none.

    Raises:
        JournalError: it is of another run, in use, or cannot be read or written; or it holds a run, and `--resume`
            was not given.
    """
    if settings.journal is None:
        return None
    # As records, since a result may be anything that the output's format has a form for.
    keep, find_again = keep_for(format_of(settings.output, settings.output_format, option="--output-format"))
    journal = SqliteJournal(
        settings.journal,
        synchronous=settings.batch_processor.journal_synchronous,
        encode=keep,
        decode=find_again,
    )
    identity = RunIdentity(
        f"{settings.target}{' in batches' if settings.batched else ''}",
        keyed=False,
        fingerprint={
            **_describe_input(settings),
            **_describe_output(settings),
            "skip": settings.skip,
            "input field": settings.input_field or "",
        },
    )
    return RunJournal(journal, journal.open(identity, resume=settings.resume), settings.skip)


def _describe_input(settings: RunSettings) -> dict[str, str | int]:
    if settings.source is not None:
        return {"source": settings.source}
    if settings.input is None:
        paths = sorted({path for each in settings.files for path in glob.iglob(each, recursive=True)})
        return {"files": len(paths), "their names": _digest("\0".join(paths).encode(errors="surrogateescape"))}
    try:
        with open(settings.input, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(_SAMPLE_BYTES)
            file.seek(max(0, size - _SAMPLE_BYTES))
            end = file.read(_SAMPLE_BYTES)
    except OSError:
        return {}  # opening it says so
    return {"size of the input": size, "its beginning": _digest(start), "its end": _digest(end)}


def _describe_output(settings: RunSettings) -> dict[str, str]:
    found = {"output": os.path.abspath(settings.output), "output format": str(settings.output_format or "")}
    found["failures"] = os.path.abspath(settings.failures) if settings.failures else ""
    return found


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
