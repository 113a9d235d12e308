"""Takes readings: the only writer of a `MemoryState`.

Covers when to read (at batch boundaries, and every interval while something is in flight) and the automatic
reclaim that a reading may call for. How to read is `memflow.memory.probe`'s; what the heap keeps, `retained`'s.

The sampler belongs to the calls in flight: each call lends its task group (`attached`), one of them hosts the
ticking task, and when that call ends another takes over. After the last one nothing runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from memflow.memory.datalimit import DataLimit
from memflow.memory.hosting import Host
from memflow.memory.pressure import PressureGauge, PressureLevel
from memflow.memory.probe import LinuxProbe, MemoryProbe, default_probe
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.reclaim import ReclaimResult, ReclaimSchedule, collect_and_trim, trim_alone
from memflow.memory.retained import NEAR_PCT, Retained, limit_kills
from memflow.memory.spacing import Spacing
from memflow.memory.state import MemoryState
from memflow.settings import MemoryManagerSettings

__all__ = ["Sampler"]

_log = logging.getLogger("memflow.memory")

_TRIM_INTERVAL_S = 0.25
_BLIND_S = 0.01


class Sampler:
    """Reads memory into a state.

    Args:
        settings: intervals, watermarks, what may be reclaimed.
        state: written by this sampler and no other.
        probe: how to read; None takes what fits this machine, on the first reading.
        clock: seconds of a monotonic clock; replaced in tests.

    Attributes:
        clock: what readings are timed by, and what everybody goes by who compares a time with theirs.
        spacing: when memory is looked at next.
    """

    def __init__(
        self,
        settings: MemoryManagerSettings | None = None,
        state: MemoryState | None = None,
        *,
        probe: MemoryProbe | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings if settings is not None else MemoryManagerSettings()
        self.state = state if state is not None else MemoryState(history_size=self.settings.history_size)
        self.reclaims = 0
        self.reclaimed_bytes = 0
        self.reclaim_s = 0.0
        self._probe = probe
        self._own_probe = probe is None
        self.clock = clock
        self._lock = Lock()
        self._gauge = PressureGauge(
            hold_pct=self.settings.hold_pct,
            shrink_pct=self.settings.shrink_pct,
            stop_pct=self.settings.stop_pct,
            hysteresis_pct=self.settings.hysteresis_pct,
            cooldown_s=self.settings.cooldown_s,
        )
        self._schedule = ReclaimSchedule(
            threshold_pct=self.settings.gc_threshold_pct, max_time_pct=self.settings.reclaim_max_time_pct
        )
        # A probe of somebody's own may tell of another process, or of none.
        self._data_limit = DataLimit() if self.settings.data_limit and probe is None else None
        self._retained = Retained(self.settings, self.state, clock, may_pin=probe is None)
        self._next_trim_s = float("-inf")
        self._hosts: dict[int, list[Host]] = {}
        self.spacing = Spacing(self.settings.boundary_interval_s, self.settings.sample_interval_s)
        self._next_limit_s = float("-inf")
        self._reclaiming = False

    @property
    def probe(self) -> MemoryProbe:
        """How memory is read here."""
        if self._probe is None:
            self._probe = default_probe(self.settings)
        return self._probe

    def sample(self, *, boundary: bool = False) -> MemoryReading:
        """Take a reading now and tell the state's listeners.

        Args:
            boundary: reuse the slow parts of the last full reading.
        """
        with self._lock:
            self.state.share_heap()
            try:
                return self._sample(boundary=boundary)
            finally:
                self.state.share_heap(share=False)

    def _sample(self, *, boundary: bool) -> MemoryReading:
        now_s, began_s = self.clock(), time.thread_time()
        state, probe = self.state, self.probe
        if now_s >= self._next_limit_s or state.limit is None:
            state.limit = probe.limit(now_s)
            self._next_limit_s = now_s + self.settings.limit_refresh_s
        before = state.reading
        reading = probe.read(now_s, boundary=boundary)
        work = state.work
        window = MemoryWindow(
            before.rss_bytes if before is not None else reading.rss_bytes,
            reading,
            work.cut(),
            work.items_done(),
            work.drained,
            work.kept(),
        )
        level = self._gauge.update(reading.utilization_pct, now_s)
        if level is not state.level and self.settings.debug:
            _log.debug("level %s -> %s at %.1f %% of the limit", state.level, level, reading.utilization_pct)
        if not boundary or reading.utilization_pct >= NEAR_PCT:
            self._bound_data(reading)
        if before is None:
            self._retained.begin(reading)
        if self._hosts and not boundary:
            self._retained.watch(reading)
        short = self._hosts and reading.utilization_pct >= self.settings.stop_pct
        if short and self._retained.give_back(reading):
            self._bound_data(reading)  # while it is known which of the addresses are holes
        state.accept(window, level)
        if before is not None:
            self.spacing.watch_others(
                now_s,
                others_bytes=reading.in_use_bytes - reading.rss_bytes,
                were_bytes=before.in_use_bytes - before.rss_bytes,
                limit_bytes=reading.limit_bytes,
            )
        self.spacing.has_read(now_s, time.thread_time() - began_s, urgent=level is PressureLevel.STOP)
        return reading

    def _bound_data(self, reading: MemoryReading) -> None:
        data_limit = self._data_limit
        if data_limit is not None and limit_kills(self.state):
            data_limit.move(
                rss_bytes=reading.rss_bytes,
                in_use_bytes=reading.in_use_bytes,
                limit_bytes=reading.limit_bytes,
                now_s=reading.time_s,
            )

    def expect_retention(self, *, threads: bool = False) -> None:
        """Keep as little of what is freed as can be, from now on; see `Retained.expect`."""
        self._retained.expect(threads=threads)
        self.spacing.begin(self.clock())

    def plug_holes(self) -> None:
        """Leave one item that is about to run alone all the room there is; `unplug_holes` once it has ended."""
        data_limit, reading = self._data_limit, self.state.reading
        if data_limit is not None and reading is not None:
            data_limit.plug()
            self._bound_data(reading)

    def unplug_holes(self) -> None:
        """Go back to a bound that reckons with holes."""
        data_limit, reading = self._data_limit, self.state.reading
        if data_limit is not None and reading is not None:
            data_limit.unplug()
            self._bound_data(reading)

    def expect_threads(self, count: int) -> None:
        """Leave address space for the stacks of so many worker threads, before they start."""
        data_limit, reading = self._data_limit, self.state.reading
        if data_limit is not None and data_limit.expect_threads(count) and reading is not None:
            self._bound_data(reading)

    def at_boundary(self, now_s: float) -> None:
        """Take a reading at the start or end of a batch, unless one was taken a moment ago and nothing is new."""
        spacing = self.spacing
        if now_s >= spacing.next_s and not (spacing.glance_does(now_s) and self._shows_nothing_new(now_s)):
            self.sample(boundary=True)

    def _shows_nothing_new(self, now_s: float, *, tick: bool = False) -> bool:
        reading, probe = self.state.reading, self._probe
        if reading is None or self.state.pins.holding:
            return False
        if not isinstance(probe, LinuxProbe):
            return not tick and self._own_probe and now_s - reading.time_s < _BLIND_S
        began_s = time.thread_time()
        in_use = probe.glance()
        if in_use is None:
            return False
        stop_bytes = self.settings.stop_pct / 100 * reading.limit_bytes
        was = reading.in_use_bytes
        if not Spacing.is_as_foreseen(in_use_bytes=in_use, was_bytes=was, stop_bytes=stop_bytes):
            return False
        steady = Spacing.is_steady(in_use_bytes=in_use, was_bytes=was, limit_bytes=reading.limit_bytes)
        if not steady and (tick or self.spacing.is_due_if_moved(now_s)):
            return False
        self.spacing.has_glanced(now_s, time.thread_time() - began_s, steady=steady)
        return True

    @contextmanager
    def attached(self, group: TaskGroup) -> Iterator[None]:
        """Keep sampling while inside; the ticking task runs in `group`, or in that of another call of this thread."""
        self.spacing.begin(self.clock())
        host = Host(group)
        hosts = self._hosts.setdefault(get_ident(), [])
        hosts.append(host)
        if len(hosts) == 1:
            host.start(self._tick)
        data_limit = self._data_limit
        if data_limit is not None:
            data_limit.hold()
            if self.state.reading is not None:
                self._bound_data(self.state.reading)
        try:
            yield
        finally:
            if data_limit is not None:
                data_limit.release()
            hosts.remove(host)
            if host.stop():
                if hosts:
                    hosts[0].start(self._tick)
                else:
                    self._hosts.pop(get_ident(), None)

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(self.settings.sample_interval_s)
            now_s = self.clock()
            if self.spacing.glance_does(now_s, tick=True) and (
                self.spacing.glanced_lately(now_s) or self._shows_nothing_new(now_s, tick=True)
            ):
                continue
            reading = self.sample()
            if self.settings.auto_gc and self._schedule.due(reading.utilization_pct, self.clock()):
                await self.reclaim_if_allowed()

    async def reclaim_if_allowed(self, wanted_bytes: int = 0) -> ReclaimResult | None:
        """Collect in a thread, if the time budget and the last yield allow it; None if they don't.

        Trims too, where the C library keeps what was freed for longer than a moment.

        Args:
            wanted_bytes: What waits for room. If it is large, and about as much lies free in the heap, in pieces that
                may be too small for it, then trimming is allowed at once.
        """
        now_s = self.clock()
        may_trim = self.settings.trim and now_s >= self._next_trim_s
        urgent = may_trim and self._retained.would_make_room(wanted_bytes)
        if self._reclaiming or not (urgent or self._schedule.allowed(now_s)):
            return None
        self._reclaiming = True
        try:
            return await self._in_thread(urgent or self._retained.is_worth_trimming())
        finally:
            self._reclaiming = False

    async def reclaim_in_thread(self) -> ReclaimResult:
        """Collect and trim now, off the loop."""
        result = await self._in_thread(True)
        self.sample()  # whoever asks for this runs next, and alone
        return result

    async def _in_thread(self, with_trim: bool) -> ReclaimResult:
        if self._data_limit is not None and not self._data_limit.allows_thread():
            return self._reclaim(with_trim)
        try:
            return await anyio.to_thread.run_sync(self._reclaim, with_trim)
        except RuntimeError:  # RLIMIT_DATA leaves no room for the stack of a new thread
            return self._reclaim(with_trim)

    def reclaim(self) -> ReclaimResult:
        """Collect and trim now. Blocks; takes no heed of the time budget but counts against it."""
        return self._reclaim(True)

    def _reclaim(self, with_trim: bool) -> ReclaimResult:
        tries = with_trim and self.settings.trim
        result = collect_and_trim(self._rss, with_trim=tries)
        if tries:  # also in vain: it is no use again at once
            self._next_trim_s = self.clock() + _TRIM_INTERVAL_S
            self._retained.trimmed()
        reading = self.sample()
        self._schedule.record(result, in_use_bytes=reading.in_use_bytes, now_s=self.clock())
        self._count(result)
        return result

    @property
    def may_trim(self) -> bool:
        """True where trimming is switched on, and what is read is this process."""
        return self.settings.trim and self._own_probe

    def try_trim(self) -> ReclaimResult | None:
        """Trim alone, to see what comes back; None where the time budget does not allow it now. Blocks.

        Counts against the budget, and says nothing about what a collection would give.
        """
        if self._reclaiming or not self._schedule.allowed(self.clock()):
            return None
        result = trim_alone(self._rss)
        self._next_trim_s = self.clock() + _TRIM_INTERVAL_S
        self._retained.trimmed()
        self._schedule.spend(result.seconds, self.clock())
        self._count(result)
        return result

    def _count(self, result: ReclaimResult) -> None:
        self.reclaims += 1
        self.reclaimed_bytes += result.freed_bytes
        self.reclaim_s += result.seconds
        if self.settings.debug:
            _log.debug("reclaim gave back %d bytes in %.3f s", result.freed_bytes, result.seconds)

    def _rss(self) -> int:
        return self.sample().rss_bytes

    @property
    def level(self) -> PressureLevel:
        """How near the limit was at the latest reading."""
        return self.state.level

    def close(self) -> None:
        """Release what the probe holds open. A later reading makes another, unless the probe was given."""
        with self._lock:
            if self._probe is not None:
                self._probe.close()
            if self._own_probe:
                self._probe = None
