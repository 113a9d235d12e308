"""Readings of memory: what is resident, its peak, what is in use, and the limit.

Covers the `MemoryProbe` protocol, the probe for Linux, the one for everything else (by psutil), and which of them
fits here. The numbers behind it: `peaks` (RSS and its high-water mark), `meters` (what counts against the limit),
`limit` (which limit decides). When to read is the sampler's business (`memflow.memory.sampler`).

Not covered: children of this process (each has its own probe) and devices.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

from memflow.exceptions import MemflowError
from memflow.memory.limit import Bound, Resolution, RlimitReader, decide, read_rlimits, resolve_limit
from memflow.memory.meters import Meter, RssMeter, open_meter
from memflow.memory.peaks import ledger_for
from memflow.memory.readings import LimitCandidate, MemoryLimit, MemoryReading
from memflow.settings import MemoryManagerSettings
from memflow.units import MemorySize

__all__ = ["LinuxProbe", "MemoryProbe", "PsutilProbe", "default_probe"]


class MemoryProbe(Protocol):
    """Takes readings of this process; safe to share among threads."""

    @property
    def exact_peaks(self) -> bool:
        """True where the high-water mark is reset at each reading, so that no burst between two is missed."""
        ...

    def read(self, now_s: float, *, boundary: bool = False) -> MemoryReading:
        """Take a reading against the limit that was looked up last.

        Args:
            now_s: The time, in seconds of a monotonic clock.
            boundary: Be quick: slow parts (page cache, the host's figures) may be those of the last full reading.

        Raises:
            MemflowError: The probe is closed.
        """
        ...

    def limit(self, now_s: float) -> MemoryLimit:
        """Look the effective limit up afresh, in every place.

        Raises:
            MemflowError: The probe is closed.
        """
        ...

    def close(self) -> None:
        """Release descriptors; closing twice is fine."""
        ...


def default_probe(settings: MemoryManagerSettings) -> MemoryProbe:
    """The best probe for this system.

    Args:
        settings: Its `limit` and `exact_peaks` count here.
    """
    if sys.platform == "linux":
        try:
            return LinuxProbe(setting=settings.limit, exact_peaks=settings.exact_peaks)
        except OSError:
            pass  # /proc is not mounted or hidden; psutil says so in its own words if it needs it too
    return PsutilProbe(setting=settings.limit)


def _closed() -> MemflowError:
    return MemflowError("this memory probe is closed; make a new one with default_probe()")


class LinuxProbe:
    """Reads /proc and control groups through descriptors that it keeps, with exact peaks where the kernel can.

    After a fork, the child's copy reads the child.

    Args:
        setting: The user's bound, or None.
        exact_peaks: Reset the kernel's high-water mark at each reading.
        root: Where /proc and /sys are found; anything but "/" is for tests.
        rlimits: Where resource limits are read.

    Raises:
        OSError: /proc/self is not readable.
    """

    def __init__(
        self,
        *,
        setting: MemorySize | None = None,
        exact_peaks: bool = True,
        root: Path = Path("/"),
        rlimits: RlimitReader = read_rlimits,
    ) -> None:
        self._setting, self._root, self._rlimits = setting, root, rlimits
        self._closed = False
        self._resolution = self._resolve()
        self._ledger = ledger_for(root)
        with self._ledger.lock:
            self._reader = self._ledger.join(exact=exact_peaks)
        self._meter: Meter = open_meter(self._resolution, ledger=self._ledger, root=root)

    @property
    def exact_peaks(self) -> bool:
        """True where the high-water mark is reset at each reading, so that no burst between two is missed."""
        return self._reader.exact

    def read(self, now_s: float, *, boundary: bool = False) -> MemoryReading:
        """Take a reading; see `MemoryProbe.read`."""
        with self._ledger.lock:
            if self._closed:
                raise _closed()
            rss, peak = self._reader.read()
            try:
                in_use, limit = self._meter.read(rss, boundary=boundary)
            except (OSError, ValueError):
                in_use, limit = self._recover(rss)
        return MemoryReading(now_s, rss, peak, in_use, limit)

    def glance(self) -> int | None:
        """Return what is in use, in bytes, as a reading at a boundary would; without a peak, and without taking one.

        None where only a reading in full will tell, since the limit has moved.
        """
        with self._ledger.lock:
            if self._closed:
                raise _closed()
            try:
                if self._meter.limit_moved():
                    return None
                in_use = self._meter.glance()
                if in_use is not None:
                    return in_use
                return self._meter.read(self._ledger.sample(reset=False), boundary=True)[0]
            except (OSError, ValueError):
                return self._recover(self._ledger.sample(reset=False))[0]

    def limit(self, now_s: float) -> MemoryLimit:
        """Look the effective limit up afresh; see `MemoryProbe.limit`."""
        try:
            resolution = self._resolve()
        except OSError:
            # Out of descriptors: what was known last is nearer to the truth than what can be seen now.
            resolution = self._resolution
        with self._ledger.lock:
            if self._closed:
                raise _closed()
            if resolution is not self._resolution:
                self._use(resolution)
        return resolution.limit

    def close(self) -> None:
        """Release descriptors and leave the peak ledger; closing twice is fine."""
        with self._ledger.lock:
            if not self._closed:
                self._closed = True
                self._meter.close()
                self._reader.close()

    def _resolve(self) -> Resolution:
        return resolve_limit(root=self._root, setting=self._setting, rlimits=self._rlimits)

    def _use(self, resolution: Resolution) -> None:
        meter = open_meter(resolution, ledger=self._ledger, root=self._root)
        self._meter.close()
        self._meter, self._resolution = meter, resolution

    def _recover(self, rss_bytes: int) -> tuple[int, int]:
        """The group went away, or the process went elsewhere: find what decides now, once."""
        try:
            self._use(self._resolve())
            return self._meter.read(rss_bytes, boundary=False)
        except (OSError, ValueError):
            # Not again at every reading: by RSS alone, until limit() is asked next.
            self._meter.close()
            self._meter = RssMeter(self._resolution.limit.limit_bytes)
            return self._meter.read(rss_bytes, boundary=False)


class PsutilProbe:
    """Reads RSS and the host's memory by psutil; for macOS, Windows and whatever else it supports.

    Peaks are the larger of two samples: these systems know a peak of the whole lifetime only, which says nothing
    about now. The host's RAM and the setting are the only limits.

    Args:
        setting: The user's bound, or None.
    """

    exact_peaks: bool = False

    def __init__(self, *, setting: MemorySize | None = None) -> None:
        # Here, since it takes 10 ms to import and cannot be imported everywhere.
        import psutil

        self._psutil: Any = psutil
        self._setting = setting
        self._lock = threading.Lock()
        self._closed = False
        self._process: Any = psutil.Process()
        self._last_rss = self._host_rss = int(self._process.memory_info().rss)
        self._host_use = 0
        self._resolution = self._resolve()

    def read(self, now_s: float, *, boundary: bool = False) -> MemoryReading:
        """Take a reading; see `MemoryProbe.read`."""
        with self._lock:
            rss = self._read_rss()
            peak = max(rss, self._last_rss)
            self._last_rss = rss
            deciding = self._resolution.deciding
            in_use = rss if deciding.measure == "rss" else self._read_host_use(rss, boundary)
            return MemoryReading(now_s, rss, peak, in_use, self._resolution.limit.limit_bytes)

    def limit(self, now_s: float) -> MemoryLimit:
        """Look the effective limit up afresh; see `MemoryProbe.limit`."""
        with self._lock:
            self._read_rss()
            self._resolution = self._resolve()
            return self._resolution.limit

    def close(self) -> None:
        """Take no more readings; closing twice is fine."""
        with self._lock:
            self._closed = True

    def _read_rss(self) -> int:
        if self._closed:
            raise _closed()
        if self._process.pid != os.getpid():
            self._process = self._psutil.Process()
        return int(self._process.memory_info().rss)

    def _read_host_use(self, rss: int, boundary: bool) -> int:
        if not boundary:
            memory = self._psutil.virtual_memory()
            self._host_use, self._host_rss = memory.total - memory.available, rss
        return max(0, self._host_use + rss - self._host_rss)

    def _resolve(self) -> Resolution:
        rss, memory = int(self._process.memory_info().rss), self._psutil.virtual_memory()
        self._host_use, self._host_rss = memory.total - memory.available, rss
        host = LimitCandidate(
            kind="host", source="host RAM", limit_bytes=memory.total, in_use_bytes=memory.total - memory.available
        )
        return decide([Bound(host, "host")], setting=self._setting, rss_bytes=rss, ram_bytes=memory.total)
