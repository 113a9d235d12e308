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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from memflow.analysis.detectors import Finding, IssueKind, Thresholds
from memflow.analysis.growth_evidence import BYTES_PER_BLOCK, COUNTS, growth_finding, mb_per_min, steady_slope
from memflow.analysis.lows import (
    MIN_GAIN,
    GrowthWindow,
    Lows,
    advances,
    all_lows,
    at_rest,
    gain_of,
    lows_of,
    span_s,
)
from memflow.analysis.trend import Series, is_one_step, mann_kendall_z, theil_sen, theil_sen_interval

__all__ = [
    "Rise",
    "growth",
    "has_begun",
    "may_have_begun",
    "results_piling_up",
    "rises",
    "still_growing",
    "unexplained_mb_per_min",
]

_FEW_ROWS = 8
LOAD_DOUBT = 0.01
"""Share of what the work in flight explains by which that may be wrong: its number is not all that tells."""
SURE_Z = 5.0
"""Standard deviations from which the order of all lows is no chance.

Were the lows independent, less than 3 would do. But what is held for a while is in several of them: of 25,000 windows
in which nothing was kept, one in a hundred reaches 5.0 to 6.0, and is kept out by what it has gained and by its pace.
Few lows reach it only where hardly any is out of order, more of them with less, so that an early look takes growth that
is plain.
"""
SURE_LATELY_Z = 1.8
"""The same for the last half, which has to tell no more than that what is sure overall has not ended: one in thirty."""
SAME_PACE = 0.7
"""Share of its pace at which growth must go on in the last half, and in the last third.

More takes steady growth, beside what is held for a while, to slow down; less takes a warm-up for growth for longer.
"""

END_PACE = 0.4
"""Share of its pace below which growth counts as ended."""
SURE_OF_END_Z = 1.64
"""How sure that has to be, in standard deviations: one in twenty, at each of several looks in a row."""
_FEW_LOWS, _FEW_BEFORE = 8, 4
"""Lows that say nothing about an end, and lows that make no pace."""


def growth(window: GrowthWindow, thresholds: Thresholds) -> Finding | None:
    """Find live memory that rises and does not slow down, at least `growth_mb_per_min`.

    RSS is evidence of the rate only: by itself it rises in most clean programs (94 % of those measured).
    """
    if span_s(window) < thresholds.min_window_s:
        return None
    rising = {name: each for name, each in all_lows(window).items() if _rises(each, window.least_gain(name))}
    if not rising:
        return None
    return growth_finding(window, rising, lows_of(window.rss), thresholds.growth_mb_per_min)


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


def may_have_begun(window: GrowthWindow) -> bool:
    """True where something has gained a quarter of what makes it worth judging: a reason to sample more often."""
    for values, least in _moved(window, 0.25):
        quarter = len(values) // 4
        if min(values[-quarter:]) - min(values[:quarter]) > least:
            return True
    return False


def has_begun(window: GrowthWindow) -> bool:
    """True where something has gained a sixth of what makes it worth judging: a reason to look who holds it.

    Judged by the lows of the last six eighths of the samples: from each two of them to the next two there is half of
    that, so that a call that has begun is none, and no more than one pair of them stands in falling order.
    """
    for values, least in _moved(window, 1 / 6):
        size = len(values) // 8
        lows = [min(values[len(values) - n * size :][:size]) for n in range(6, 0, -1)]
        second, third, last = map(min, zip(lows[::2], lows[1::2], strict=True))
        falling = sum(later < low for n, low in enumerate(lows) for later in lows[n + 1 :])
        if min(last - third, third - second) > least / 2 and falling <= 1:
            return True
    return False


def _moved(window: GrowthWindow, share: float) -> Iterator[tuple[Sequence[float], float]]:
    """Yield signals that have moved by a share of what counts, without the work in flight, and what counts."""
    for name, series in window.live.items():
        least = window.least_gain(name, share)
        if len(series) >= _FEW_ROWS and max(series.values) - min(series.values) > least:
            values = at_rest(series, by_items=advances(series)).values
            explained = [value - rest for value, rest in zip(series.values, values, strict=True)]
            yield values, least + LOAD_DOUBT * (max(explained) - min(explained))


