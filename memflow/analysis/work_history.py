"""What operations have finished at each moment of a run, kept in fixed room. *Pure*: time is passed in.

Covers `WorkHistory`, which is kept beside the samples of what is live (`memflow.analysis.trend`), and `Work`, what one
operation did at moments of somebody's choice. What growth has to do with it is told by `memflow.analysis.attribution`.

A run may have any number of operations under any names: the busiest are kept apart, the rest is counted together.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memflow.analysis.trend import COARSEST_SAMPLES, HISTORY_ROWS

__all__ = ["Work", "WorkHistory"]

APART = 6
"""Operations that are kept apart."""
REVIEW_SAMPLES = 60
"""Samples after which it is seen anew which operations are the busiest."""
BUSIER = 2.0
"""How many times the items of one that is kept apart another must have finished lately to take its place."""
_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Work:
    """What one operation did, at some moments of a run."""

    operation: str | None
    """Its name; None for all that are not kept apart, together."""
    items: float
    """Items that it finished between the first moment and the last; 0.0 where it only was in flight."""
    amounts: Sequence[float]
    """Items finished by each moment; seconds in flight instead where none was finished from the first to the last."""
    at_once: float = 0.0
    """Items that it finishes from one sample to the next, about: as exact as amounts are, since an item keeps what it
    keeps before it counts as finished."""


class WorkHistory:
    """Items finished, and seconds in flight, of each operation in fixed room.

    Rows are merged as those of `memflow.analysis.trend.History` are; a row says how things were at its end, and between
    two rows work is taken to go on evenly.
    """

    __slots__ = (
        "_at_once",
        "_busy_s",
        "_columns",
        "_items",
        "_last",
        "_length",
        "_names",
        "_pending",
        "_reviewed",
        "_samples",
        "_samples_per_row",
        "_times_s",
    )

    def __init__(self) -> None:
        def column() -> array[float]:
            return array("d", bytes(8 * (HISTORY_ROWS + 1)))  # one more for the row that is being filled

        self._times_s = column()
        self._items = [column() for _ in range(APART + 1)]  # the last is the rest's
        self._busy_s = [column() for _ in range(APART + 1)]
        self._columns = (self._times_s, *self._items, *self._busy_s)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._names: list[str] = []
        self._at_once = [0.0] * (APART + 1)
        self._length = self._pending = self._samples = 0
        self._samples_per_row = 1
        self._last: Mapping[str, int] = {}
        self._reviewed: Mapping[str, int] = {}

    def add(self, time_s: float, items_done: Mapping[str, int], loads: Mapping[str, float]) -> None:
        """Add a sample.

        Args:
            time_s: When it was taken, in seconds of a monotonic clock.
            items_done: Operation to items finished since the run began; never changed later.
            loads: Operation to the weight in flight; those at rest are left out.
        """
        if self._length == HISTORY_ROWS:
            self._halve()
        if self._samples % REVIEW_SAMPLES == 0:
            self._review(items_done)
        elif len(self._names) < APART and len(items_done) + len(loads) > len(self._names):
            self._welcome((*items_done, *loads))
        self._note(time_s, items_done, loads)
        self._last = items_done
        self._samples += 1
        self._pending += 1
        if self._pending >= self._samples_per_row:
            self._length, self._pending = self._length + 1, 0

    def _note(self, time_s: float, items_done: Mapping[str, int], loads: Mapping[str, float]) -> None:
        row = self._length
        before = row if self._pending else max(0, row - 1)
        lasted_s = time_s - self._times_s[before] if self._samples else 0.0
        self._times_s[row] = time_s
        rest = sum(items_done.values())
        for place, name in enumerate(self._names):
            done = items_done.get(name, 0)
            rest -= done
            self._fill(place, before, done, lasted_s if name in loads else 0.0)
        is_busy = any(name not in self._names for name in loads)
        self._fill(APART, before, rest, lasted_s if is_busy else 0.0)

    def _fill(self, place: int, before: int, done: float, busy_s: float) -> None:
        items, row = self._items[place], self._length
        gained = done - items[before]
        if gained > 0 and self._samples:
            known = self._at_once[place]
            self._at_once[place] = known + _SMOOTHING * (gained - known) if known else gained
        items[row] = done
        self._busy_s[place][row] = self._busy_s[place][before] + busy_s

    def _halve(self) -> None:
        half = HISTORY_ROWS // 2
        for column in self._columns:
            column[:half] = column[1:HISTORY_ROWS:2]
        self._length = half
        self._samples_per_row = min(2 * self._samples_per_row, COARSEST_SAMPLES)

    def _review(self, items_done: Mapping[str, int]) -> None:
        """Keep those apart that finished most since the last review, without haste: a place changes hands seldom."""
        gained = {name: done - self._reviewed.get(name, 0) for name, done in items_done.items()}
        self._reviewed = items_done
        apart = set(self._names)
        busiest = sorted((name for name in gained if name not in apart), key=lambda name: -gained[name])
        self._welcome(busiest)
        waiting = [name for name in busiest if name not in self._names]
        places = sorted(range(len(self._names)), key=lambda place: gained.get(self._names[place], 0))
        for name, place in zip(waiting, places, strict=False):
            if gained[name] <= BUSIER * gained.get(self._names[place], 0):
                return
            self._add_to_rest(place)
            self._names[place] = name
            self._take_from_rest(place)

    def _welcome(self, names: Sequence[str]) -> None:
        for name in names:
            if len(self._names) < APART and name not in self._names:
                self._names.append(name)
                self._take_from_rest(len(self._names) - 1)

    def _take_from_rest(self, place: int) -> None:
        """Count one apart from now on: what it had finished by the last sample stays counted with the rest."""
        done, rows = float(self._last.get(self._names[place], 0)), self._length + 1
        self._items[place][:rows] = array("d", [done]) * rows
        self._busy_s[place][:rows] = array("d", bytes(8 * rows))
        self._at_once[place] = 0.0
        rest = self._items[APART]
        for row in range(rows):
            rest[row] -= done

    def _add_to_rest(self, place: int) -> None:
        for column in (self._items, self._busy_s):
            rest, own = column[APART], column[place]
            for row in range(self._length + 1):
                rest[row] += own[row]

    def at(self, times_s: Sequence[float]) -> list[Work]:
        """Return what each operation did, at moments that rise; those that did nothing between them are left out."""
        rows = self._length + (1 if self._pending else 0)
        if not rows:
            return []
        places = [self._place(time_s, rows) for time_s in times_s]
        ends = places[0], places[-1]
        found = []
        for place, name in (*enumerate(self._names), (APART, None)):
            first, last = (_between(self._items[place], *end) for end in ends)
            if last > first:
                amounts = [_between(self._items[place], *each) for each in places]
                found.append(Work(name, last - first, amounts, self._at_once[place]))
                continue
            busy_s = [_between(self._busy_s[place], *each) for each in places]
            if busy_s[-1] > busy_s[0]:
                found.append(Work(name, 0.0, busy_s))
        return found

    def _place(self, time_s: float, rows: int) -> tuple[int, float]:
        """Return the row before a moment, and how far the moment is from there to the next."""
        after = bisect_left(self._times_s, time_s, 0, rows)
        if after == 0:
            return 0, 0.0
        if after == rows:
            return rows - 1, 0.0
        before_s, after_s = self._times_s[after - 1], self._times_s[after]
        return after - 1, (time_s - before_s) / (after_s - before_s)

    @property
    def room_bytes(self) -> int:
        """What the rows take, in bytes; the same for every length of run."""
        return sum(len(column) * column.itemsize for column in self._columns)


def _between(column: Sequence[float], row: int, share: float) -> float:
    return column[row] if not share else column[row] + share * (column[row + 1] - column[row])
