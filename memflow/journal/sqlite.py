"""The journal in a file: SQLite with a write-ahead log.

Covers what a run does with it. Not covered: connections, threads and forks (`memflow.journal.session`), tables
(`memflow.journal.schema`), finished items (`memflow.journal.position_book`, `memflow.journal.key_book`), failures,
deaths and what is delivered (`memflow.journal.ledger`), who commits when (`memflow.journal.writer`).

What `commit` has returned from survives the end of the process, however it ends. With `synchronous="NORMAL"` a power
cut may cost the commits since the last checkpoint, never the file; with "FULL" it costs none, and each commit waits for
the disk (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from memflow.exceptions import (
    JournalError,
    JournalExistsError,
    JournalMismatchError,
)
from memflow.journal import ledger, schema
from memflow.journal.base import (
    Commit,
    DeathRecord,
    FailureRecord,
    ItemId,
    JournalSummary,
    KeptResult,
    Opened,
    RunIdentity,
    Selection,
    differences,
)
from memflow.journal.keys import Key
from memflow.journal.lock import HeldLock
from memflow.journal.session import Session

__all__ = ["SqliteJournal"]

_PAGE = 64


class SqliteJournal(Session):
    """A journal in a file, locked by one run at a time; keeps the Protocol `memflow.journal.base.Journal`.

    `summary`, `failures`, `suspects`, `all_results` and `release` work without `open` too, for whoever only looks.

    Args:
        path: the file; SQLite puts PATH-wal and PATH-shm beside it while it is open, and there is PATH-lock.
        synchronous: "NORMAL" or "FULL", what a power cut may cost.
        encode: turns a result into something that is stored.
        decode: turns it back.
    """

    # ---- opening and closing ------------------------------------------------------------------------------------

    def open(self, identity: RunIdentity, *, resume: bool = True) -> Opened:
        """Lock the journal and read what it holds; see `Journal.open`."""
        with self._lock:
            hold = HeldLock(self.path)
            db = None
            try:
                with schema.translated(self.path, "opening it"):
                    db = schema.connect(self.path, self._synchronous)
                hold.keep_open = db
                fresh = self._agree(db, identity, resume)
                self._load(db)
                opened = self._opened(db, fresh)
            except BaseException:
                if db is not None:
                    db.close()
                hold.release()
                raise
            self._hold, self._db, self._pid = hold, db, os.getpid()
            return opened

    def _agree(self, db: sqlite3.Connection, identity: RunIdentity, resume: bool) -> bool:
        """Whether the journal is new; raises where it is of a run that is not to be resumed."""
        recorded = self._meta(db).get("identity")
        if recorded is None:
            with schema.translated(self.path, "making its tables"):
                schema.create(db, identity)
            return True
        if not resume:
            raise JournalExistsError(str(self.path))
        if differ := differences(recorded, identity):
            raise JournalMismatchError(str(self.path), differ)
        return False

    def _opened(self, db: sqlite3.Connection, fresh: bool) -> Opened:
        finished, digests = self._book.snapshot()
        with schema.translated(self.path, "its failures", reading=True):
            failures = {each.item: each for each in ledger.read_failures(db)}
        return Opened(fresh, self._complete, finished, digests, failures, dict(self._deaths), self._settled)

    def close(self, complete: bool) -> None:
        """Write down whether the run is complete, and unlock; see `Journal.close`."""
        self._check_fork()
        with self._lock:
            db, hold = self._db, self._hold
            if db is None or hold is None:
                return
            try:
                with self._transaction("closing it", db):
                    schema.put_meta(db, "complete", str(int(complete)))
            finally:
                self._db = self._hold = None
                db.close()
                hold.release()

    # ---- writing ------------------------------------------------------------------------------------------------

    def commit(self, commit: Commit) -> None:
        """Record all of it in one transaction; see `Journal.commit`."""
        problems: list[JournalError] = []
        with self._writing("committing") as db:
            book = self._book
            if commit.finished:
                book.write(db, commit.finished, problems.append)
            if commit.failures:
                self._write_failures(db, commit.failures)
            if commit.settled is not None:
                book.settle(db, self._settled.items if self._settled else 0, commit.settled.items)
                ledger.write_settled(db, commit.settled)
                self._settled = commit.settled
            if self._deaths:
                self._forget_deaths(db)
            if self._complete:
                schema.put_meta(db, "complete", "0")
                self._complete = False
        if problems:
            raise problems[0]

    def _write_failures(self, db: sqlite3.Connection, failures: Iterable[FailureRecord]) -> None:
        first_time: dict[ItemId, FailureRecord] = {}
        for each in failures:
            if each.item not in self._book or self._is_late(db, each.item):
                first_time.setdefault(each.item, each)
        ledger.add_failures(db, first_time.values())
        for item in first_time:
            self._book.note(item)

    def _is_late(self, db: sqlite3.Connection, item: ItemId) -> bool:
        """True for a delivered item of which nobody has said yet that it had failed: that may be said afterwards."""
        delivered = self._settled.items if self._settled is not None else 0
        return isinstance(item, int) and item < delivered and not ledger.read_failures_of(db, [item])

    def _forget_deaths(self, db: sqlite3.Connection) -> None:
        over = [item for item in self._deaths if item in self._book]
        ledger.clear_deaths(db, over)
        for item in over:
            del self._deaths[item]

    def count_deaths(self, items: Iterable[int | Key]) -> Mapping[ItemId, int]:
        """Add one death to each item, safe from power cuts too; see `Journal.count_deaths`."""
        with self._lock:
            db = self._opened_db()
            with schema.translated(self.path, "counting deaths"):
                db.execute("PRAGMA synchronous = FULL")
            try:
                with self._writing("counting deaths"):
                    left = [each for each in items if (each if isinstance(each, int) else each[0]) not in self._book]
                    totals = ledger.add_deaths(db, left)
                    self._deaths |= totals
            finally:
                db.execute(f"PRAGMA synchronous = {self._synchronous}")
            return totals

    def release(self, selection: Selection) -> int:
        """Let failures run again; see `Journal.release`. Without `open`, the lock is held meanwhile."""
        self._check_fork()
        with self._lock:
            if self._db is not None:
                return self._release(self._db, selection)
            self._must_exist()
            hold = HeldLock(self.path)
            try:
                with self._connected() as db:
                    self._load(db)
                    return self._release(db, selection)
            finally:
                hold.release()

    def _release(self, db: sqlite3.Connection, selection: Selection) -> int:
        with self._transaction("releasing", db):
            items = ledger.remove_failures(db, selection)
            self._book.release(db, items, self._settled.items if self._settled else 0)
            if items:
                schema.put_meta(db, "complete", "0")
                self._complete = False
            for item in items:
                self._deaths.pop(item, None)
        return len(items)

    @contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        self._check_fork()
        with self._lock:
            db = self._opened_db()
            if self._stale:
                self._load(db)
            with self._transaction(doing, db):
                yield db

    # ---- reading ------------------------------------------------------------------------------------------------

    def results(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """Give kept results in order; see `Journal.results`. What is committed meanwhile may be among them."""
        with schema.translated(self.path, "its results", reading=True):
            yield from self._book.results(self._query_results, first, last)

    def all_results(self) -> Iterator[KeptResult]:
        """Give every kept result in order of position, with keys or without; works without `open` too.

        No transaction stays open between two of them. Those that are delivered are kept no longer.
        """
        with self._reading("its results") as db:
            if self._db is None:
                self._load(db)
        with schema.translated(self.path, "its results", reading=True):
            yield from self._book.all_results(self._query_results)

    def _query_results(self, sql: str, values: tuple[int, ...]) -> list[Any]:
        with self._reading("its results") as db:
            return db.execute(sql, values).fetchall()

    def result(self, digest: bytes) -> Any:
        """Give the kept result of a key's digest, or `NOTHING`; see `Journal.result`."""
        with self._reading("its results") as db:
            return self._book.result(db, digest)

    def failures(self) -> Iterator[FailureRecord]:
        """Give every failure, in order of position."""
        with self._reading("its failures") as db:
            items = ledger.list_failures(db)
        for at in range(0, len(items), _PAGE):  # with their inputs, all of them may be more than memory holds
            with self._reading("its failures") as db:
                found = ledger.read_failures_of(db, items[at : at + _PAGE])
            yield from found

    def suspects(self) -> list[DeathRecord]:
        """Give the unfinished items that were in flight at deaths, the most deaths first; works without `open` too."""
        with self._reading("its deaths") as db:
            return ledger.read_suspects(db)

    def summary(self) -> JournalSummary:
        """Give the journal in figures; see `Journal.summary`."""
        with self._reading("its tables") as db:
            if self._db is None:
                db.execute("BEGIN")  # one state of it, whoever writes meanwhile; ends with the connection
            meta = self._meta(db)
            if self._db is None or self._stale:
                self._load(db)
            failed = ledger.count_failures(db)
            return JournalSummary(
                identity=meta["identity"],
                created_s=float(meta["created_s"]),
                memflow=str(meta["memflow"]),
                finished=self._book.count(sum(failed.values())),
                failed=failed.get("error", 0),
                quarantined=failed.get("poison", 0),
                settled=self._settled,
                complete=self._complete,
                size_bytes=self._size_bytes(),
            )

    def _size_bytes(self) -> int:
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(each.stat().st_size for each in files if each.exists())