def still_growing(window: GrowthWindow, thresholds: Thresholds, found: Mapping[str, float]) -> Finding | None:
    """Find growth that was found before and of which nothing says that it has ended, at half the rate or more.

    Easier to satisfy than `growth`, so that an open issue does not come and go with the noise.

    Args:
        window: What is live.
        thresholds: What is worth reporting.
        found: The evidence of the growth as it was found, for its pace.
    """
    lows = all_lows(window)
    rising = {name: each for name, each in lows.items() if _goes_on(each, _pace(name, each, found))}
    return growth_finding(window, rising, lows_of(window.rss), thresholds.growth_mb_per_min / 2)


def _pace(name: str, lows: Lows, found: Mapping[str, float]) -> float:
    """The pace at which growth was found, for each item or second, as the lows lie; 0.0 where it was not this."""
    return found.get(f"{name}_per_item", 0.0) if lows.by_items else found.get(f"{name}_per_min", 0.0) / 60


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
    lows = {name: each for name, series in live.items() if (each := lows_of(series)) is not None}
    found = {name: each for name, each in lows.items() if _rises(each, least[name])}
    return {
        name: Rise(theil_sen(each.xs, each.ys), *theil_sen_interval(each.xs, each.ys), mann_kendall_z(each.ys))
        for name, each in found.items()
    }


def unexplained_mb_per_min(window: GrowthWindow) -> float:
    """Return how fast RSS rises while live memory stays, in MB a minute: retention, fragmentation or own mappings.

    Worth a word to who asks, never an issue: it ends by itself in nearly every program.
    """
    lows = {name: each for name, each in all_lows(window).items() if name not in COUNTS}
    if any(gain_of(each) > MIN_GAIN[name] for name, each in lows.items()):
        return 0.0
    return mb_per_min(max(0.0, steady_slope(lows_of(window.rss))))


def _rises(lows: Lows, min_gain: float) -> bool:
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
    if gain_of(lows, slope) <= max(min_gain, _swing(lows, slope)):
        return False
    steepest = max(theil_sen(xs[:half], ys[:half]), slope)
    if theil_sen(xs[third:], ys[third:]) < SAME_PACE * slope:
        return False
    return theil_sen(xs[half:], ys[half:]) >= SAME_PACE * steepest


def _swing(lows: Lows, slope: float) -> float:
    """How far the floors swing about their trend (their middle four fifths).

    What is in flight is explained only as far as its number tells; items of uneven size leave a swing, and a gain that
    is smaller than that may be no more than larger items for a while.
    """
    residuals = sorted(y - slope * x for x, y in zip(lows.xs, lows.ys, strict=True))
    tenth = len(residuals) // 10
    return residuals[-1 - tenth] - residuals[tenth]


def _goes_on(lows: Lows, pace: float) -> bool:
    """True unless the newest lows say that growth has ended: what was seen before is believed until then.

    They do where even the most that they may rise by lies below a part of the pace at which growth was found, or of
    that before them. The newest half is asked besides the newest third: noise that hides the end in one of them seldom
    hides it in both.
    """
    xs, ys = lows.xs, lows.ys
    slope, count = theil_sen(xs, ys), len(ys)
    if slope <= 0 or mann_kendall_z(ys) <= 0:
        return False
    for size in (max(_FEW_LOWS, count // 3), max(_FEW_LOWS, count // 2)):
        since = count - size
        if since < _FEW_BEFORE:
            continue
        _, most = theil_sen_interval(xs[since:], ys[since:], SURE_OF_END_Z)
        if most < END_PACE * max(slope, pace, theil_sen(xs[:since], ys[:since])):
            return False
    return True
