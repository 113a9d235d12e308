"""Growth that does not slow down: the detector of suspected leaks. *Pure*.

Covers `growth` and, for an issue that is open, `still_growing`; both look once and remember nothing. The caller asks
every few samples, and believes `growth` only when it says so several times in a row.

Live memory is judged instead of RSS (an allocator that keeps what was freed looks like a leak), along the items before
time, by its lows instead of its averages, and growth that slows down is a warm-up. Sources: RESIN (OSDI 2022); Machida
et al. 2013, where Mann-Kendall alone is found prone to false alarms; Matias et al. 2016, heap use beats RSS. A cache
that still fills looks the same as a leak to anyone who sees memory alone: the finding is a suspicion, and is taken
back when growth stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from memflow.analysis.detectors import Finding, IssueKind, Severity, Thresholds
from memflow.analysis.trend import (
    Series,
    floors,
    in_flight_part,
    is_one_step,
    mann_kendall_z,
    take_rows,
    theil_sen,
    theil_sen_interval,
)

__all__ = [
    "BYTES_PER_BLOCK",
    "COUNTS",
    "FLOOR_ROWS",
    "MIN_GAIN",
    "MIN_ROWS",
    "GrowthWindow",
    "Rise",
    "growth",
    "has_begun",
    "results_piling_up",
    "rises",
    "span_s",
    "still_growing",
    "unexplained_mb_per_min",
]

FLOOR_ROWS = 4
"""Rows of which a floor is the least: with fewer, what is held for a few batches is in them, and rises by chance."""
MIN_ROWS = 16 * FLOOR_ROWS
"""Rows below which growth is not judged: so few that chance is kept out by `SURE_Z`, not by waiting."""
MIN_GAIN: Mapping[str, float] = {
    "blocks": 3_000,
    "native_bytes": 512 * 1024,
    "descriptors": 20,
    "threads": 10,
    "tasks": 50,
}
"""What a signal must have gained over the window, in its own unit; less is noise of caches and interning."""
LOAD_DOUBT = 0.01
"""Share of what the work in flight explains by which that may be wrong: its number is not all that tells."""
KEPT_DOUBT = 0.2
"""Share of what the results weigh that running calls collect, by which that may be wrong: some of them are weighed."""
SURE_Z = 4.5
"""Standard deviations from which the order of all lows is no chance.

Were the lows independent, less than 3 would do. But what is held for a while is in several of them, and of windows in
which nothing grows one in a hundred reaches 3.5 to 4.6. Few lows reach it only where hardly any is out of order, more
of them with less, so that an early look takes growth that is plain.
"""
SURE_LATELY_Z = 2.05
"""The same for the last half, which has to tell no more than that what is sure overall has not ended: one in fifty."""
SAME_PACE = 0.7
"""Share of its pace at which growth must go on in the last half, and in the last third.

More takes steady growth, beside what is held for a while, to slow down; less takes a warm-up for growth for longer.
"""
BYTES_PER_BLOCK, LEAST_BYTES_PER_BLOCK = 64, 16
"""What a block of CPython's allocator is taken to hold where RSS does not show it, and the least it can; in bytes."""
NO_MB_PER_MIN = 1e-9
"""Less is no rise: a byte in 16 hours."""
COUNTS = ("descriptors", "threads", "tasks")
"""Signals whose rise is reported whatever it weighs."""
MB = 1_000_000
"""Bytes of the MB in `leak_threshold_rate`."""
CRITICAL_MINUTES, WARNING_MINUTES = 10.0, 24 * 60.0
"""Minutes to the limit, at the present rate, at which growth becomes that severe."""


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
class _Lows:
    """The floors of one signal, less what the work in flight explains."""

    series: Series
    """Floors, the first quarter skipped."""
    skipped: Sequence[float]
    """Values of those that were skipped: in the order of all, though not in the pace."""
    by_items: bool
    """True when the items advanced, so that growth is judged along them; along time otherwise."""

    @property
    def xs(self) -> Sequence[float]:
        return self.series.items if self.by_items else self.series.times_s

    @property
    def ys(self) -> Sequence[float]:
        return self.series.values


