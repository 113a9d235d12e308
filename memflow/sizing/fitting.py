"""Small robust fits over a few dozen points. Pure.

Covers the percentile, the weighted median, a non-negative quantile regression for peaks, and a straight line through
medians for times. What the numbers mean is decided in `memflow.sizing.cost` and `memflow.sizing.timing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

__all__ = ["fit_line", "fit_quantile_plane", "percentile"]

_ROUNDS = 10
_SWEEPS = 30


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (the upper neighbour, no interpolation)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def fit_quantile_plane(
    rows: Sequence[Sequence[float]],
    targets: Sequence[float],
    *,
    prior: Sequence[float],
    quantile: float,
    ridge: Sequence[float],
) -> list[float]:
    """Fit target = row . c with c >= 0 so that about `quantile` of the targets lie below.

    Pinball loss by iteratively reweighted least squares, each step a non-negative least squares by coordinate
    descent. (Descent on the pinball loss itself, coordinate by coordinate with weighted quantiles, is exact in each
    step but gets stuck in corners where the columns move together, as calls and items do.)

    Args:
        rows: One row of column values for each target, all of one length; values >= 0.
        targets: What was measured, in the unit of c times the columns.
        prior: Where coefficients go that the rows say nothing about; the descent starts there.
        quantile: Share of the targets below the plane, in (0, 1).
        ridge: Weight of the prior in each column, against 1 for the evidence, such as 0.003.

    Returns:
        The coefficients, one a column.
    """
    width = len(prior)
    scales = [max((row[j] for row in rows), default=0.0) or 1.0 for j in range(width)]
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    goal = [value * scale for value, scale in zip(prior, scales, strict=True)]
    level = sum(targets) / max(1, len(targets)) or 1.0
    found = list(goal)
    for _ in range(_ROUNDS):
        gram, right = _weigh(scaled, targets, found, quantile=quantile, least=0.02 * level)
        for j in range(width):
            pull = ridge[j] * (gram[j][j] + 1e-12)
            gram[j][j] += pull
            right[j] += pull * goal[j]
        before = list(found)
        _descend(gram, right, found, least=1e-4 * level)
        if max(abs(a - b) for a, b in zip(before, found, strict=True)) < 0.005 * max(found, default=0.0):
            break
    return [value / scale for value, scale in zip(found, scales, strict=True)]


def _weigh(
    rows: Sequence[Sequence[float]], targets: Sequence[float], found: Sequence[float], *, quantile: float, least: float
) -> tuple[list[list[float]], list[float]]:
    """Return the normal equations in which a row weighs pinball slope / residual."""
    width = len(found)
    gram = [[0.0] * width for _ in range(width)]
    right = [0.0] * width
    for row, target in zip(rows, targets, strict=True):
        residual = target - sum(a * b for a, b in zip(row, found, strict=True))
        weight = (quantile if residual > 0 else 1 - quantile) / max(abs(residual), least)
        for j, value in enumerate(row):
            if value:
                part = weight * value
                right[j] += part * target
                line = gram[j]
                for k in range(width):
                    line[k] += part * row[k]
    return gram, right


def _descend(gram: list[list[float]], right: list[float], found: list[float], *, least: float) -> None:
    """Minimise the quadratic over found >= 0, in place."""
    width = len(found)
    for _ in range(_SWEEPS):
        moved = 0.0
        for j in range(width):
            line = gram[j]
            if line[j] <= 0:
                continue
            step = (right[j] - sum(line[k] * found[k] for k in range(width))) / line[j]
            value = max(0.0, found[j] + step)
            moved = max(moved, abs(value - found[j]))
            found[j] = value
        if moved < least:
            return


def fit_line(groups: Mapping[float, Sequence[float]]) -> tuple[float, float] | None:
    """Fit value = a + b * n through the medians of the groups, with a, b >= 0.

    The slope is the weighted median of the slopes between all pairs of groups (Theil and Sen), pairs that lie far
    apart and hold many values weighing more; outliers inside a group vanish in its median.

    Args:
        groups: n to the values measured there.

    Returns:
        (a, b), or None where fewer than two n were seen.
    """
    points = [(n, median(values), len(values)) for n, values in groups.items() if values]
    slopes = []
    for index, (n, value, count) in enumerate(points):
        for other, other_value, other_count in points[index + 1 :]:
            weight = abs(other - n) * min(count, other_count)
            slopes.append(((other_value - value) / (other - n), weight))
    if not slopes:
        return None
    b = max(0.0, _weighted_median(slopes))
    a = _weighted_median([(value - b * n, float(count)) for n, value, count in points])
    return max(0.0, a), b


def _weighted_median(pairs: list[tuple[float, float]]) -> float:
    pairs.sort()
    half = sum(weight for _, weight in pairs) / 2
    for value, weight in pairs:
        half -= weight
        if half <= 0:
            return value
    return pairs[-1][0]
