"""RSS of this process, and its exact peak between two readings, for any number of readers at once.

Covers the kernel's high-water mark: reading it, resetting it, and sharing it. The mark is one for the whole
process, and whoever resets it takes it from everybody else; so all resets go through one ledger, which hands each
reader the highest mark since that reader's own last reading. What counts against the limit is `meters`.

A burst is missed only if it rises and falls within the microsecond between reading the mark and resetting it, or
if other code resets the mark too. Peaks are as exact as the kernel's own counters, which lag by up to 64 pages
for each processor.

Three costs decide how it is read (FIELD: /proc/self/status takes five times as long as statm): RSS from statm,
the mark from getrusage, and status only where getrusage may not tell the truth: `ru_maxrss` never falls below
what the program held that this process was exec'd from. Source: kernel, `setmax_mm_hiwater_rss` in exec and
getrusage; proc_pid_clear_refs(5).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from memflow.memory.procfs import kib_field

__all__ = ["PeakLedger", "RssReader", "ledger_for"]

_CLOSED = -1
# Two counters of the kernel may differ by this much without meaning anything.
_NOISE_BYTES = 512 * 1024
_STATUS_SIZE = 8192


class RssReader:
    """One reader's view of the ledger. Call everything with `ledger.lock` held, but `exact`."""

    __slots__ = ("_ledger", "mark_bytes", "wants_exact")

    def __init__(self, ledger: PeakLedger, wants_exact: bool, rss_bytes: int) -> None:
        self._ledger = ledger
        self.wants_exact = wants_exact
        self.mark_bytes = rss_bytes

    @property
    def exact(self) -> bool:
        """Whether peaks are the kernel's high-water mark, and not just the larger of two samples."""
        return self.wants_exact and self._ledger.can_reset

    def read(self) -> tuple[int, int]:
        """RSS now and its peak since this reader's last reading, in bytes."""
        rss = self._ledger.sample(reset=self.wants_exact)
        peak = self.mark_bytes if self.mark_bytes > rss else rss
        self.mark_bytes = rss
        return rss, peak

    def close(self) -> None:
        """Leave the ledger; the last one out closes its descriptors."""
        self._ledger.leave(self)


class PeakLedger:
    """The descriptors, and the readers among whom each mark is shared."""

    def __init__(self, root: Path) -> None:
        self.lock = threading.Lock()
        """Held around everything below; made anew in a forked child, where its holder does not exist."""
        self.statm = b""
        """The last sample of /proc/self/statm, so that address space costs no reading of its own."""
        self.can_reset = False
        """Whether the high-water mark can be reset here."""
        self._root = root
        self._readers: tuple[RssReader, ...] = ()
        self._statm_fd = self._status_fd = self._clear_fd = _CLOSED
        self._page_bytes = 4096
        self._max_rss: Callable[[], int] | None = None
        self._inherited_at_most = sys.maxsize

    def join(self, *, exact: bool) -> RssReader:
        """Add a reader. `exact=False` never resets the mark on its behalf.

        Raises:
            OSError: /proc/self/statm or status cannot be opened.
        """
        if not self._readers:
            self._open()
        if exact and self._clear_fd == _CLOSED:
            self._try_resetting()
        # With a reset, so that the new reader does not start on a peak of before; the others are handed it.
        reader = RssReader(self, exact, self.sample(reset=exact))
        self._readers += (reader,)
        return reader

    def leave(self, reader: RssReader) -> None:
        """Remove a reader; without effect if it left already."""
        self._readers = tuple(each for each in self._readers if each is not reader)
        if not self._readers:
            self._close()

    def sample(self, *, reset: bool) -> int:
        """Read RSS in bytes; note it, and with `reset` the high-water mark, for every reader."""
        self.statm = statm = os.pread(self._statm_fd, 128, 0)
        rss = int(statm.split(None, 2)[1]) * self._page_bytes
        mark = self._take_mark(rss) if reset and self.can_reset else rss
        for reader in self._readers:
            if reader.mark_bytes < mark:
                reader.mark_bytes = mark
        return rss

    def status_field(self, name: bytes) -> int:
        """Read a `kB` field of /proc/self/status, in bytes.

        Raises:
            ValueError: It has no such field.
        """
        found = kib_field(os.pread(self._status_fd, _STATUS_SIZE, 0), name)
        if found is None:
            raise ValueError(f"/proc/self/status has no {name.decode().strip()}")
        return found

    def _take_mark(self, rss: int) -> int:
        """The high-water mark in bytes, which starts again from the present RSS."""
        mark = rss
        try:
            mark = self._read_mark(rss)
            if mark > rss:
                os.write(self._clear_fd, b"5")
        except (OSError, ValueError):
            # Gone midway, as after a change of user: from here on by samples.
            self.can_reset = False
        return mark if mark > rss else rss

    def _read_mark(self, rss: int) -> int:
        if self._max_rss is None:
            return self.status_field(b"\nVmHWM:")
        mark = self._max_rss()
        if mark - rss <= _NOISE_BYTES or mark > self._inherited_at_most:
            return mark
        own = self.status_field(b"\nVmHWM:")
        if mark - own > _NOISE_BYTES:
            self._inherited_at_most = mark
            return own
        # Status agrees, so this mark is the process's own, and what was inherited lies below it.
        self._inherited_at_most = mark - 1
        return mark

    def _open(self) -> None:
        proc = self._root / "proc/self"
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        try:
            self._statm_fd = os.open(proc / "statm", os.O_RDONLY | os.O_CLOEXEC)
            self._status_fd = os.open(proc / "status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._close()
            raise

    def _try_resetting(self) -> None:
        """Find out whether marks can be reset, and where they are read best. Failing is no error."""
        try:
            self._clear_fd = os.open(self._root / "proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._clear_fd, b"5")
            mark = self.status_field(b"\nVmHWM:")
        except (OSError, ValueError):
            return
        self.can_reset = True
        if self._root == Path("/"):
            self._max_rss = _max_rss_reader(mark)

    def _close(self) -> None:
        for fd in (self._statm_fd, self._status_fd, self._clear_fd):
            if fd != _CLOSED:
                os.close(fd)
        self._statm_fd = self._status_fd = self._clear_fd = _CLOSED
        self.can_reset = False
        self._inherited_at_most = sys.maxsize

    def after_fork(self) -> None:
        """In a forked child: the descriptors still tell of the parent, so open the child's own."""
        self.lock = threading.Lock()
        if not self._readers:
            return
        self._close()
        self._open()
        if any(reader.wants_exact for reader in self._readers):
            self._try_resetting()
        rss = self.sample(reset=False)
        for reader in self._readers:
            reader.mark_bytes = rss


def _max_rss_reader(mark: int) -> Callable[[], int] | None:
    """A cheap reader of the mark, or None where getrusage does not follow it."""
    import resource

    # Of the calling thread, since the kernel adds up times over all threads otherwise; the mark is the process's.
    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    getrusage = resource.getrusage
    if getrusage(who).ru_maxrss * 1024 < mark - _NOISE_BYTES:
        return None
    return lambda: getrusage(who).ru_maxrss * 1024


_ledgers: dict[Path, PeakLedger] = {}
_ledgers_lock = threading.Lock()


def ledger_for(root: Path = Path("/")) -> PeakLedger:
    """The ledger of this process; one for each fixture tree in tests."""
    with _ledgers_lock:
        if not _ledgers and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
        return _ledgers.setdefault(root, PeakLedger(root))


def _after_fork() -> None:
    global _ledgers_lock
    _ledgers_lock = threading.Lock()
    for ledger in _ledgers.values():
        ledger.after_fork()
