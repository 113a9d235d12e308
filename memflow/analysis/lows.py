"""The lows of what is live, without what the work in flight explains: what growth is judged by. *Pure*.

Covers windows of samples, and turning one into lows. Whether these grow is decided in `memflow.analysis.growth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import ne

from memflow.analysis.trend import Series, floors, in_flight_part, take_rows, theil_sen

__all__ = [
    "FLOOR_ROWS",
    "KEPT_DOUBT",
    "MIN_GAIN",
    "MIN_ROWS",
    "GrowthWindow",
    "Lows",
    "advances",
    "all_lows",
    "at_rest",
    "gain_of",
    "lows_of",
    "newest",
    "span_s",
]

FLOOR_ROWS = 3
"""Rows of which a floor is the least: with fewer, what is held for a few batches is in them, and rises by chance."""
MIN_ROWS = 19 * FLOOR_ROWS
"""Rows below which growth is not judged: so few that chance is kept out by `SURE_Z`, not by waiting."""
MIN_GAIN: Mapping[str, float] = {
    "blocks": 3_000,
    "native_bytes": 512 * 1024,
    "descriptors": 20,
    "threads": 10,
    "tasks": 50,
}
"""What a signal must have gained over the window, in its own unit; less is noise of caches and interning."""
KEPT_DOUBT = 0.2
"""Share of what the results weigh that running calls collect, by which that may be wrong: some of them are weighed."""


@dataclass(frozen=True, slots=True)
class GrowthWindow:
    """Samples of what is live, beside RSS, and how much room is left."""

    live: Mapping[str, Series]
    """Signal (a key of `MIN_GAIN`) to its samples; a signal that the platform cannot tell is left out."""
    rss: Series
    """Resident bytes at the same moments, without what results take that running calls collect."""
    headroom_bytes: float
    """Limit less use, in bytes."""
    kept_gains: Mapping[str, float] = field(default_factory=dict)
    """Signal to what results have gained that running calls collect, which `live` is without."""

    def least_gain(self, name: str, share: float = 1.0) -> float:
        """Return what a signal must have gained: more than noise, and than what may be wrong about results."""
        return share * MIN_GAIN[name] + KEPT_DOUBT * self.kept_gains.get(name, 0.0)


@dataclass(frozen=True, slots=True)
class Lows:
    """The floors of one signal, less what the work in flight explains."""

    series: Series
    """Floors, the first quarter skipped."""
    skipped: Sequence[float]
    """Values of those that were skipped: in the order of all, though not in the pace."""
    by_items: bool
    """True when the items advanced, so that growth is judged along them; along time otherwise."""

    @property
    def xs(self) -> Sequence[float]:
        """Return where they lie: items, or seconds."""
        return self.series.items if self.by_items else self.series.times_s

    @property
    def ys(self) -> Sequence[float]:
        """Return what they are, in the signal's unit."""
        return self.series.values


def all_lows(window: GrowthWindow) -> dict[str, Lows]:
    """Return the lows of the signals that have moved by more than noise.

    Most hardly move, and to look at them closely would cost as much as at those that do.
    """
    moved = {
        name: each
        for name, each in window.live.items()
        if len(each) >= MIN_ROWS and max(each.values) - min(each.values) > MIN_GAIN[name]
    }
    found = {name: lows_of(series) for name, series in moved.items()}
    return {name: each for name, each in found.items() if each is not None}


def lows_of(series: Series) -> Lows | None:
    """Return floors without the part in flight and without the warm-up, or None where there are too few."""
    if len(series) < MIN_ROWS:
        return None
    by_items = advances(series)
    lows = floors(at_rest(series, by_items=by_items), FLOOR_ROWS)
    quarter = len(lows) // 4
    return Lows(take_rows(lows, range(quarter, len(lows))), lows.values[:quarter], by_items)


def advances(series: Series) -> bool:
    """True where items were finished between the samples, so that growth is judged along them."""
    items = series.items  # they never fall
    different = 1 + sum(map(ne, items, items[1:]))
    return bool(different >= len(series) // 2)


def at_rest(series: Series, *, by_items: bool) -> Series:
    """Return a signal without what the work in flight explains."""
    share = in_flight_part(series.in_flight, series.items if by_items else series.times_s, series.values)
    if share <= 0:
        return series
    values = [value - share * load for value, load in zip(series.values, series.in_flight, strict=True)]
    return Series(series.items, series.times_s, series.in_flight, values)


def newest(lows: Lows) -> Lows:
    """Return the newest third."""
    size = len(lows.series)
    return Lows(take_rows(lows.series, range(size - size // 3, size)), (), lows.by_items)


def gain_of(lows: Lows, slope: float | None = None) -> float:
    """Return what a signal gains over its lows, along their slope."""
    slope = theil_sen(lows.xs, lows.ys) if slope is None else slope
    return slope * (lows.xs[-1] - lows.xs[0])


def span_s(window: GrowthWindow) -> float:
    """Seconds of history that a window holds."""
    times_s = window.rss.times_s
    return times_s[-1] - times_s[0] if len(times_s) else 0.0
