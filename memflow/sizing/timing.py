"""What work costs in time: seconds of a batch = a + b * items, and items a second. Pure.

Covers the fit behind the knee (the size from which the fixed cost `a` no longer matters) and the meter of throughput.
Bytes are `memflow.sizing.cost`'s, what follows from both is `memflow.sizing.policy`'s.

The fit is Apache Beam's `BatchElements` in spirit (at most 100 points, the first timing ignored, robust), but points
are kept by size, so that a job that has settled on one size keeps the contrast that the slope needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from statistics import median

from memflow.sizing.fitting import fit_line
from memflow.sizing.saturation import LoopTime, LoopUse

__all__ = ["RateMeter", "TimeModel"]

_BINS = 9
_BIN_POINTS = 11
_RUN = 5
_OLDER = 3
_CHANGED = 1.3
_LEAST_FIXED_S = 20e-6


class TimeModel:
    """Learns a and b of seconds = a + b * items from single timings, all taken with the same calls in flight.

    Args:
        before: What was learnt with other calls in flight. More of them may make all of it slower, yet leave the knee
            where it was: until two sizes were seen here, its knee is taken.
        line: (a, b) as an earlier run learnt them; taken until timings here say otherwise.
    """

    __slots__ = ("_bins", "_knee_ratio", "_line", "_recalled", "_seen", "_stale")

    def __init__(self, before: TimeModel | None = None, *, line: tuple[float, float] | None = None) -> None:
        self._bins: dict[int, deque[tuple[int, float]]] = {}
        self._line = self._recalled = line
        self._knee_ratio = before.knee_ratio if before is not None else _knee_ratio(line) if line is not None else None
        self._stale = False
        self._seen = before is not None

    def add(self, items: int, seconds: float) -> None:
        """Take the timing of one batch. The first is ignored: imports and connections hide in it."""
        if not self._seen:
            self._seen = True
            return
        shift = items.bit_length() - 4
        key = items >> shift << shift if shift > 0 else items
        points = self._bins.pop(key, None)
        if points is None:
            points = deque(maxlen=_BIN_POINTS)
            if len(self._bins) >= _BINS:
                del self._bins[next(iter(self._bins))]
        points.append((items, seconds))
        self._bins[key] = points  # last in the dict: the one used most recently
        self._stale = True

    @property
    def line(self) -> tuple[float, float] | None:
        """(a, b) in seconds and seconds an item; None until two sizes were seen."""
        if self._stale:
            self._stale = False
            self._line = self._fit(self._bins)
            if self._has_changed():
                newest = next(reversed(self._bins))
                self._bins = {newest: deque(list(self._bins[newest])[-_RUN:], maxlen=_BIN_POINTS)}
                self._line, self._knee_ratio, self._recalled = self._fit(self._bins), None, None
        return self._line

    @property
    def largest_items(self) -> int:
        """About the largest size that was timed here; 0 where none was."""
        return max(self._bins, default=0)

    @property
    def knee_ratio(self) -> float | None:
        """The ratio a / b in items, inf where items are free; None if unknown."""
        line = self.line
        return _knee_ratio(line) if line is not None else self._knee_ratio

    def knee_items(self, overhead_pct: float) -> float | None:
        """Return the size at which `a` is this share of the time, inf where items are free; None if unknown."""
        ratio = self.knee_ratio
        share = overhead_pct / 100
        return None if ratio is None else ratio * (1 - share) / share

    def items_within(self, seconds: float) -> float | None:
        """Return how many items a batch may have to end in time (at least 1); None if unknown."""
        line = self.line
        if line is None:
            return self._items_within_by_ratio(seconds)
        a, b = line
        return max(1.0, (seconds - a) / b) if b > 0 else inf

    def _items_within_by_ratio(self, seconds: float) -> float | None:
        points = [items * seconds / taken for each in self._bins.values() for items, taken in each if taken > 0]
        return max(1.0, median(points)) if points else None

    @staticmethod
    def _fit(bins: Mapping[int, deque[tuple[int, float]]]) -> tuple[float, float] | None:
        groups = {sum(n for n, _ in each) / len(each): [s for _, s in each] for each in bins.values()}
        return fit_line(groups)

    def _has_changed(self) -> bool:
        """True when the newest timings all lie on one side of what came before, far away."""
        newest = next(reversed(self._bins))
        points = list(self._bins[newest])
        recent, older = points[-_RUN:], points[:-_RUN]
        if len(recent) < _RUN:
            return False
        if len(older) >= _OLDER:
            usual_s = median(seconds for _, seconds in older)
            shares = [seconds / max(1e-9, usual_s) for _, seconds in recent]
        else:
            line = self._fit({key: each for key, each in self._bins.items() if key != newest}) or self._recalled
            if line is None:
                return False
            shares = [seconds / max(1e-9, line[0] + line[1] * items) for items, seconds in recent]
        return min(shares) > _CHANGED or max(shares) < 1 / _CHANGED


def _knee_ratio(line: tuple[float, float]) -> float:
    return max(line[0], _LEAST_FIXED_S) / line[1] if line[1] > 0 else inf


class RateMeter:
    """Items a second over whole rounds of the calls in flight.

    Calls that were started together end together, so that a rate taken at any moment may count a burst more or less.
    The meter opens with the first call to end that was started under the present setting, doesn't count it, and takes
    its figures each time as many calls have ended as are in flight.

    Args:
        since_s: When the present setting came into force, monotonic seconds.
        in_flight: Calls in flight: a round.

    Attributes:
        opened_s: when it opened; None before.
        calls: calls that ended in whole rounds.
        lasted_s: how long those rounds took, seconds.
    """

    __slots__ = (
        "_counted",
        "_items",
        "_next",
        "_round",
        "_round_items",
        "_use",
        "calls",
        "lasted_s",
        "opened_s",
        "since_s",
    )

    def __init__(self, since_s: float, in_flight: int) -> None:
        self.since_s = since_s
        self.opened_s: float | None = None
        self.calls = 0
        self.lasted_s = 0.0
        self._round = self._next = in_flight
        self._counted = 0
        self._items = 0
        self._round_items = 0
        self._use = LoopUse()

    def add(self, calls: int, items: int, started_s: float, now_s: float) -> None:
        """Count calls that ended now."""
        if self.opened_s is None:
            if started_s >= self.since_s:
                self.opened_s = now_s
            return
        self._counted += calls
        self._items += items
        if self._counted >= self._next:
            self.calls = self._counted
            self.lasted_s = now_s - self.opened_s
            self._round_items = self._items
            self._next = self._counted + self._round

    @property
    def left(self) -> int:
        """Calls that have to end before the next figures are taken; 0 before it has opened."""
        return 0 if self.opened_s is None else self._next - self._counted

    def reopen(self, now_s: float) -> None:
        """Begin anew under the same setting."""
        self.opened_s = now_s
        self.calls = self._counted = self._items = self._round_items = 0
        self.lasted_s = 0.0
        self._next = self._round
        self._use.restart()

    def note_loop(self, now_s: float, time: LoopTime) -> None:
        """Note what the loop's thread has done so far."""
        if self.opened_s is not None:
            self._use.note(now_s, time)

    @property
    def wants_note(self) -> bool:
        """True where it has opened and nothing was noted yet."""
        return self.opened_s is not None and not self._use.has_begun

    @property
    def sees_loop(self) -> bool:
        """True where enough of what is measured was noted to tell whether the loop ever slept."""
        return self._use.covers(self.lasted_s)

    @property
    def own_share(self) -> float | None:
        """The share of the time in which a loop that never slept had a processor; None where it slept, or unknown."""
        return self._use.own_share(self.lasted_s)

    @property
    def rate(self) -> float:
        """Items a second over the whole rounds so far; 0 before the first has ended."""
        return self._round_items / self.lasted_s if self.lasted_s > 0 else 0.0
