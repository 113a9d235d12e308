"""Robust statistics of a series, and a series kept in fixed room. *Pure*.

Covers the slope (Theil-Sen), the test for a trend (Mann-Kendall), floors, the part of a series that work in flight
explains, and `History`, which keeps any number of samples in the same few kilobytes. What a trend means is decided
in `memflow.analysis.detectors`.

Sources: Sen 1968, "Estimates of the regression coefficient based on Kendall's tau"; Mann 1945 and Kendall 1975 with
the correction for ties. Own code, since scipy would cost 86 MB of RSS.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from operator import mul

__all__ = [
    "History",
    "Series",
    "correlation",
    "floors",
    "in_flight_part",
    "mann_kendall_z",
    "is_one_step",
    "take_rows",
    "theil_sen",
    "theil_sen_interval",
]

HISTORY_ROWS = 240
"""Rows that a history holds at most."""
_LIKE_A_STEP = 0.7
"""What a step leaves unexplained, against what a line does, below which it is the better of both."""
_RISES_BEHIND = 0.3
"""Share of the whole gain from which what comes behind a step rises."""
_FEW_BEHIND = 5
"""Rows behind a step of which nobody can tell yet whether they rise."""
COARSEST_SAMPLES = 16
"""Samples that new rows stand for at most: more forgives slower breathing, and sees a late leak later."""


def theil_sen(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs of points.

    Args:
        xs: Positions, in any order; pairs with equal positions are passed over.
        ys: Values, as many as positions.

    Returns:
        The slope in units of `ys` for one unit of `xs`; 0.0 where no two positions differ. Never NaN.
    """
    slopes = [
        (y_later - y) / (x_later - x)
        for i, (x, y) in enumerate(zip(xs, ys, strict=True))
        for x_later, y_later in zip(xs[i + 1 :], ys[i + 1 :], strict=True)
        if x_later != x
    ]
    return _median(slopes) if slopes else 0.0