def growth(window: GrowthWindow, thresholds: Thresholds) -> Finding | None:
    """Find live memory that rises and does not slow down, at least `growth_mb_per_min`.

    RSS is evidence of the rate only: by itself it rises in most clean programs (94 % of those measured).
    """
    if span_s(window) < thresholds.min_window_s:
        return None
    rising = {name: each for name, each in _all_lows(window).items() if _rises(each, window.least_gain(name))}
    if not rising:
        return None
    return _growth_finding(window, rising, _lows(window.rss), thresholds.growth_mb_per_min)


def results_piling_up(kept: Mapping[str, Series], headroom_bytes: float, thresholds: Thresholds) -> Finding | None:
    """Find results rising that running calls collect for their callers, at least `growth_mb_per_min`.

    Args:
        kept: "blocks" and "native_bytes" to what they take, at the same moments.
        headroom_bytes: Limit less use.
        thresholds: What is worth reporting.
    """
    blocks, native = kept["blocks"], kept["native_bytes"]
    weights = [BYTES_PER_BLOCK * some + more for some, more in zip(blocks.values, native.values, strict=True)]
    weighed = Series(blocks.items, blocks.times_s, blocks.in_flight, weights)
    found = growth(GrowthWindow(kept, weighed, headroom_bytes), thresholds)
    if found is None:
        return None
    evidence = {name: value for name, value in found.evidence.items() if name != "rss_growth_mb_per_min"}
    return replace(found, kind=IssueKind.RESULTS_PILING_UP, evidence=evidence)


def has_begun(window: GrowthWindow) -> bool:
    """True where something has gained a sixth of what makes it worth judging: a reason to look who holds it.

    Judged by the lows of the last six eighths of the samples: from each two of them to the next two there is half of
    that, so that a call that has begun is none, and no more than one pair of them stands in falling order.
    """
    for name, series in window.live.items():
        size, least = len(series) // 8, window.least_gain(name, 1 / 6)
        if size and max(series.values) - min(series.values) > least:
            values = _at_rest(series, by_items=_advances(series)).values
            explained = [value - rest for value, rest in zip(series.values, values, strict=True)]
            least += LOAD_DOUBT * (max(explained) - min(explained))
            lows = [min(values[len(values) - n * size :][:size]) for n in range(6, 0, -1)]
            second, third, last = map(min, zip(lows[::2], lows[1::2], strict=True))
            falling = sum(later < low for n, low in enumerate(lows) for later in lows[n + 1 :])
            if min(last - third, third - second) > least / 2 and falling <= 1:
                return True
    return False


def still_growing(window: GrowthWindow, thresholds: Thresholds) -> Finding | None:
    """Find growth that was found before and goes on: the newest third rises, at half the rate or more.

    Easier to satisfy than `growth`, so that an open issue does not come and go with the noise.
    """
    rising = {name: each for name, each in _all_lows(window).items() if _goes_on(each)}
    if not rising:
        return None
    rss = _lows(window.rss)
    newest = {name: _newest(each) for name, each in rising.items()}
    if _growth_finding(window, newest, rss and _newest(rss), thresholds.growth_mb_per_min / 2) is None:
        return None
    return _growth_finding(window, rising, rss, 0.0)


@dataclass(frozen=True, slots=True)
class Rise:
    """How a signal rises with each item."""

    slope: float
    """In the signal's unit for each item."""
    low: float
    """The least it can be, with 95 %."""
    high: float
    """The most it can be, with 95 %."""
    z: float
    """How sure it is that it rises at all, in standard deviations (Mann-Kendall)."""


def rises(live: Mapping[str, Series], least: Mapping[str, float]) -> dict[str, Rise]:
    """Return the signals that rise and do not slow down, and have gained more than what is given as least."""
    lows = {name: each for name, series in live.items() if (each := _lows(series)) is not None}
    found = {name: each for name, each in lows.items() if _rises(each, least[name])}
    return {
        name: Rise(theil_sen(each.xs, each.ys), *theil_sen_interval(each.xs, each.ys), mann_kendall_z(each.ys))
        for name, each in found.items()
    }


