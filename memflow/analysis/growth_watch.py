"""What detectors of growth need between two looks: samples of what is live, and how often growth was seen.

Covers `GrowthWatch`, which turns windows into changes: growth of what is live and its verdict, memory that the
allocator keeps, and what others take. It reads no clock but the one that counts its own cost, and tells nobody: that is
`memflow.analysis.analyzer`'s.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from memflow.analysis.beside import LOOKS_IN_A_ROW, Beside
from memflow.analysis.detectors import Finding, IssueKind, Thresholds
from memflow.analysis.growth import growth, has_begun, may_have_begun, still_growing
from memflow.analysis.growth_evidence import BYTES_PER_BLOCK, COUNTS
from memflow.analysis.imports import Imports
from memflow.analysis.inquiry import Inquiry
from memflow.analysis.lows import FLOOR_ROWS, MIN_ROWS, GrowthWindow, span_s
from memflow.analysis.suspect import SITE, Suspect
from memflow.analysis.trend import History
from memflow.analysis.watch import Change
from memflow.analysis.whose import Whose
from memflow.memory.readings import AllocatorReading, MemoryReading, MemoryWindow
from memflow.memory.signals import ProcessSignals, read_signals

__all__ = ["LOOKS_IN_A_ROW", "SAMPLES_IN_A_ROW", "GrowthWatch"]

SAMPLE_INTERVAL_S = 0.02
"""Least seconds between two samples of live memory."""
DRAINED_INTERVAL_S = 0.005
"""The same where nothing is in flight."""
IDLE_SAMPLE_S = 0.5
"""Seconds after which a sample is taken although no item was finished."""
SAMPLES_IN_A_ROW = FLOOR_ROWS + 2
"""Rows of samples that those looks must cover: there is a whole low then that the first of them had not seen."""
TIME_SHARES = (0.006, 0.002)
"""Shares of the time that sampling, and looking at growth, may take."""
WARY_TIME_SHARES = (0.025, 0.0125)
"""The same while something has begun to grow, and until it has been told for a while."""
WARY_S = 30.0
"""For how long."""
CONFIRMED = 10.0
"""How many times the span over which growth was first seen it must have gone on to be more than a suspicion."""
LEAST_BUFFER_SHARE = 0.3
"""Share of the bytes gained for each item that a suspect must weigh where it could only be by large buffers."""
LEAST_RESULTS_SHARE = 0.1
"""The same of results that are kept, to be what growth is about."""
GARBAGE_SHARE = 0.3
"""Share of the blocks gained that collecting must have found as objects to call growth garbage."""


class GrowthWatch:
    """Samples what is live at batch boundaries, and looks for growth at each row of samples.

    Args:
        thresholds: what is worth reporting.
        read_allocator: asks the allocators.
        inquiry: asks who holds what grows.
        count: counts descriptors, threads and tasks.
        cost_clock: processor seconds of this thread.
    """

    def __init__(
        self,
        thresholds: Thresholds,
        read_allocator: Callable[[], AllocatorReading],
        *,
        inquiry: Inquiry | None = None,
        count: Callable[[], ProcessSignals] = read_signals,
        cost_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.thresholds = thresholds
        self.inquiry = inquiry if inquiry is not None else Inquiry(enabled=False)
        self.next_sample_s = float("-inf")
        self.allocator: AllocatorReading | None = None
        """What the allocators said at the last sample."""
        self.whose = Whose()
        """Whose growth it is, as far as can be told."""
        self.agreeing = 0
        """Looks in a row that found growth which is not open yet."""
        self._agreeing_samples = 0
        self._next_look_s = float("-inf")
        self._sample_cost_s = self._look_cost_s = 0.0
        self._read_allocator = read_allocator
        self._count = count
        self._cost_clock = cost_clock
        self._live = {name: History() for name in ("blocks", "native_bytes", "descriptors", "threads", "tasks")}
        self._imports = Imports()
        self._rss = History()
        self._verdict: IssueKind | None = None
        self._first_span = (0.0, 0.0)
        self._opened_at = (0.0, 0.0)
        self._evidence: Mapping[str, float] = {}
        self._as_found: Mapping[str, float] = {}
        self._wary = False
        self._over = self._over_samples = 0
        self._beside = Beside(thresholds)
        self._unseen = 0
        self._last_items = -1
        self._last_drained = False
        self._next_drained_s = float("-inf")
        self._last_s = float("-inf")

    def sample(self, window: MemoryWindow) -> list[Change]:
        """Take a sample if a batch has ended since the last one, and look for growth if enough have been taken."""
        items, now_s = sum(window.items_done.values()), window.reading.time_s
        at_rest = window.drained and not self._last_drained
        if items == self._last_items and not at_rest and now_s - self._last_s < IDLE_SAMPLE_S:
            return []
        # First, so that a fault below is not met again at once.
        self.next_sample_s, self._next_drained_s = now_s + SAMPLE_INTERVAL_S, now_s + DRAINED_INTERVAL_S
        began_s = self._cost_clock()
        self._last_items, self._last_s, self._last_drained = items, now_s, window.drained
        self._add(window, items)
        sampled_s = self._cost_clock()
        sampling, looking = WARY_TIME_SHARES if self._is_wary(now_s) else TIME_SHARES
        # Of two costs in a row the lesser: one that was held up blinds nobody for long.
        cost_s, self._sample_cost_s = min(sampled_s - began_s, self._sample_cost_s), sampled_s - began_s
        pause_s = cost_s / sampling
        self.next_sample_s = now_s + max(SAMPLE_INTERVAL_S, pause_s)
        self._next_drained_s = now_s + max(DRAINED_INTERVAL_S, pause_s)
        if self._unseen < self._rss.samples_per_row or now_s < self._next_look_s:
            return []
        changes = list(self._look(window.reading, items))
        self._unseen = 0
        look_s = self._cost_clock() - sampled_s
        cost_s, self._look_cost_s = min(look_s, self._look_cost_s), look_s
        self._next_look_s = now_s + cost_s / looking
        return changes

    def _is_wary(self, now_s: float) -> bool:
        return self._wary if self._verdict is None else now_s - self._opened_at[1] < WARY_S

    def is_due(self, window: MemoryWindow) -> bool:
        """True when a window should be sampled; sooner where nothing is in flight, which tells most.

        What one call of `process` collects for its caller is live until it returns: with batches that grow, it would
        look like growth to whoever samples in the midst of them alone.
        """
        now_s = window.reading.time_s
        return now_s >= self.next_sample_s or (window.drained and now_s >= self._next_drained_s)

    def _add(self, window: MemoryWindow, items: int) -> None:
        reading = window.reading
        load = 0.0 if window.drained else sum(window.loads.values())
        found, counts = self._read_allocator(), self._count()
        self.allocator = found
        kept_blocks, kept_bytes = window.kept
        native_bytes = found.native_live_bytes
        values = {
            "blocks": found.blocks - kept_blocks,
            "native_bytes": None if native_bytes is None else native_bytes - kept_bytes,
            "descriptors": counts.descriptors,
            "threads": counts.threads,
            "tasks": counts.tasks,
        }
        imported = self._imports.has_imported(len(sys.modules))
        for name, history in self._live.items():
            value = values[name]
            if value is not None:
                history.add(items, reading.time_s, load, self._imports.without(name, value, imported=imported))
            elif len(history):  # given up, since it answered too slowly: old samples alone say nothing about now
                history.clear()
        self._beside.add(items, load, window.kept, reading)
        results_bytes = kept_bytes + BYTES_PER_BLOCK * kept_blocks
        self._rss.add(items, reading.time_s, load, reading.rss_bytes - results_bytes)
        self.whose.work.add(reading.time_s, window.items_done, {} if window.drained else window.loads)
        self._unseen += 1

    def window(self, reading: MemoryReading) -> GrowthWindow:
        """Return what the detectors of growth look at."""
        live = {name: history.series() for name, history in self._live.items() if len(history)}
        return GrowthWindow(live, self._rss.series(), reading.headroom_bytes, self._beside.kept_gains())

    def _look(self, reading: MemoryReading, items: int) -> Iterator[Change]:
        window = self.window(reading)
        self._wary = len(self._rss) >= MIN_ROWS // 2 and may_have_begun(window)
        if self._verdict is None and self._wary and has_begun(window):
            self.inquiry.begin(items)
        if len(self._rss) < MIN_ROWS:
            return
        change = self._look_again(window, items) if self._verdict else self._look_first(window, items)
        if change is not None:
            yield change
        free_bytes = self.allocator.native_free_bytes if self.allocator else None
        grows = self._verdict is not None
        yield from self._beside.look(window, reading, free_bytes=free_bytes, growth=change, grows=grows)

    def _look_first(self, window: GrowthWindow, items: int) -> Change | None:
        finding = growth(window, self.thresholds)
        self.agreeing = self.agreeing + 1 if finding is not None else 0
        # What came before the first of them was not looked at, and what earlier ones agreed on is over.
        since = self._agreeing_samples + self._unseen
        self._agreeing_samples = since if self.agreeing > 1 else self._rss.samples_per_row
        if self.agreeing > 1:
            self.inquiry.look(items)
        rows = self._agreeing_samples // self._rss.samples_per_row
        if finding is None or self.agreeing < LOOKS_IN_A_ROW or rows < SAMPLES_IN_A_ROW:
            return None
        self.agreeing = self._agreeing_samples = self._over = 0
        self._first_span = (max(1.0, finding.evidence["seen_items"]), finding.evidence["seen_s"])
        self._opened_at = (float(items), window.rss.times_s[-1])
        self._verdict, self._as_found = IssueKind.SUSPECTED_LEAK, finding.evidence
        return self._found(finding, window)

    def _look_again(self, window: GrowthWindow, items: int) -> Change | None:
        finding = still_growing(window, self.thresholds, self._as_found)
        if finding is None and self.verdict() is IssueKind.CYCLIC_GARBAGE:
            return None  # collecting once has ended nothing
        self._over = 0 if finding is not None else self._over + 1
        self._over_samples = self._over_samples + self._unseen if self._over > 1 else self._rss.samples_per_row
        if self._over < LOOKS_IN_A_ROW or self._over_samples < SAMPLES_IN_A_ROW * self._rss.samples_per_row:
            if finding is None:
                return None
            self.inquiry.look(items, may_collect=True)
            went_on = (items - self._opened_at[0], window.rss.times_s[-1] - self._opened_at[1])
            if all(lasted >= CONFIRMED * first for lasted, first in zip(went_on, self._first_span, strict=True)):
                self._verdict = IssueKind.LEAK
            return self._found(finding, window)
        over, self._verdict = self._verdict, None
        self.inquiry.forget()
        self.whose.forget()
        return over

    def _found(self, finding: Finding, window: GrowthWindow) -> Finding:
        """Take growth in that is open, see whose it is, and return it with its verdict."""
        self._evidence = finding.evidence  # as seen: what is told of one operation must not bend the verdict
        self.whose.look(window.live, finding.evidence)
        return self.judged(replace(finding, evidence=self.whose.evidence(finding.evidence)))

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """Who seems to hold what grows, and where that is allocated.

        Where only native memory grows, of those who hold something, those who hold a good part of it in buffers.
        """
        evidence = self._evidence
        others_rise = "blocks_per_min" in evidence or self._counts_rise
        if "native_bytes_per_item" not in evidence or others_rise:
            return self.inquiry.suspects
        found = self.inquiry.suspects
        return tuple(each for each in found if each.kind == SITE or self._share(each) >= LEAST_BUFFER_SHARE)

    @property
    def _counts_rise(self) -> bool:
        return any(f"{name}_per_min" in self._evidence for name in COUNTS)

    def _share(self, suspect: Suspect) -> float:
        """Return the part of what is gained with each item that a suspect weighs, roughly; 0 where nobody can tell."""
        each = self._evidence.get("growth_bytes_per_item", 0.0)
        if suspect.per_item is None or not suspect.bytes or each <= 0:
            return 0.0
        return suspect.bytes / suspect.gained * suspect.per_item / each

    def verdict(self) -> IssueKind | None:
        """Return what open growth is called, from what has been found by now; None where none is open."""
        if self._verdict is None:
            return None
        first = self.suspects[0] if self.suspects else None
        of_results = first is not None and "memflow.processing" in f"{first.what} {first.holder}"
        if first is not None and of_results and not self._counts_rise and self._share(first) >= LEAST_RESULTS_SHARE:
            return IssueKind.RESULTS_PILING_UP
        collected = self.inquiry.collected
        if collected and not gc.isenabled() and collected.objects >= max(1, GARBAGE_SHARE * self._blocks_gained()):
            return IssueKind.CYCLIC_GARBAGE
        return self._verdict

    def _blocks_gained(self) -> float:
        values = self._live["blocks"].series().values
        return max(values) - min(values) if values else 0.0

    def judged(self, finding: Finding) -> Finding:
        """Return growth with its verdict, from what has been found by now."""
        evidence = dict(finding.evidence)
        collected = self.inquiry.collected
        if collected is not None:
            evidence["collected_objects"] = float(collected.objects)
            evidence["collected_bytes"] = float(collected.freed_bytes)
            evidence["collect_took_ms"] = collected.took_ms
        return replace(finding, kind=self.verdict() or finding.kind, evidence=evidence)

    @property
    def samples(self) -> int:
        """Samples that are kept (rows)."""
        return len(self._rss)

    def span_s(self, reading: MemoryReading) -> float:
        """Seconds that the samples span."""
        return span_s(self.window(reading))

    @property
    def room_bytes(self) -> int:
        """What the histories take; the same for every length of run."""
        samples = sum(history.room_bytes for history in (*self._live.values(), self._rss))
        return samples + self._beside.room_bytes + self.whose.work.room_bytes

    def clock_went_back(self) -> None:
        """Forget every sample: their times are worth nothing now."""
        for history in (*self._live.values(), self._rss):
            history.clear()
        self._beside.forget_samples()
        self.whose.work.clear()
        self.next_sample_s = self._next_drained_s = self._last_s = self._next_look_s = float("-inf")
        self._unseen = self.agreeing = self._agreeing_samples = 0
