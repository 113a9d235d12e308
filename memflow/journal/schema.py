"""The journal's database: opening it, its tables, its meta data, and SQLite's errors in words.

Covers what every table is for. Not covered: what is written to them (`memflow.journal.position_book`,
`memflow.journal.key_book`, `memflow.journal.ledger`) and when (`memflow.journal.sqlite`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memflow._version import __version__
from memflow.exceptions import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    JournalWriteError,
)
from memflow.journal.base import RunIdentity
from memflow.journal.codec import DecodeFailed

__all__ = ["FORMAT", "connect", "connect_to_read", "create", "put_meta", "read_meta", "translated"]

FORMAT = 1
"""Version of the layout; a newer one is refused."""

_APPLICATION = 0x6D666C77
"""Marks the file as a journal of ours, so that no other database is written to."""
_BUSY_S = 10.0
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- Positions finished whose results are not kept: the ranges of memflow.journal.done.Positions.
CREATE TABLE finished (first INTEGER PRIMARY KEY, count INTEGER NOT NULL);
-- Positions finished with their results: those first + offsets (4 bytes each), or all from first to last.
CREATE TABLE kept (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, offsets BLOB, results BLOB NOT NULL);
-- Positions below what is settled that run again.
CREATE TABLE released (position INTEGER PRIMARY KEY);
-- Keys finished: digests of 16 bytes, positions of 8, side by side. Appended, since an index of random digests would
-- have a page of its own written for every item.
CREATE TABLE keyed (id INTEGER PRIMARY KEY, digests BLOB NOT NULL, positions BLOB NOT NULL, results BLOB);
-- An item is a position or a digest.
CREATE TABLE failures (item PRIMARY KEY, position INTEGER NOT NULL, key TEXT, kind TEXT NOT NULL,
    error_type TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL, input BLOB) WITHOUT ROWID;
CREATE TABLE deaths (item PRIMARY KEY, key TEXT, deaths INTEGER NOT NULL) WITHOUT ROWID;
"""


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open the database to write, or make it, and check that it is ours; a new one is empty.

    Raises:
        sqlite3.Error: it is damaged, can't be opened or can't be written (see `translated`).
        JournalError: it is of something else, or newer.
    """
    db = _connect(path, "mode=rwc")
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 16777216")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        _try_writing(db)
    except BaseException:
        db.close()
        raise
    return db


def _try_writing(db: sqlite3.Connection) -> None:
    """A file that can't be written says so now, not with the first commit; beginning alone would not tell."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute("BEGIN IMMEDIATE")
    db.execute(f"PRAGMA user_version = {version}")
    db.execute("ROLLBACK")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that somebody may be writing to, or one that nobody can write to; raises as `connect` does."""
    try:
        return _connect(path, "mode=rw")
    except sqlite3.OperationalError:
        if path.with_name(path.name + "-wal").exists():
            raise
        return _connect(path, "mode=ro&immutable=1")  # SQLite would make files beside it otherwise


def _connect(path: Path, how: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
        cached_statements=64,
    )
    try:
        _check(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise JournalCorruptError(str(path), "it is a database of something else", "its header")
    if version > FORMAT:
        raise JournalVersionError(str(path), version, FORMAT)


def create(db: sqlite3.Connection, identity: RunIdentity) -> None:
    """Make the tables of a new journal, all of them or none."""
    meta = {
        "identity": json.dumps(
            {
                "operation": identity.operation,
                "keyed": identity.keyed,
                "fingerprint": dict(identity.fingerprint),
            }
        ),
        "created_s": repr(time.time()),
        "memflow": __version__,
        "complete": "0",
    }
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_meta(db: sqlite3.Connection) -> dict[str, Any] | None:
    """Read the meta data, with the `RunIdentity` under "identity"; None where the database is empty."""
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return None
    meta: dict[str, Any] = dict(db.execute("SELECT name, value FROM meta"))
    recorded = json.loads(meta["identity"])
    meta["identity"] = RunIdentity(recorded["operation"], recorded["keyed"], recorded["fingerprint"])
    return meta


def put_meta(db: sqlite3.Connection, name: str, value: str) -> None:
    """Write one entry of the meta data."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


@contextmanager
def translated(path: Path, doing: str, *, reading: bool = False) -> Iterator[None]:
    """Turn what SQLite and the system raise into the journal's errors.

    Args:
        path: the journal.
        doing: what is being read or written, in words.
        reading: only the file's content can be at fault for a value that makes no sense.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(str(path), doing, error) from error
    except DecodeFailed as error:
        raise JournalError(str(path), str(error), "give the decode= that belongs to what was stored") from error
    except (KeyError, ValueError, TypeError) as error:  # a table that says nonsense
        if not reading:
            raise
        raise JournalCorruptError(str(path), f"{type(error).__name__}: {error}", doing) from error
    except OSError as error:
        raise JournalWriteError(str(path), f"{doing}: {error.strerror or error}", _ADVICE[10]) from error


_ADVICE = {
    13: "make room on the disk and resume",
    8: "make the file and its folder writable, or give another path",
    14: "see that its folder exists and can be written, or give another path",
    10: "see that the disk is sound, and resume",
    5: "end the program that holds it, and resume",
    6: "end the program that holds it, and resume",
}
_SAYS = {13: "the disk is full", 8: "it is read-only", 5: "another program is writing to it"}
_DAMAGED = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB


def _in_words(path: str, doing: str, error: sqlite3.Error) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 1) & 0xFF
    if code in _DAMAGED or (code == 1 and "no such" in str(error)):
        return JournalCorruptError(path, str(error), doing)
    problem = _SAYS.get(code)
    return JournalWriteError(
        path,
        f"{problem or 'it cannot be used'} ({doing}: {error})",
        "what was committed is there still; " + _ADVICE.get(code, "see what SQLite says, and resume"),
    )
