"""Whose growth it is: which operation's items it goes with, and how sure that is. *Pure*.

Covers the judgement of one moment. What operations did is kept in `memflow.analysis.work_history`; that something grows
at all is decided in `memflow.analysis.growth`, and is none of this module's business.

What is live is taken to be what each operation keeps for each of its items, so far, beside noise: some that comes and
goes (memory in flight) and some that stays (caches, sizes that differ), which is a local level model (Harvey 1989;
ARIMA(0, 1, 1) with weights of either kind of noise as a nuisance). Every way to share the growth between two operations
is asked how well it explains the samples, from "all of the first" to "all of the second"; each counts as much as it is
likely. An operation is the cause where ways that give it more than half together are likely. With operations that
always work in the same proportion all ways explain the same, and nobody is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from math import exp, log, prod

from memflow.analysis.trend import Series, floors, take_rows
from memflow.analysis.work_history import Work

__all__ = ["LIKELIER", "SURE", "UNSURE", "Attribution", "attribute"]

SURE = 0.95
"""Sureness from which an operation is named: of twenty that are named, one at most should be wrong."""
UNSURE = 0.8
"""Sureness below which one that is named is named no more; lower, so that a name does not come and go."""
LIKELIER = 0.6
"""Sureness from which it is said that one is likelier than others; less is no better than a guess."""
MOST_SURE = 0.99
"""The surest that samples make, since no model of a program is right in everything."""
LIKELY = 0.1
"""Part of the growth from which an operation counts among those whose it may be."""
POINTS = 40
"""Floors that are looked at, about."""
DAMPINGS = (0.0, 0.5, 0.9)
"""Shares of the noise of one floor that the next takes back: none where all noise stays, nearly all where none does."""
LEAST_MISFIT = 1e-4
"""Part of the squares that every explanation leaves, since floors lie between the moments at which work is counted."""
LATE = 0.5
"""Share of the items that an operation finishes from one sample to the next by which their number may be late."""
FEWEST_POINTS = 12
"""Floors below which nothing is told of several operations."""
_NEVER = 1e-9


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whose growth it is, as far as can be told."""

    operation: str | None
    """The likeliest; None for those that are not kept apart."""
    sureness: float
    """How likely it is that more than half of the growth goes with its items, in [0, 1]."""
    share: float
    """The part of the growth that goes with them, in [0, 1]."""
    items: float
    """Items that it finished while the growth was seen."""
    candidates: tuple[str | None, ...]
    """All that may be the cause, the likeliest first."""
    is_alone: bool = False
    """True where no other operation was at work."""


def attribute(live: Mapping[str, Series], work_at: Callable[[Sequence[float]], list[Work]]) -> Attribution | None:
    """Say whose the growth of some signals is; None where no operation was at work.

    Args:
        live: The signals that grow, as samples.
        work_at: Tells what each operation did at given moments.
    """
    items = {each.operation: each.items for series in live.values() for each in work_at(_ends(series))}
    if not items:
        return None
    if len(items) == 1:
        (only,) = items
        return Attribution(only, 1.0, 1.0, items[only], (only,), is_alone=True)
    judged = []
    for series in live.values():
        points = _points(series)
        judged.append(_judge(points, work_at(points.times_s)))
    return _pool(judged, items)


