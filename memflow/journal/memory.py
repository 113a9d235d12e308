"""The journal in memory, for tests: what it holds lasts as long as the object.

Covers the Protocol `memflow.journal.base.Journal`, with the same refusals as the one in a file
(`memflow.journal.sqlite`). Not covered: what a file can suffer.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from memflow._version import __version__
from memflow.exceptions import (
    DuplicateKeyError,
    JournalError,
    JournalExistsError,
    JournalLockedError,
    JournalMismatchError,
    ResultNotStorableError,
)
from memflow.journal.base import (
    NOTHING,
    Commit,
    FailureRecord,
    ItemId,
    JournalSummary,
    Opened,
    RunIdentity,
    Selection,
    Settled,
    differences,
)
from memflow.journal.codec import Codec, NotStorable
from memflow.journal.done import Digests, Positions
from memflow.journal.keys import Key

__all__ = ["MemoryJournal"]

_PATH = "in memory"


class MemoryJournal:
    """A journal that can be closed and opened again, as a run that is resumed would.

    Args:
        encode: turns a result into something that is stored.
        decode: turns it back.
    """

    path: Path | None = None
    """There is none."""

    def __init__(
        self, *, encode: Callable[[Any], Any] | None = None, decode: Callable[[Any], Any] | None = None
    ) -> None:
        self._codec = Codec(encode, decode)
        self._lock = threading.RLock()
        self._identity: RunIdentity | None = None
        self._created_s = 0.0
        self._opened_s: float | None = None
        self._finished: dict[ItemId, tuple[int, bytes | None]] = {}
        self._failures: dict[ItemId, FailureRecord] = {}
        self._deaths: dict[ItemId, int] = {}
        self._released: set[int] = set()
        self._settled: Settled | None = None
        self._complete = False

    def open(self, identity: RunIdentity, *, resume: bool = True) -> Opened:
        """Lock the journal and give what it holds; see `Journal.open`."""
        with self._lock:
            if self._opened_s is not None:
                since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._opened_s))
                raise JournalLockedError(_PATH, os.getpid(), socket.gethostname(), since)
            fresh = self._identity is None
            if self._identity is not None:
                if not resume:
                    raise JournalExistsError(_PATH)
                if differ := differences(self._identity, identity):
                    raise JournalMismatchError(_PATH, differ)
            else:
                self._identity, self._created_s = identity, time.time()
            self._opened_s = time.time()
            return self._opened(self._identity.keyed, fresh)

    def _opened(self, keyed: bool, fresh: bool) -> Opened:
        digests = Digests(tagged=True) if keyed else None
        if digests is not None:
            digests.add(item for item in (*self._finished, *self._failures) if isinstance(item, bytes))
        finished = Positions() if keyed else self._positions()
        return Opened(fresh, self._complete, finished, digests, dict(self._failures), dict(self._deaths), self._settled)

    def _positions(self) -> Positions:
        done = Positions()
        if self._settled and self._settled.items:
            done.add(0, self._settled.items)
        for position in self._released:
            done.remove(position)
        for item in (*self._finished, *self._failures):
            if isinstance(item, int):
                done.add(item)
        return done

    def commit(self, commit: Commit) -> None:
        """Record all of it; see `Journal.commit`."""
        problems: list[JournalError] = []
        with self._lock:
            keyed = self._need_open().keyed
            for entry in commit.finished:
                try:
                    self._finish(entry, keyed)
                except (DuplicateKeyError, ResultNotStorableError) as error:
                    problems.append(error)
            for failure in commit.failures:
                if not self._is_done(failure.item) or self._is_late(failure.item):
                    self._failures[failure.item] = failure
            if commit.settled is not None:
                self._settle(commit.settled, keyed)
            self._deaths = {item: count for item, count in self._deaths.items() if not self._is_done(item)}
            self._complete = False
        if problems:
            raise problems[0]

    def _is_late(self, item: ItemId) -> bool:
        """True for a delivered item of which nobody has said yet that it had failed: that may be said afterwards."""
        delivered = self._settled.items if self._settled is not None else 0
        return isinstance(item, int) and item < delivered and item not in self._failures

    def _finish(self, entry: tuple[int, Any, Key | None], keyed: bool) -> None:
        position, result, key = entry
        item: ItemId = position
        if keyed:
            assert key is not None
            item = key[0]
        if self._is_done(item):
            failed = self._failures.get(item)
            first = failed.position if failed else self._finished[item][0] if item in self._finished else position
            if first != position and key is not None:
                raise DuplicateKeyError(_PATH, key[1], first, position)
            return
        self._finished[item] = position, self._dump(position, result)
        self._released.discard(position)

    def _dump(self, position: int, result: Any) -> bytes | None:
        if result is NOTHING:
            return None
        try:
            return self._codec.dump([result])
        except NotStorable as error:
            raise ResultNotStorableError(_PATH, error.type_name, position, error.problem) from error

    def _is_done(self, item: ItemId) -> bool:
        if item in self._finished or item in self._failures:
            return True
        delivered = self._settled.items if self._settled else 0
        return isinstance(item, int) and item < delivered and item not in self._released

    def _settle(self, settled: Settled, keyed: bool) -> None:
        self._settled = settled
        if not keyed:
            self._finished = {item: kept for item, kept in self._finished.items() if kept[0] >= settled.items}

    def count_deaths(self, items: Iterable[int | Key]) -> Mapping[ItemId, int]:
        """Add one death to each item; see `Journal.count_deaths`."""
        with self._lock:
            self._need_open()
            counted = [each if isinstance(each, int) else each[0] for each in items]
            counted = [item for item in counted if not self._is_done(item)]
            for item in counted:
                self._deaths[item] = self._deaths.get(item, 0) + 1
            return {item: self._deaths[item] for item in counted}

    def results(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """Give kept results in order; see `Journal.results`."""
        with self._lock:
            kept = sorted(
                (item, data)
                for item, (_, data) in self._finished.items()
                if isinstance(item, int) and first <= item <= last and data is not None
            )
        for position, data in kept:
            yield position, self._codec.load(data)[0]

    def result(self, digest: bytes) -> Any:
        """Give the kept result of a key's digest, or `NOTHING`."""
        with self._lock:
            _, data = self._finished.get(digest, (0, None))
        return NOTHING if data is None else self._codec.load(data)[0]

    def release(self, selection: Selection) -> int:
        """Let failures run again; see `Journal.release`."""
        with self._lock:
            chosen = [item for item, failure in self._failures.items() if selection.takes(failure)]
            delivered = self._settled.items if self._settled else 0
            for item in chosen:
                del self._failures[item]
                self._deaths.pop(item, None)
                if isinstance(item, int) and item < delivered:
                    self._released.add(item)
            self._complete = self._complete and not chosen
            return len(chosen)

    def summary(self) -> JournalSummary:
        """Give the journal in figures; see `Journal.summary`."""
        with self._lock:
            if self._identity is None:
                raise JournalError(_PATH, "no run was ever started in it", "open it first")
            kinds = [failure.kind for failure in self._failures.values()]
            finished = len(self._finished) if self._identity.keyed else self._positions().count - len(kinds)
            return JournalSummary(
                identity=self._identity,
                created_s=self._created_s,
                memflow=__version__,
                finished=finished,
                failed=kinds.count("error"),
                quarantined=kinds.count("poison"),
                settled=self._settled,
                complete=self._complete,
                size_bytes=0,
            )

    def failures(self) -> Iterator[FailureRecord]:
        """Give every failure, in order of position."""
        with self._lock:
            found = sorted(self._failures.values(), key=lambda failure: failure.position)
        yield from found

    def close(self, complete: bool) -> None:
        """Write down whether the run is complete, and unlock; see `Journal.close`."""
        with self._lock:
            if self._opened_s is not None:
                self._opened_s = None
                self._complete = complete

    def _need_open(self) -> RunIdentity:
        if self._opened_s is None or self._identity is None:
            raise JournalError(_PATH, "it is not open", "open it before, and write before closing it")
        return self._identity
