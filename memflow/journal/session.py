"""The connection to a journal's database, and what is known of it in memory.

Covers transactions, threads, forks, and reading without a run. Not covered: what is done with it
(`memflow.journal.sqlite`).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from memflow.exceptions import ConfigurationError, JournalCorruptError, JournalError
from memflow.journal import ledger, schema
from memflow.journal.base import ItemId, Settled
from memflow.journal.codec import Codec
from memflow.journal.key_book import KeyBook
from memflow.journal.lock import HeldLock
from memflow.journal.position_book import PositionBook

__all__ = ["Session"]

_Book = PositionBook | KeyBook


class Session:
    """One connection, used by one thread at a time."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ConfigurationError(f'synchronous={synchronous!r} is neither "NORMAL" nor "FULL"')
        self.path = Path(path)
        self._synchronous = synchronous
        self._codec = Codec(encode, decode)
        self._lock = threading.RLock()
        self._hold: HeldLock | None = None
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._book: _Book = PositionBook(str(self.path), self._codec)
        self._deaths: dict[ItemId, int] = {}
        self._settled: Settled | None = None
        self._complete = False
        self._stale = False

    def _meta(self, db: sqlite3.Connection) -> dict[str, Any]:
        with schema.translated(self.path, "its table meta", reading=True):
            return schema.read_meta(db) or {}

    def _load(self, db: sqlite3.Connection) -> None:
        meta = self._meta(db)
        book = (KeyBook if meta["identity"].keyed else PositionBook)(str(self.path), self._codec)
        with schema.translated(self.path, "its tables of what is finished", reading=True):
            self._settled = ledger.read_settled(meta)
            book.load(db, self._settled.items if self._settled else 0)
            for failure in ledger.read_failures(db):
                book.note_at_opening(failure.item)
            self._deaths = ledger.read_deaths(db)
        self._complete = meta["complete"] == "1"
        self._book = book
        self._stale = False

    @contextmanager
    def _transaction(self, doing: str, db: sqlite3.Connection) -> Iterator[None]:
        """All or nothing; after nothing, what is in memory is read again before it is used."""
        with schema.translated(self.path, doing):
            try:
                db.execute("BEGIN IMMEDIATE")
                yield
                db.execute("COMMIT")
            except BaseException:
                self._stale = True
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        self._check_fork()
        with self._lock, schema.translated(self.path, doing, reading=True):
            if self._db is not None:
                yield self._db
            else:
                with self._connected() as db:
                    yield db

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Connect for a moment, to a journal that somebody else may be writing to."""
        self._must_exist()
        with schema.translated(self.path, "opening it"):
            db = schema.connect_to_read(self.path)
        try:
            if not self._meta(db):
                raise JournalCorruptError(str(self.path), "no run was ever started in it", "its table meta")
            yield db
        finally:
            db.close()

    def _must_exist(self) -> None:
        if not self.path.exists():
            raise JournalError(str(self.path), "there is no such file", "see that the path is right")

    def _opened_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise JournalError(str(self.path), "it is not open", "open it before, and write before closing it")
        return self._db

    def _check_fork(self) -> None:
        """Before the lock, which another thread may have held at the fork. SQLite's connections don't survive one."""
        if self._db is not None and os.getpid() != self._pid:
            raise JournalError(
                str(self.path),
                f"process {self._pid} opened it, and this is process {os.getpid()}, forked from it",
                "use it only in the process that opened it",
            )
