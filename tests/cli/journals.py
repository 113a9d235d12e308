"""Journals of runs, made by hand for tests of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memflow.journal.base import NOTHING, Commit, FailureRecord, RunIdentity
from memflow.journal.keys import make_key
from memflow.journal.sqlite import SqliteJournal

__all__ = ["RUN", "failed", "make_journal", "open_journal"]

RUN = RunIdentity("jobs.embed", False, {"path": "in.jsonl", "size": 10})


def failed(position: int, kind: Any = "error", *, key: str | None = None, data: bytes | None = b"{}") -> FailureRecord:
    pair = make_key(key) if key is not None else None
    return FailureRecord(position, pair, kind, "ValueError", f"{position} is odd", 2, data)


def open_journal(path: Path, *failures: FailureRecord, keyed: bool = False, results: Any = ()) -> SqliteJournal:
    """A journal that a run has open: the results at their positions, None for one that is not kept."""
    journal = SqliteJournal(path)
    journal.open(RunIdentity(RUN.operation, keyed, RUN.fingerprint))
    for position, result in results:
        kept = NOTHING if result is None else result
        journal.commit(Commit([(position, kept, make_key(f"k{position}") if keyed else None)]))
    journal.commit(Commit(failures=failures))
    return journal


def make_journal(path: Path, *failures: FailureRecord, keyed: bool = False, results: Any = ()) -> None:
    """The same of a run that has ended."""
    open_journal(path, *failures, keyed=keyed, results=results).close(False)