def unexplained_mb_per_min(window: GrowthWindow) -> float:
    """Return how fast RSS rises while live memory stays, in MB a minute: retention, fragmentation or own mappings.

    Worth a word to who asks, never an issue: it ends by itself in nearly every program.
    """
    lows = {name: each for name, each in _all_lows(window).items() if name not in COUNTS}
    if any(_gain(each) > MIN_GAIN[name] for name, each in lows.items()):
        return 0.0
    return _mb_per_min(max(0.0, _steady_slope(_lows(window.rss))))


def span_s(window: GrowthWindow) -> float:
    """Seconds of history that a window holds."""
    times_s = window.rss.times_s
    return times_s[-1] - times_s[0] if len(times_s) else 0.0


def _all_lows(window: GrowthWindow) -> dict[str, _Lows]:
    # Most signals hardly move, and to look at them closely would cost as much as at those that do.
    moved = {
        name: each
        for name, each in window.live.items()
        if len(each) >= MIN_ROWS and max(each.values) - min(each.values) > MIN_GAIN[name]
    }
    found = {name: _lows(series) for name, series in moved.items()}
    return {name: each for name, each in found.items() if each is not None}


def _lows(series: Series) -> _Lows | None:
    """Floors without the part in flight and without the warm-up, or None where there are too few."""
    if len(series) < MIN_ROWS:
        return None
    by_items = _advances(series)
    lows = floors(_at_rest(series, by_items=by_items), FLOOR_ROWS)
    quarter = len(lows) // 4
    return _Lows(take_rows(lows, range(quarter, len(lows))), lows.values[:quarter], by_items)


def _advances(series: Series) -> bool:
    """True where items were finished between the samples, so that growth is judged along them."""
    return len(set(series.items)) >= len(series) // 2


def _at_rest(series: Series, *, by_items: bool) -> Series:
    """Return a signal without what the work in flight explains."""
    share = in_flight_part(series.in_flight, series.items if by_items else series.times_s, series.values)
    if share <= 0:
        return series
    values = [value - share * load for value, load in zip(series.values, series.in_flight, strict=True)]
    return Series(series.items, series.times_s, series.in_flight, values)


