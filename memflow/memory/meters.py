"""What counts against the deciding limit, read thousands of times a second from kept descriptors.

Covers one meter for each measure that `limit` knows. Which limit decides is looked up there, about once a
second; between look-ups the meters also follow the file that holds it, so that a moved limit is seen at the next
reading. This process's own RSS and peak are `peaks`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from memflow.memory.cgroup import droppable_bytes
from memflow.memory.limit import Resolution
from memflow.memory.peaks import PeakLedger
from memflow.memory.procfs import kib_field

__all__ = ["Meter", "RssMeter", "open_meter"]

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_STAT_SIZE = 8192
_FEW_BYTES = 1 << 20  # less page cache than this hides nothing


class Meter(Protocol):
    """Reads one deciding limit. The ledger was sampled just before, and its lock is held."""

    def read(self, rss_bytes: int, *, boundary: bool) -> tuple[int, int]:
        """Bytes in use and the limit in bytes; with `boundary`, slow parts may be those of the last full reading.

        Raises:
            OSError, ValueError: What is read is gone or garbage; look the limit up again.
        """
        ...

    def glance(self) -> int | None:
        """Bytes in use as a reading at a boundary would say, where that takes no RSS; else None.

        Raises:
            OSError, ValueError: As `read` does.
        """
        return None

    def limit_moved(self) -> bool:
        """Whether the limit is not what it was at the last full reading, as far as that is seen without a look-up.

        Raises:
            OSError: As `read` does.
        """
        return False

    def close(self) -> None:
        """Release descriptors."""
        ...


def open_meter(resolution: Resolution, *, ledger: PeakLedger, root: Path) -> Meter:
    """Open the meter for what was decided; a plain one by RSS where its files are gone already."""
    limit, measure = resolution.limit.limit_bytes, resolution.deciding.measure
    try:
        if measure == "group":
            return _GroupMeter(resolution)
        if measure == "host":
            return _HostMeter(resolution, root)
    except OSError:
        return RssMeter(limit)
    if measure == "vm_size":
        return _AddressSpaceMeter(limit, ledger)
    return _DataMeter(limit, ledger) if measure == "vm_data" else RssMeter(limit)


class RssMeter(Meter):
    """A fixed limit, against this process's RSS."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes

    def read(self, rss_bytes: int, *, boundary: bool) -> tuple[int, int]:
        """RSS and the limit, in bytes."""
        return rss_bytes, self._limit

    def close(self) -> None:
        """Nothing is held."""


class _AddressSpaceMeter(Meter):
    """RLIMIT_AS, against address space, which the ledger reads anyway."""

    def __init__(self, limit_bytes: int, ledger: PeakLedger) -> None:
        self._limit = limit_bytes
        self._ledger = ledger
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self, rss_bytes: int, *, boundary: bool) -> tuple[int, int]:
        return int(self._ledger.statm.split(None, 1)[0]) * self._page_bytes, self._limit

    def close(self) -> None:
        pass


class _DataMeter(Meter):
    """RLIMIT_DATA, against private writable address space.

    statm adds the stack to it, which RLIMIT_DATA does not bound; how large that is, status tells, five times as
    slow and thus only once: it hardly changes, and each look-up of the limit makes a new meter.
    """

    def __init__(self, limit_bytes: int, ledger: PeakLedger) -> None:
        self._limit = limit_bytes
        self._ledger = ledger
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._stack_bytes: int | None = None

    def read(self, rss_bytes: int, *, boundary: bool) -> tuple[int, int]:
        with_stack = int(self._ledger.statm.split(None, 6)[5]) * self._page_bytes
        if self._stack_bytes is None:
            self._stack_bytes = with_stack - self._ledger.status_field(b"\nVmData:")
        return with_stack - self._stack_bytes, self._limit

    def close(self) -> None:
        pass


class _HostMeter(Meter):
    """The host's RAM; between full readings, what this process gained is taken to be missing there."""

    def __init__(self, resolution: Resolution, root: Path) -> None:
        self._limit, self._total = resolution.limit.limit_bytes, resolution.ram_bytes
        self._fd = os.open(root / "proc/meminfo", _FLAGS)
        self._last_use = 0
        self._last_rss = -1

    def read(self, rss_bytes: int, *, boundary: bool) -> tuple[int, int]:
        if boundary and self._last_rss >= 0:
            return max(0, self._last_use + rss_bytes - self._last_rss), self._limit
        # MemAvailable is the third line.
        available = kib_field(os.pread(self._fd, 256, 0), b"\nMemAvailable:")
        if available is None:
            raise ValueError("/proc/meminfo lacks MemAvailable")
        self._last_use, self._last_rss = self._total - available, rss_bytes
        return self._last_use, self._limit

    def close(self) -> None:
        os.close(self._fd)


class _GroupMeter(Meter):
    """A control group's working set, against its limit or a share of it."""

    def __init__(self, resolution: Resolution) -> None:
        bound = resolution.deciding
        group, limit_path = bound.group, bound.limit_path
        assert group is not None
        assert limit_path is not None
        self._share, self._ram = bound.share, resolution.ram_bytes
        self._prefix = group.prefix
        self._limit = resolution.limit.limit_bytes
        self._limit_text = b""
        self._droppable = self._last_use = 0
        self._last_rss = -1
        self._fds: list[int] = []
        try:
            for path in (group.usage_path, limit_path, group.stat_path):
                self._fds.append(os.open(path, _FLAGS))
        except OSError:
            # A missing memory.stat is no reason to be blind to the rest.
            if len(self._fds) < 2:
                self.close()
                raise
        self._usage_fd, self._limit_fd = self._fds[:2]

    def read(self, rss_bytes: int, *, boundary: bool) -> tuple[int, int]:
        usage = int(os.pread(self._usage_fd, 32, 0))
        if boundary and self._last_rss >= 0 and not self.limit_moved():
            # In a group filled up with page cache, usage stands still while the kernel drops cache for new pages:
            # what this process gained is in use all the same.
            in_use = max(usage - self._droppable, self._last_use + rss_bytes - self._last_rss)
            return in_use, self._limit
        self._droppable = self._read_droppable()
        self._limit = self._read_limit()
        self._last_use, self._last_rss = max(0, usage - self._droppable), rss_bytes
        return self._last_use, self._limit

    def glance(self) -> int | None:
        if self._last_rss < 0 or self._droppable > _FEW_BYTES:
            return None
        return int(os.pread(self._usage_fd, 32, 0)) - self._droppable

    def limit_moved(self) -> bool:
        return os.pread(self._limit_fd, 32, 0) != self._limit_text

    def _read_droppable(self) -> int:
        if len(self._fds) < 3:
            return 0
        return droppable_bytes(os.pread(self._fds[2], _STAT_SIZE, 0), self._prefix) or 0

    def _read_limit(self) -> int:
        text = os.pread(self._limit_fd, 32, 0)
        # "max" or garbage: the limit went away. Until the next look-up finds what decides now, the old one stands.
        if text == self._limit_text or not text.strip().isdigit():
            return self._limit
        self._limit_text = text
        limit = min(int(text), self._ram)
        return limit if self._share is None else self._share.resolve(limit)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