def _ends(series: Series) -> tuple[float, float]:
    return series.times_s[len(series) // 4], series.times_s[-1]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one operation has to do with the growth of one signal."""

    likelihood: float = 0.0
    """How likely it is that more than half of it is this one's."""
    share: float = 0.0
    """The part of it that is this one's, as expected."""


def _pool(judged: Sequence[Mapping[str | None, _Part]], items: Mapping[str | None, float]) -> Attribution:
    """Join what the signals say: never surer than the surest, and less where they contradict each other."""
    joined = {name: prod(max(_NEVER, each.get(name, _Part()).likelihood) for each in judged) for name in items}
    whole = sum(joined.values())
    order = sorted(items, key=lambda name: (-joined[name], -items[name]))
    first = order[0]
    part = max((each.get(first, _Part()) for each in judged), key=lambda each: each.likelihood)
    sureness = min(joined[first] / whole, part.likelihood, MOST_SURE)
    shares = {name: max(each.get(name, _Part()).share for each in judged) for name in items}
    candidates = [name for name in order if shares[name] >= LIKELY]
    return Attribution(first, sureness, part.share, items[first], tuple(candidates))


def _points(series: Series) -> Series:
    """Floors without the warm-up and without peaks: few enough to be quick, many enough to tell rates apart.

    What is kept is never more than what any later sample shows. Of the floors that lie above some later one, the half
    that lies the farthest above shows what came and went.
    """
    lows = floors(series, max(2, len(series) // POINTS))
    lows = take_rows(lows, range(len(lows) // 4, len(lows)))
    later = [*accumulate(reversed(lows.values), min)][::-1]
    above = [value - least for value, least in zip(lows.values, later, strict=True)]
    passing = sorted(each for each in above if each > 0)
    most = passing[len(passing) // 2] if passing else 0.0
    return take_rows(lows, [row for row, each in enumerate(above) if each <= most])


def _judge(points: Series, works: Sequence[Work]) -> dict[str | None, _Part]:
    """Say what each operation has to do with the growth of one signal."""
    if len(points) < FEWEST_POINTS or not works:
        return {}
    steps, in_flight = _steps(points.values), _steps(points.in_flight)
    # Each as a part of the whole, so that a share of the growth is a share of the column.
    columns = [[step / (work.amounts[-1] - work.amounts[0]) for step in _steps(work.amounts)] for work in works]
    at_once = max(work.at_once / (work.amounts[-1] - work.amounts[0]) for work in works)
    ways = _ways(len(works))
    logs: list[float] = []
    for damping in DAMPINGS:
        logs += _log_likelihoods(steps, columns, in_flight, damping, ways, at_once)
    most = max(logs)
    weights = [exp(each - most) for each in logs]
    whole = sum(weights)
    more, shares = [0.0] * len(works), [0.0] * len(works)
    for weight, (one, other, share) in zip(weights, ways * len(DAMPINGS), strict=True):
        shares[one] += weight * share
        shares[other] += weight * (1 - share)
        if share != 0.5:
            more[one if share > 0.5 else other] += weight
    return {work.operation: _Part(more[place] / whole, shares[place] / whole) for place, work in enumerate(works)}


_Way = tuple[int, int, float]
"""Places of two operations, and the first one's share; the same twice for one that is alone."""


def _ways(operations: int) -> list[_Way]:
    """All ways to share growth that are looked at: one alone, and two in any proportion."""
    parts = 8 if operations <= 3 else 4  # they grow with the square of the operations
    alone = [(place, place, 1.0) for place in range(operations)]
    return alone + [
        (one, other, part / parts) for one, other in combinations(range(operations), 2) for part in range(1, parts)
    ]


def _log_likelihoods(
    steps: Sequence[float],
    columns: Sequence[Sequence[float]],
    in_flight: Sequence[float],
    damping: float,
    ways: Sequence[_Way],
    at_once: float,
) -> list[float]:
    """Return how likely each way is, for one kind of noise: the size of noise and of growth are left open.

    The steps are summed up as if each took back so much of the noise before it, which leaves noise that is independent;
    what the first floor was off is left open too, and so is what the work in flight holds.
    """
    ys, *xs = [_damped(each, damping) for each in (steps, *columns)]
    for nuisance in ([damping**k for k in range(len(steps))], _damped(in_flight, damping)):
        ys, *xs = _without(nuisance, ys, *xs)
    yy = _dot(ys, ys)
    xy = [_dot(each, ys) for each in xs]
    xx = [[_dot(each, other) for other in xs] for each in xs]
    best, growth = yy, 0.0
    squares = []
    for one, other, share in ways:
        rest = 1 - share
        along = share * xy[one] + rest * xy[other]
        across = share * share * xx[one][one] + 2 * share * rest * xx[one][other] + rest * rest * xx[other][other]
        left = yy - along * along / across if along > 0 and across > 0 else yy
        squares.append(left)
        if left < best:
            best, growth = left, along / across
    # Ways that differ by no more than what it means that work is counted in lumps are alike.
    late = len(steps) * 2 / (1 + damping) * (LATE * at_once * growth) ** 2
    least, half = max(0.0, best) + late + LEAST_MISFIT * yy + 1e-300, (len(steps) - 3) / 2
    return [-half * log(max(least, each)) for each in squares]


def _without(nuisance: Sequence[float], *columns: list[float]) -> list[list[float]]:
    """Return what of each column a nuisance does not explain."""
    square = _dot(nuisance, nuisance)
    if square <= 0:
        return list(columns)
    slopes = [_dot(nuisance, column) / square for column in columns]
    return [
        [value - slope * each for value, each in zip(column, nuisance, strict=True)]
        for slope, column in zip(slopes, columns, strict=True)
    ]


def _dot(xs: Sequence[float], ys: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(xs, ys, strict=True))


def _damped(steps: Sequence[float], damping: float) -> list[float]:
    level, found = 0.0, []
    for step in steps:
        level = step + damping * level
        found.append(level)
    return found


def _steps(values: Sequence[float]) -> list[float]:
    return [later - value for value, later in pairwise(values)]
