"""One run at a time: a lock beside the journal that the system frees when its holder ends, however it ends.

Covers taking, naming the holder, telling who holds it, and what a forked child must not do. The lock is on a file of
its own, never on the database: closing any other descriptor of a database drops the locks that SQLite holds on it
(https://www.sqlite.org/howtocorrupt.html, 2.2). Everything here blocks only for a moment.
"""

from __future__ import annotations

import json
import os
import socket
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memflow.exceptions import JournalLockedError, JournalWriteError
from memflow.journal.flight_origin import boot_id, process_start

__all__ = ["HeldLock", "LockHolder", "read_holder"]

_MAX_NOTE_BYTES = 4096
_NO_NOTE = (ValueError, TypeError, KeyError, OverflowError)
"""What a note raises that is not written yet, or by somebody else."""
_HELD: weakref.WeakSet[HeldLock] = weakref.WeakSet()
_KEPT_OPEN: list[object] = []


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who has a journal open, or had it open when it died."""

    pid: int
    """Its process."""
    host: str
    """Its machine."""
    since: str
    """When it opened the journal, in words."""
    alive: bool | None
    """Whether it still runs; None where that cannot be told from here: another machine, or a container of its own."""


def read_holder(journal: Path) -> LockHolder | None:
    """Tell who has a journal open, without taking the lock; None where nobody has."""
    try:
        note = json.loads(_lock_path(journal).read_bytes()[:_MAX_NOTE_BYTES])
        return LockHolder(*_named(note), alive=_lives(note))
    except (OSError, *_NO_NOTE):
        return None


def _lives(note: Any) -> bool | None:
    if str(note["host"]) != socket.gethostname():
        return None
    return bool(note["process"]) and (boot_id(), process_start(int(note["pid"]))) == (note["boot"], note["process"])


class HeldLock:
    """The lock of one journal, held from the making until `release`.

    Raises:
        JournalLockedError: another holds it; says who.
        JournalWriteError: no file can be made or locked beside the journal.
    """

    def __init__(self, journal: Path) -> None:
        self._path = _lock_path(journal)
        self.keep_open: object = None
        """What a forked child must neither use nor close: the database's connection."""
        try:
            self._handle = _take(self._path, str(journal))
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            raise JournalWriteError(
                str(journal),
                f"no lock can be taken beside it: {getattr(error, 'strerror', None) or error}",
                "give a path in a folder that can be written, on a disk of this machine",
            ) from error
        _watch_forks()
        _HELD.add(self)

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._handle < 0:
            return
        _HELD.discard(self)
        try:
            self._path.unlink()  # while it is held: who locks a file that is gone looks again
        except OSError:
            pass
        os.close(self._handle)
        self._handle = -1

    def _leave_to_parent(self) -> None:
        _KEPT_OPEN.append(self.keep_open)
        os.close(self._handle)  # the parent's own descriptor keeps the lock
        self._handle = -1


def _lock_path(journal: Path) -> Path:
    return journal.with_name(journal.name + "-lock")


def _take(path: Path, journal: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC if os.name != "nt" else os.O_RDWR | os.O_CREAT)
        try:
            if not _try_lock(handle):
                raise _locked_error(handle, journal)
            if _is_there(handle, path):
                _write_note(handle)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its last holder removed it meanwhile


def _try_lock(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        try:
            # The module is Windows' own, where alone this runs: checkers elsewhere do not know its names.
            os.lseek(handle, 1 << 20, os.SEEK_SET)  # a locked byte can't be read, so not one of the note's
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # there on Windows alone
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _write_note(handle: int) -> None:
    pid = os.getpid()
    note = {
        "pid": pid,
        "host": socket.gethostname(),
        "started": time.time(),
        "boot": boot_id(),
        "process": process_start(pid),
    }
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        os.write(handle, json.dumps(note).encode())
    except OSError:
        pass  # a full disk: the lock holds without its note


def _locked_error(handle: int, journal: str) -> JournalLockedError:
    note: Any = None
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        note = json.loads(os.read(handle, _MAX_NOTE_BYTES))
        return JournalLockedError(journal, *_named(note))
    except (OSError, *_NO_NOTE):
        return JournalLockedError(journal, None, "", "")


def _named(note: Any) -> tuple[int, str, str]:
    started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(note["started"])))
    return int(note["pid"]), str(note["host"])[:100], started


def _watch_forks() -> None:
    """A forked child shares the lock, and would hold it beyond its parent's death."""
    if not _WATCHING and hasattr(os, "register_at_fork"):
        _WATCHING.append(True)
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for held in list(_HELD):
        held._leave_to_parent()
    _HELD.clear()


_WATCHING: list[bool] = []
