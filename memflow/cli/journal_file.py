"""The journal that a command names: found, or refused with what to name instead.

Covers the path alone. What is in the file is `memflow.journal.sqlite`'s.
"""

from __future__ import annotations

import os
from pathlib import Path

from memflow.cli.usage import UsageError
from memflow.journal.flight_reader import is_flight_record
from memflow.journal.sqlite import SqliteJournal

__all__ = ["open_journal"]

_BESIDE = ("-lock", "-flight", "-flight-last", "-wal", "-shm")


def open_journal(name: str) -> SqliteJournal:
    """Return the journal of a path; no file is made or opened yet.

    Raises:
        UsageError: there is no such file, or it is one of those that stand beside a journal.
    """
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name} is a folder; name the journal, the path that --journal or journal= was given")
    if not path.exists():
        raise UsageError(f"{name} doesn't exist; name the journal, the path that --journal or journal= was given")
    journal = next((name.removesuffix(end) for end in _BESIDE if name.endswith(end)), name)
    if is_flight_record(path) or (journal != name and os.path.exists(journal)):
        raise UsageError(f"{name} stands beside a journal and is none itself; name {journal}")
    return SqliteJournal(path)