def theil_sen_interval(xs: Sequence[float], ys: Sequence[float], z: float = 1.96) -> tuple[float, float]:
    """Return the bounds of the slope that `theil_sen` estimates, 95 % by default (Sen 1968); (0.0, 0.0) without pairs.

    Args:
        xs: Positions, rising.
        ys: Values, as many as positions.
        z: How sure, in standard deviations of Kendall's score.
    """
    n = len(ys)
    slopes = sorted((ys[j] - ys[i]) / (xs[j] - xs[i]) for i in range(n) for j in range(i + 1, n) if xs[j] != xs[i])
    if not slopes:
        return 0.0, 0.0
    spread = z * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, int((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, int((len(slopes) + spread) / 2))
    return slopes[low], slopes[high]


def _median(values: list[float]) -> float:
    values.sort()
    middle = len(values) // 2
    found = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
    return found if isfinite(found) else 0.0


def mann_kendall_z(ys: Sequence[float]) -> float:
    """Return how sure it is that a series rises (positive) or falls (negative), in standard deviations.

    Only the order of values counts, so no scale and no outlier changes the answer. It says nothing about how much
    the series rises, and it calls a warm-up that levels off a rise: never judge by it alone.
    """
    n = len(ys)
    if n < 3:
        return 0.0
    score = 0
    before: list[float] = []
    for y in ys:
        at = bisect_left(before, y)
        equal = bisect_right(before, y, at) - at
        score += 2 * at + equal - len(before)  # those below less those above
        before.insert(at, y)
    ties = Counter(ys).values()
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if score == 0 or variance <= 0:
        return 0.0
    return (score - (1 if score > 0 else -1)) / sqrt(variance)


def is_one_step(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """True where one step to another level explains a series better than a line, and nothing rises behind it.

    Args:
        xs: Positions, rising; at least two.
        ys: Values, as many as positions.
    """
    n, mean = len(ys), sum(ys) / len(ys)
    below, explained, at = 0.0, 0.0, 0
    for count, y in enumerate(ys[:-1], 1):
        below += y - mean
        by_step = below * below * n / (count * (n - count))  # of the squares about the mean
        if by_step > explained:
            explained, at = by_step, count
    dx, dy = _centred(xs), _centred(ys)
    syy, sxx, sxy = _dot(dy, dy), _dot(dx, dx), _dot(dx, dy)
    left_of_line = syy - (sxy * sxy / sxx if sxx > 0 else 0.0)
    if not at or syy - explained >= _LIKE_A_STEP * left_of_line:
        return False
    dx, dy = _centred(xs[at:]), _centred(ys[at:])
    across = _dot(dx, dx)
    if n - at < _FEW_BEHIND or across <= 0:
        return True
    return _dot(dx, dy) / across * (xs[-1] - xs[at]) < _RISES_BEHIND * (max(ys) - min(ys))


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return Pearson's correlation, in [-1, 1]; 0.0 where one of both is constant."""
    dx, dy = _centred(xs), _centred(ys)
    return _correlation(_dot(dx, dx), _dot(dy, dy), _dot(dx, dy))


def _correlation(sxx: float, syy: float, sxy: float) -> float:
    if sxx <= 0 or syy <= 0:
        return 0.0
    found = sxy / (sqrt(sxx) * sqrt(syy))
    return max(-1.0, min(1.0, found)) if isfinite(found) else 0.0


def _centred(values: Sequence[float]) -> list[float]:
    """Distances from the mean."""
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def _dot(xs: Sequence[float], ys: Sequence[float]) -> float:
    return sum(map(mul, xs, ys), 0.0)


def in_flight_part(in_flight: Sequence[float], xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return what one unit of work in flight adds to `ys`, told apart from what grows along `xs`.

    Least squares on [1, in-flight, xs]. Where in-flight and xs rise together nobody can tell them apart (batches
    that grow, for one), and all of it is put down to the work in flight: a leak is not alleged on such evidence.

    Returns:
        Units of `ys` for one unit in flight, at least 0.0, since work in flight does not free memory.
    """
    df = _centred(in_flight)
    sff = _dot(df, df)
    if sff <= 0:
        return 0.0
    dx, dy = _centred(xs), _centred(ys)
    sfy, sfx, sxx = _dot(df, dy), _dot(df, dx), _dot(dx, dx)
    if abs(_correlation(sff, sxx, sfx)) > 0.9:
        return max(0.0, sfy / sff)
    determinant = sff * sxx - sfx * sfx
    slope = (sfy * sxx - _dot(dx, dy) * sfx) / determinant if determinant > 0 else sfy / sff
    return max(0.0, slope) if isfinite(slope) else 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one signal, oldest first, as columns of equal length."""

    items: Sequence[float]
    """Items finished when the sample was taken."""
    times_s: Sequence[float]
    """When it was taken, in seconds of a monotonic clock."""
    in_flight: Sequence[float]
    """Weight in flight at that moment."""
    values: Sequence[float]
    """What was measured."""

    def __len__(self) -> int:
        return len(self.values)


def floors(series: Series, size: int = 4) -> Series:
    """Return the row with the least value of each `size` rows, aligned with the newest row.

    What a program holds is seen in the lows: between them it allocates and frees. The oldest rows that fill no
    whole group are left out.
    """
    values = series.values
    lows = []
    for start in range(len(values) % size, len(values), size):
        group = values[start : start + size]
        lows.append(start + group.index(min(group)))
    return take_rows(series, lows)


def take_rows(series: Series, rows: Sequence[int]) -> Series:
    """Return the rows with the given positions."""
    return Series(
        items=[series.items[i] for i in rows],
        times_s=[series.times_s[i] for i in rows],
        in_flight=[series.in_flight[i] for i in rows],
        values=[series.values[i] for i in rows],
    )


class History:
    """Samples of one signal in fixed room: when full, neighbours are merged pairwise and the lower value stays.

    Samples that come later are merged as coarsely, up to `COARSEST_SAMPLES` a row. Beyond that only the old rows grow
    coarser, so that a leak which begins late shows within some hundred samples however long the run was before.
    All room is taken at once: a history that grew with the run would show up in the very signals that it holds.

    Args:
        rows: Rows kept at most; even.
    """

    __slots__ = ("_columns", "_length", "_low", "_pending", "_rows", "samples_per_row")

    def __init__(self, rows: int = HISTORY_ROWS) -> None:
        if rows < 2 or rows % 2:
            raise ValueError(f"rows={rows} must be even and at least 2, since rows are merged in pairs")
        self._rows = rows
        self._columns = tuple(array("d", bytes(8 * rows)) for _ in range(4))
        self.clear()

    def clear(self) -> None:
        """Forget all samples."""
        self._length = self._pending = 0
        self._low: tuple[float, float, float, float] | None = None
        self.samples_per_row = 1

    def add(self, items: float, time_s: float, in_flight: float, value: float) -> None:
        """Add a sample; amortised constant in time."""
        if self._length == self._rows:
            self._halve()
        if self._low is None or value < self._low[3]:
            self._low = (items, time_s, in_flight, value)
        self._pending += 1
        if self._pending < self.samples_per_row:
            return
        for column, each in zip(self._columns, self._low, strict=True):
            column[self._length] = each
        self._length += 1
        self._pending, self._low = 0, None

    def _halve(self) -> None:
        values = self._columns[3]
        for row in range(self._rows // 2):
            low = 2 * row if values[2 * row] <= values[2 * row + 1] else 2 * row + 1
            for column in self._columns:
                column[row] = column[low]
        self._length = self._rows // 2
        self.samples_per_row = min(2 * self.samples_per_row, COARSEST_SAMPLES)

    def series(self) -> Series:
        """Return a copy of what is kept, oldest first."""
        # Lists, since each use of an array makes its numbers anew.
        items, times_s, in_flight, values = (column[: self._length].tolist() for column in self._columns)
        return Series(items=items, times_s=times_s, in_flight=in_flight, values=values)

    @property
    def room_bytes(self) -> int:
        """What the rows take, in bytes; the same for every length of run."""
        return sum(len(column) * column.itemsize for column in self._columns)

    def __len__(self) -> int:
        return self._length