def _newest(lows: _Lows) -> _Lows:
    size = len(lows.series)
    return _Lows(take_rows(lows.series, range(size - size // 3, size)), (), lows.by_items)


def _rises(lows: _Lows, min_gain: float) -> bool:
    """All tests at once: large enough, sure (overall, and in the last half), and not slowing down.

    Overall with the warm-up or without it, whichever is surer: there are more lows with it, unless it fell meanwhile.
    The last third has too few floors for its order to be sure; its pace tells whether growth has stopped.
    """
    xs, ys = lows.xs, lows.ys
    half, third = len(ys) // 2, len(ys) - len(ys) // 3
    if is_one_step(xs, ys):
        return False  # to a new level: no growth that goes on
    # The shortest first, since what a test costs grows with the square of the length.
    if mann_kendall_z(ys[half:]) <= SURE_LATELY_Z:
        return False
    if mann_kendall_z(ys) <= SURE_Z and mann_kendall_z([*lows.skipped, *ys]) <= SURE_Z:
        return False
    slope = theil_sen(xs, ys)
    if _gain(lows, slope) <= max(min_gain, _swing(lows, slope)):
        return False
    steepest = max(theil_sen(xs[:half], ys[:half]), slope)
    if theil_sen(xs[third:], ys[third:]) < SAME_PACE * slope:
        return False
    return theil_sen(xs[half:], ys[half:]) >= SAME_PACE * steepest


def _gain(lows: _Lows, slope: float | None = None) -> float:
    slope = theil_sen(lows.xs, lows.ys) if slope is None else slope
    return slope * (lows.xs[-1] - lows.xs[0])


def _swing(lows: _Lows, slope: float) -> float:
    """How far the floors swing about their trend (their middle four fifths).

    What is in flight is explained only as far as its number tells; items of uneven size leave a swing, and a gain that
    is smaller than that may be no more than larger items for a while.
    """
    residuals = sorted(y - slope * x for x, y in zip(lows.xs, lows.ys, strict=True))
    tenth = len(residuals) // 10
    return residuals[-1 - tenth] - residuals[tenth]


def _goes_on(lows: _Lows) -> bool:
    newest, slope = _newest(lows), theil_sen(lows.xs, lows.ys)
    return slope > 0 and mann_kendall_z(newest.ys) > 0 and theil_sen(newest.xs, newest.ys) >= 0.3 * slope


def _growth_finding(
    window: GrowthWindow, rising: Mapping[str, _Lows], rss: _Lows | None, least_mb_per_min: float
) -> Finding | None:
    """Turn signals that rise into evidence, or None where the rate is not worth reporting."""
    if not rising:
        return None
    per_s = {name: theil_sen(each.series.times_s, each.ys) for name, each in rising.items()}
    native, blocks, resident = per_s.get("native_bytes", 0.0), per_s.get("blocks", 0.0), _steady_slope(rss)
    estimate = native + BYTES_PER_BLOCK * blocks
    # Blocks are counted, not weighed: RSS weighs them, unless what leaks fills up memory that was freed before. The C
    # library's heap is weighed already: what RSS gains beyond it is not live.
    certain = max(resident if blocks > 0 else 0.0, native + LEAST_BYTES_PER_BLOCK * blocks)
    rate = _mb_per_min(certain if resident > 0 else estimate)
    rate = rate if rate >= NO_MB_PER_MIN else 0.0
    counted = any(name in per_s for name in COUNTS)
    if not counted and (rate <= 0 or rate < least_mb_per_min):
        return None
    minutes_left = max(0.0, window.headroom_bytes) / MB / rate if rate > 0 else inf
    evidence = {
        "growth_mb_per_min": rate,
        "live_growth_mb_per_min": _mb_per_min(estimate),
        "rss_growth_mb_per_min": _mb_per_min(resident),
        "minutes_to_limit": minutes_left,
        "mann_kendall_z": max(mann_kendall_z(each.ys) for each in rising.values()),
    }
    evidence |= {f"{name}_per_min": 60 * slope for name, slope in per_s.items()}
    evidence |= _bounds(rising, rate)
    severity = max(_growth_severity(minutes_left), Severity.WARNING if counted else Severity.INFO)
    return Finding(IssueKind.SUSPECTED_LEAK, severity, evidence | _extent(rising, rate))


def _bounds(rising: Mapping[str, _Lows], rate: float) -> dict[str, float]:
    """Between what the rate lies with 95 %, as sure as the slope of the signal that tells best."""
    best = max(rising.values(), key=lambda each: mann_kendall_z(each.ys))
    slope = theil_sen(best.series.times_s, best.ys)
    if slope <= 0:
        return {}
    low, high = theil_sen_interval(best.series.times_s, best.ys)
    return {"least_mb_per_min": max(0.0, rate * low / slope), "most_mb_per_min": rate * high / slope}


def _extent(rising: Mapping[str, _Lows], mb_per_min: float) -> dict[str, float]:
    """Over how much time and how many items the growth was seen, and how much of it falls to one item."""
    longest = max(rising.values(), key=lambda each: len(each.series))
    times_s, items = longest.series.times_s, longest.series.items[-1] - longest.series.items[0]
    seen_s = times_s[-1] - times_s[0]
    gained_bytes = mb_per_min * MB / 60 * seen_s
    found = {"seen_s": seen_s, "seen_items": items, "seen_floors": float(len(times_s)), "gained_bytes": gained_bytes}
    if not longest.by_items or items <= 0:
        return found
    per_item = {f"{name}_per_item": theil_sen(each.xs, each.ys) for name, each in rising.items()}
    return found | per_item | {"growth_bytes_per_item": gained_bytes / items}


def _mb_per_min(bytes_per_s: float) -> float:
    return bytes_per_s * 60 / MB


def _steady_slope(rss: _Lows | None) -> float:
    """Slope of RSS in bytes a second where RSS bears the rise out, else 0.0 (freed memory may be filling up again)."""
    if rss is None or mann_kendall_z(rss.ys) <= 1.64:
        return 0.0
    times_s, newest = rss.series.times_s, _newest(rss)
    slope = theil_sen(times_s, rss.ys)
    return slope if theil_sen(newest.series.times_s, newest.ys) >= 0.5 * slope else 0.0


def _growth_severity(minutes_left: float) -> Severity:
    if minutes_left <= CRITICAL_MINUTES:
        return Severity.CRITICAL
    return Severity.WARNING if minutes_left <= WARNING_MINUTES else Severity.INFO
