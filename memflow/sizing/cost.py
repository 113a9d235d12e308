"""What work costs in memory: bytes per item (or per byte of hint) and per call, learnt from peaks. Pure.

Covers the estimate. The guard against what it can't foresee is `memflow.sizing.surprises`'s, seconds are
`memflow.sizing.timing`'s, the choice of a size `memflow.sizing.policy`'s, the promise of bytes
`memflow.sizing.admission`'s.

How it works. RSS before and after a batch tells nothing where the allocator keeps what was freed (it reads 0 to 10 %
of the truth). Instead, with B the RSS when idle (the anchor), P the exact peak of a window and I the largest weight in
flight meanwhile:

- Where memory *grew* in the window (the peak rose over the window's start, or over all peaks that grew before, as it
  does little by little when items grow), what was in flight took all that was there: (P - B) / I is a sample. The
  estimate is the larger of the 80th percentile of the last 24 and the mean of the last 5, so that it follows a ramp at
  once.
- Where it did not grow for a whole turn-over (everything in flight replaced by other work), freed memory was used
  again, and (P - B) / I is only an upper bound: the largest of the last four lowers the estimate and never raises it.
  One window isn't enough, since work that has begun may not have allocated yet.
- A run of samples all above (or all below) the median of those before them is another regime: the older half goes.
- Where calls of different size, or several operations, were in flight, coefficients >= 0 for bytes per weight and
  bytes per call are fitted to the same samples (`fitting.fit_quantile_plane`).

`benchmarks/estimator.py` holds the comparison with what else was tried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf

from memflow.sizing.fitting import fit_quantile_plane
from memflow.sizing.ratios import STEP, Ratios
from memflow.sizing.shifts import ShiftWatch
from memflow.sizing.surprises import Surprises

__all__ = ["CostModel", "MemoryCost"]

GREW_BYTES = 128 * 1024
"""Least rise of a peak over its window's start that counts as growth; the program's own small change lies below."""
GREW_SHARE = 0.02
"""The same as a share of what is in use above the anchor."""

_CREPT_SHARE = 0.05  # over all peaks that grew before; less than this is the allocator's own waste
_RUN = 5
_ROWS = 64
_LEAST_ROWS = 6  # to tell calls from their weight
_SHIFT_MARGIN = 1.1
_FIT_QUANTILE = 0.7
_RIDGE = 0.02
_RIDGE_SPLIT = 0.003  # weight against calls: here the prior, all bytes on the weight, is known to be wrong
_FIT_SPREAD = 1.5
_FIT_INTERVAL_S = 0.1
_FIT_ROWS = 8  # more of them take longer to fit, and each new one changes less


@dataclass(frozen=True, slots=True)
class MemoryCost:
    """What one operation takes."""

    bytes_per_weight: float
    """Bytes for each unit of weight: an item, or a byte of size hint."""
    bytes_per_call: float
    """Bytes of a call whatever its weight; 0 where calls of one size can't tell."""
    samples: int
    """Windows with growth that this rests on; 0 where there are only upper bounds."""

    def predict_bytes(self, weight: float, calls: float = 1.0) -> float:
        """Return the bytes that calls with this weight in all take at their peak."""
        return self.bytes_per_weight * weight + self.bytes_per_call * calls


@dataclass(slots=True)
class _Row:
    """One window with growth, kept for the joint fit."""

    loads: Mapping[str, float]
    calls: Mapping[str, float]
    used_bytes: float


