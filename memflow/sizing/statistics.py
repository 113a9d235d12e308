"""What was learnt, as values and as advice. Pure.

Covers `BatchOptimizer.batch_statistics()`. Every recommendation carries the numbers it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from memflow.sizing.cost import MemoryCost
from memflow.sizing.decisions import Reason
from memflow.sizing.operation import Kind, Operation
from memflow.units import format_bytes

__all__ = ["BatchStatistics", "OperationStatistics", "describe"]

_HELD_BATCHES = 5
_WASTED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class OperationStatistics:
    """What is known about one operation."""

    operation: str
    """Its name."""
    kind: Kind
    """"items" for functions of one item, "batches" for functions of a list."""
    batches_done: int
    """Batches (or groups of items) finished."""
    items_done: int
    """Items finished."""
    batch_size: int | None
    """Items of a batch now; None for item functions and before the first call."""
    concurrency: int | None
    """Calls in flight now; None before the first call."""
    reached_after_batches: int
    """Batches that were finished when the batch size changed last."""
    items_per_s: float | None
    """Items a second when another concurrency last paid; None until one did."""
    bytes_per_item: float | None
    """Learnt bytes of an item; None until something was learnt."""
    bytes_per_call: float | None
    """Learnt bytes of a call whatever its items; None until something was learnt."""
    fixed_s: float | None
    """Learnt seconds of a batch whatever its items; None until two sizes were seen."""
    item_s: float | None
    """Learnt seconds of one more item; None until two sizes were seen."""
    knee_items: float | None
    """Items from which the fixed time no longer matters; None until two sizes were seen."""


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """What is known about every operation, and what to do with it."""

    operations: tuple[OperationStatistics, ...]
    """One for each operation seen."""
    recommendations: tuple[str, ...]
    """Sentences with numbers in them."""
    profile: tuple[str, ...] = ()
    """What became of cost profiles: what was loaded, what was refused and why."""


def describe(
    operation: Operation,
    cost: MemoryCost | None,
    *,
    batch_size: int | None,
    concurrency: int | None,
    overhead_pct: float,
) -> tuple[OperationStatistics, tuple[str, ...]]:
    """Return an operation's figures and advice.

    Args:
        operation: What is remembered.
        cost: What it takes in memory.
        batch_size: Items of a batch now.
        concurrency: Calls in flight now.
        overhead_pct: Share of a batch's time that its fixed cost should take at most, per cent.
    """
    line = operation.timing.line
    figures = OperationStatistics(
        operation=operation.name,
        kind=operation.kind,
        batches_done=operation.batches,
        items_done=operation.items,
        batch_size=batch_size if operation.kind == "batches" else None,
        concurrency=concurrency,
        reached_after_batches=operation.sized_at,
        items_per_s=operation.rate,
        bytes_per_item=None if cost is None else cost.bytes_per_weight * operation.weight_per_item,
        bytes_per_call=None if cost is None else cost.bytes_per_call,
        fixed_s=line[0] if line is not None else None,
        item_s=line[1] if line is not None else None,
        knee_items=operation.timing.knee_items(overhead_pct),
    )
    return figures, tuple(_recommend(figures, operation, overhead_pct))


def _recommend(figures: OperationStatistics, operation: Operation, overhead_pct: float) -> list[str]:
    held = figures.batches_done - figures.reached_after_batches
    advice = []
    if figures.batch_size is not None and figures.reached_after_batches and held >= _HELD_BATCHES:
        advice.append(
            f"start {figures.operation} with batch_size={figures.batch_size}: it was reached after "
            f"{figures.reached_after_batches} batches and held"
        )
    advice += _advise_concurrency(figures, operation)
    advice += _advise_bound(figures, operation, overhead_pct)
    return advice


def _advise_concurrency(figures: OperationStatistics, operation: Operation) -> list[str]:
    paid = [each for each in operation.decisions if each.what == "concurrency" and each.reason is Reason.PAID]
    if not paid or figures.concurrency is None or paid[-1].after != figures.concurrency:
        return []
    first, last = paid[0], paid[-1]
    return [
        f"start {figures.operation} with concurrency={last.after}: it gave {last.rate or 0:.3g} items/s "
        f"against {first.rate_before or 0:.3g} at {first.before}"
    ]


def _advise_bound(figures: OperationStatistics, operation: Operation, overhead_pct: float) -> list[str]:
    """Say what a larger batch would be worth, where something other than time keeps it small."""
    size, fixed, each, knee = figures.batch_size, figures.fixed_s, figures.item_s, figures.knee_items
    if size is None or fixed is None or each is None or knee is None or not isfinite(knee) or size >= knee:
        return []
    share = fixed / (fixed + each * size) if fixed else 0.0
    if share < max(_WASTED_SHARE, 2 * overhead_pct / 100):
        return []
    last = next((each for each in reversed(operation.decisions) if each.what == "batch_size"), None)
    if last is not None and last.reason is Reason.MEMORY and figures.bytes_per_item is not None:
        need = format_bytes(int(figures.bytes_per_item * (knee - size) * (figures.concurrency or 1)))
        return [
            f"{figures.operation} spends {100 * share:.0f} % of its time on the fixed cost of batches of {size}; "
            f"{knee:.0f} items a batch would need about {need} more memory"
        ]
    if last is None or last.reason is Reason.BOUND:
        return [
            f"let {figures.operation} have batches of {knee:.0f} items: at {size}, {100 * share:.0f} % of its time "
            f"is the fixed cost of a batch ({1000 * fixed:.3g} ms)"
        ]
    return []
