"""Learning from windows: what memory the operations take, and how much room there is.

Covers turning readings into what sizers ask (`outlook.Outlook`). The model itself is `memflow.sizing.cost`; which sizes
follow is decided in `memflow.sizing.policy`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.state import MemoryState
from memflow.sizing.anchor import HeapBaseline
from memflow.sizing.cost import CostModel, MemoryCost
from memflow.sizing.decisions import Decision
from memflow.sizing.operation import Operation
from memflow.sizing.warm import Prior

__all__ = ["Learning"]

_log = logging.getLogger("memflow.sizing")

_UNCOMFORTABLE_PCT = 60.0
_CUT_SHORT_PCT = 90.0
_RECALLED_GUARD_WINDOWS = 64
_RECALLED_GUARD_SHARE = 0.1
_MOST_GUARD_SHARE = 0.2  # more would leave the work too little; what lies beyond is for RLIMIT_DATA to catch


class Learning:
    """What one optimizer has learnt about memory; implements `outlook.Outlook`.

    Args:
        state: Where readings come from.
        debug: Log every decision.

    Attributes:
        guard_bytes: room that admission should keep for what no prediction covers.
        base_bytes: what is in use without our work; None before the first reading.
        reusable_bytes: what the allocator holds that was freed and is handed out again.
    """

    def __init__(self, state: MemoryState, *, debug: bool) -> None:
        self.guard_bytes = 0
        self.base_bytes: int | None = None
        self.reusable_bytes = 0
        self._state = state
        self._debug = debug
        self._model = CostModel(held=self._held)
        self._baseline = HeapBaseline(state.allocator)
        self._others_bytes: dict[str, float] = {}
        self._priors: dict[str, Prior] = {}
        self._prior_windows: dict[str, int] = {}
        self._recalled_guard_bytes = 0.0
        self._recalled_guard_windows = 0
        self._pinned, self._pinned_times = False, state.pins.times

    def recall(self, operation: str, prior: Prior | None, guard_bytes: float) -> None:
        """Take what an earlier run learnt for a guess, until this one has measured enough."""
        if prior is None:
            self._priors.pop(operation, None)
            return
        self._priors[operation] = prior
        self._prior_windows[operation] = 0
        self._recalled_guard_bytes = max(self._recalled_guard_bytes, guard_bytes)
        self._recalled_guard_windows = _RECALLED_GUARD_WINDOWS

    def begin(self) -> None:
        """Take note that a call begins while nothing is in flight."""
        self._baseline.move(self._model, self._state.reading)

    def observe(self, window: MemoryWindow, operations: Mapping[str, Operation]) -> None:
        """Learn from a window; nothing from one in which somebody kept alive what had ended."""
        model, loads = self._model, window.loads
        if self._was_pinned():
            self._look_at(window.reading)
            return
        calls, finished = {}, {}
        batched = []
        for name in loads:
            known = operations.get(name)
            if known is not None:
                finished[name] = known.weight
                if known.kind == "batches":
                    batched.append(name)
                if known.batches - known.opened_at >= known.calls:  # while calls begin one by one, nobody counts them
                    calls[name] = float(known.calls)
            else:
                finished[name] = float(window.items_done.get(name, 0))
        reading = window.reading
        model.observe(
            start_bytes=window.start_rss_bytes,
            peak_bytes=reading.peak_rss_bytes,
            end_bytes=reading.rss_bytes,
            loads=loads,
            calls=calls,
            finished=finished,
            now_s=reading.time_s,
            batched=batched,
            cut_short=reading.in_use_bytes + reading.peak_rss_bytes - reading.rss_bytes
            >= _CUT_SHORT_PCT / 100 * reading.limit_bytes,
        )
        if loads:
            self._others_bytes = (
                {name: model.predict_bytes({name: load}, calls) for name, load in loads.items()}
                if len(loads) > 1
                else {}
            )
            guard = max(model.guard_bytes, self._recalled_guard(reading.limit_bytes))
            self.guard_bytes = int(min(guard, _MOST_GUARD_SHARE * reading.limit_bytes))
            if self._priors:
                self._retire_priors(loads)
        self._look_at(reading)

    def _was_pinned(self) -> bool:
        pins = self._state.pins
        pinned, self._pinned = self._pinned or pins.times != self._pinned_times, pins.holding > 0
        self._pinned_times = pins.times
        return pinned or self._pinned

    def _look_at(self, reading: MemoryReading) -> None:
        self.base_bytes = self._base(reading)
        if reading.in_use_bytes > _UNCOMFORTABLE_PCT / 100 * reading.limit_bytes:
            self.reusable_bytes = self._baseline.reusable_bytes(self._model, reading)
        elif self.reusable_bytes:
            self.reusable_bytes = 0

    def _held(self) -> float | None:
        return self._baseline.held_bytes(self._model, self._state.reading)

    def _recalled_guard(self, limit_bytes: int) -> float:
        """What an earlier run kept for surprises, until this one knows; never so much that little could start."""
        if self._recalled_guard_windows <= 0:
            return 0.0
        self._recalled_guard_windows -= 1
        return min(self._recalled_guard_bytes, _RECALLED_GUARD_SHARE * limit_bytes)

    def _retire_priors(self, loads: Collection[str]) -> None:
        for name, prior in tuple(self._priors.items()):
            own = self._model.cost(name)
            if own is not None and name in loads:
                self._prior_windows[name] += 1
            if not prior.holds(own, self._prior_windows[name]):
                del self._priors[name]

    def level(self) -> int:
        """Return the level of pressure."""
        return self._state.level

    def in_use_bytes(self) -> int:
        """Return what counts against the limit, 0 before the first reading."""
        reading = self._state.reading
        return reading.in_use_bytes if reading is not None else 0

    def limit_bytes(self) -> int | None:
        """Return the limit, None before the first reading."""
        reading = self._state.reading
        return reading.limit_bytes if reading is not None else None

    def room_bytes(self, operation: str, target_pct: float) -> float | None:
        """Return what an operation may take in all to reach a share of the limit; None before the first reading."""
        reading, base = self._state.reading, self.base_bytes
        if reading is None or base is None:
            return None
        others = self._others_bytes
        taken = sum(each for name, each in others.items() if name != operation) if others else 0.0
        return reading.limit_bytes * target_pct / 100 - base - taken

    def cost(self, operation: str) -> MemoryCost | None:
        """Return what an operation takes in memory, None where nothing was learnt."""
        own = self._model.cost(operation)
        prior = self._priors.get(operation) if self._priors else None
        return own if prior is None else prior.blend(own)

    def guesses(self, operation: str) -> bool:
        """True while what an operation takes is what an earlier run says."""
        return operation in self._priors

    def note(self, operation: Operation, decision: Decision) -> None:
        """Keep a decision, and log it if that is asked for."""
        operation.decisions.append(decision)
        if self._debug:
            _log.debug("%s", decision)

    def live_room_bytes(self, target_pct: float) -> float | None:
        """Return what is left up to a share of the limit, counting what the allocator will hand out again."""
        reading = self._state.reading
        if reading is None:
            return None
        free = self._baseline.reusable_bytes(self._model, reading)
        return reading.limit_bytes * target_pct / 100 - reading.in_use_bytes + free

    def _base(self, reading: MemoryReading) -> int:
        """What is in use without our work: the anchor, and what others hold that counts against the same limit."""
        anchor = self._model.anchor_bytes
        anchored = int(anchor) if anchor is not None else reading.rss_bytes
        return max(0, anchored + reading.in_use_bytes - reading.rss_bytes)