class CostModel:
    """Learns what every operation of a process takes from the windows between two readings.

    Not thread-safe for writing; the costs are replaced whole, so that reading them needs no lock.

    Args:
        anchor_bytes: RSS with nothing in flight; None takes the start of the first window.
        held: Tells what the allocators count as live, bytes; None where they can't.

    Attributes:
        anchor_bytes: the anchor in use; it sinks by itself when RSS is seen below it.
        quiet_windows: windows with work in flight since memory last grew. Many of them mean that freed memory is used
            again and nothing new is learnt: trimming makes growth visible.
    """

    def __init__(self, *, anchor_bytes: float | None = None, held: Callable[[], float | None] = lambda: None) -> None:
        self.anchor_bytes = anchor_bytes
        self._held = held
        self.quiet_windows = 0
        self._ratios: dict[str, Ratios] = {}
        self._fitted: dict[str, MemoryCost] = {}
        self._known: dict[str, MemoryCost | None] = {}  # what `cost` said since the last window
        self._watches: dict[str, ShiftWatch] = {}
        self._rows: deque[_Row] = deque(maxlen=_ROWS)
        self._next_fit_s = -inf
        self._new_rows = 0
        self._surprises = Surprises(self.predict_bytes)
        self._record_bytes = inf

    def observe(
        self,
        *,
        start_bytes: float,
        peak_bytes: float,
        end_bytes: float,
        loads: Mapping[str, float],
        calls: Mapping[str, float],
        finished: Mapping[str, float],
        now_s: float,
        batched: Collection[str] = (),
        cut_short: bool = False,
    ) -> None:
        """Learn from one window.

        Args:
            start_bytes: RSS when the window opened.
            peak_bytes: The largest RSS in it.
            end_bytes: RSS when it closed.
            loads: Operation to the largest weight in flight at one moment of the window.
            calls: Operation to the calls in flight, where known.
            finished: Operation to the weight that was finished since the start.
            now_s: Monotonic time, seconds; fits are spaced by it.
            batched: Operations whose items come in batches, so that a ratio tells of many items.
            cut_short: Use came as near to the limit as it can, so that what was wanted may have been more.
        """
        if self.anchor_bytes is None or start_bytes < self.anchor_bytes:
            self.anchor_bytes = start_bytes
        if not loads:
            # Nothing of ours ran: a rise is somebody else's.
            self.anchor_bytes += max(0.0, end_bytes - start_bytes)
            self._surprises.rest()
            return
        self._watch_floor(start_bytes, peak_bytes, loads, finished)
        used = max(0.0, peak_bytes - self.anchor_bytes)
        self._surprises.add(used, loads, calls)
        at_once = peak_bytes > start_bytes + max(GREW_BYTES, GREW_SHARE * used)
        if at_once or peak_bytes > self._record_bytes + max(GREW_BYTES, _CREPT_SHARE * used):
            self.quiet_windows = 0
            self._record_bytes = peak_bytes if self._record_bytes == inf else max(self._record_bytes, peak_bytes)
            self._learn_growth(used, loads, calls, slow=not at_once, batched=batched, cut_short=cut_short)
        else:
            self.quiet_windows += 1
            self._learn_quiet(used, loads, calls, finished)
        self._known = {}
        if self._new_rows and now_s >= self._next_fit_s:
            self._fit(now_s)
            self._known = {}

    @property
    def guard_bytes(self) -> float:
        """Room to keep for sudden use that no prediction covers, bytes; see `memflow.sizing.surprises`."""
        return self._surprises.guard_bytes

    def cost(self, operation: str) -> MemoryCost | None:
        """Return what an operation takes, None before anything was learnt."""
        try:
            return self._known[operation]
        except KeyError:
            found = self._known[operation] = self._find_cost(operation)
            return found

    def _find_cost(self, operation: str) -> MemoryCost | None:
        fitted = self._fitted.get(operation)
        if fitted is not None:
            return fitted
        ratios = self._ratios.get(operation)
        if ratios is None or (estimate := ratios.estimate) is None:
            return None
        return MemoryCost(estimate, 0.0, len(ratios.samples))

    def predict_bytes(self, loads: Mapping[str, float], calls: Mapping[str, float]) -> float:
        """Return the bytes that these loads take together; an unknown operation counts 0."""
        total = 0.0
        for operation, load in loads.items():
            cost = self.cost(operation)
            if cost is not None:
                total += cost.predict_bytes(load, calls.get(operation, 1.0))
        return total

    def operations(self) -> tuple[str, ...]:
        """Return the operations about which something is known."""
        return tuple({**self._ratios, **self._fitted})

    def move_anchor(self, anchor_bytes: float) -> None:
        """Set the RSS with nothing in flight, where it is known that the program itself came to hold more."""
        self.anchor_bytes = anchor_bytes

    def _watch_floor(
        self, start: float, peak: float, loads: Mapping[str, float], finished: Mapping[str, float]
    ) -> None:
        """Move the anchor where use rises and items don't take more (see `shifts`)."""
        if len(loads) > 1:
            for watch in self._watches.values():
                watch.skip()
            return
        anchor = self.anchor_bytes or 0.0
        for operation, load in loads.items():
            watch = self._watches.setdefault(operation, ShiftWatch())
            shift = watch.add(
                rise=peak - start,
                used=max(0.0, peak - anchor),
                load=load,
                finished=finished.get(operation, 0.0),
                held=self._held(),
            )
            if shift is not None:
                self.anchor_bytes = anchor + shift.floor_bytes
                self._ratios_of(operation).cap(_SHIFT_MARGIN * shift.ratio)
                self._rows.clear()
                self._known = {}

    def _learn_growth(
        self,
        used: float,
        loads: Mapping[str, float],
        calls: Mapping[str, float],
        *,
        slow: bool,
        batched: Collection[str],
        cut_short: bool,
    ) -> None:
        if len(loads) == 1:
            for operation, load in loads.items():
                ratios = self._ratios_of(operation)
                if slow:
                    ratios.add_slow_growth(used, load)
                elif ratios.add_growth(
                    used / load, of_many=operation in batched and self._is_unforeseen(used, loads, calls)
                ):
                    self._forget_before_step(operation)
        if not cut_short:  # else large and small calls would seem to take the same
            self._rows.append(_Row(loads, calls, used))
            self._new_rows += 1

    def _is_unforeseen(self, used: float, loads: Mapping[str, float], calls: Mapping[str, float]) -> bool:
        """True where use is far above what was learnt: small batches with a fixed cost take more for each item, too."""
        return used > STEP * self.predict_bytes(loads, calls)

    def _forget_before_step(self, operation: str) -> None:
        """Drop all but the last row of an operation whose items have become larger; the next one is added then."""
        self._fitted.pop(operation, None)
        self._known = {}
        self._next_fit_s = -inf
        while len(self._rows) > 1:
            self._rows.popleft()
        self._surprises.judge()

    def _learn_quiet(
        self, used: float, loads: Mapping[str, float], calls: Mapping[str, float], finished: Mapping[str, float]
    ) -> None:
        # With several operations at once the bound of one depends on the other's share: nothing to learn.
        if len(loads) == 1:
            for operation, load in loads.items():
                ratios, fitted = self._ratios_of(operation), self._fitted.get(operation)
                ratios.add_quiet(used / load, load, finished.get(operation, 0.0))
                if fitted is not None and ratios.is_below(fitted.predict_bytes(load, calls.get(operation, 1.0)), load):
                    # Items have become smaller, and nothing grows that the fit could learn that from.
                    self._fitted.pop(operation)
                    self._rows = deque((row for row in self._rows if operation not in row.loads), maxlen=_ROWS)

    def _ratios_of(self, operation: str) -> Ratios:
        found = self._ratios.get(operation)
        if found is None:
            found = self._ratios[operation] = Ratios()
        return found

    def _fit(self, now_s: float) -> None:
        """Fit bytes per weight and per call jointly, where the rows can tell them apart."""
        self._next_fit_s = now_s + _FIT_INTERVAL_S * max(1.0, len(self._rows) / _FIT_ROWS)
        self._new_rows = 0
        rows = tuple(self._rows)
        columns = _columns(rows)
        rows = tuple(row for row in rows if all(_knows(row, column) for column in columns))
        if len(columns) < 2 or (len(rows) < _LEAST_ROWS and len({name for name, _ in columns}) == 1):
            self._fitted = {}
            return
        prior = self._prior(rows, columns)
        values = [[_value(row, column) for column in columns] for row in rows]
        targets = [row.used_bytes for row in rows]
        split = {name for name, kind in columns if kind == "call"}
        ridge = [_RIDGE_SPLIT if name in split else _RIDGE for name, _ in columns]
        found = fit_quantile_plane(values, targets, prior=prior, quantile=_FIT_QUANTILE, ridge=ridge)
        coefficients = dict(zip(columns, found, strict=True))
        self._fitted = {
            name: MemoryCost(coefficients[name, "weight"], coefficients.get((name, "call"), 0.0), len(rows))
            for name, kind in columns
            if kind == "weight"
        }
        predicted = [sum(a * b for a, b in zip(row, found, strict=True)) for row in values]
        self._forget_misfits(targets, predicted, now_s)

    def _prior(self, rows: tuple[_Row, ...], columns: list[tuple[str, str]]) -> list[float]:
        pooled = sum(row.used_bytes for row in rows) / sum(sum(row.loads.values()) for row in rows)
        prior = []
        for operation, kind in columns:
            ratios = self._ratios.get(operation)
            alone = ratios.estimate if ratios is not None else None
            prior.append(0.0 if kind == "call" else alone if alone is not None else pooled)
        return prior

    def _forget_misfits(self, targets: list[float], predicted: list[float], now_s: float) -> None:
        """Drop the older half of the rows when the newest all lie on one side: the operation has changed."""
        shares = [t / p if p > 0 else 1.0 for t, p in zip(targets[-_RUN:], predicted[-_RUN:], strict=True)]
        if len(targets) >= 2 * _RUN and (min(shares) > 1.15 or max(shares) < 0.85):
            for _ in range((len(self._rows) - _RUN) // 2 + 1):
                self._rows.popleft()
            self._new_rows, self._next_fit_s = 1, now_s + _FIT_INTERVAL_S


def _columns(rows: tuple[_Row, ...]) -> list[tuple[str, str]]:
    """Return what can be told apart: each operation's weight, and its calls where their weight varies."""
    columns = []
    for operation in sorted({name for row in rows for name in row.loads}):
        columns.append((operation, "weight"))
        each = [
            row.loads[operation] / row.calls[operation]
            for row in rows
            if operation in row.loads and operation in row.calls
        ]
        if each and max(each) > _FIT_SPREAD * min(each):
            columns.append((operation, "call"))
    return columns


def _knows(row: _Row, column: tuple[str, str]) -> bool:
    """True when a row can tell the calls of an operation from their weight, or doesn't need to."""
    operation, kind = column
    return kind == "weight" or operation in row.calls or operation not in row.loads


def _value(row: _Row, column: tuple[str, str]) -> float:
    operation, kind = column
    load = row.loads.get(operation, 0.0)
    if kind == "weight" or not load:
        return load
    return row.calls[operation]
