"""The next size of a batch: the least of what memory, time and the settings allow. Pure.

Covers the choice alone, over plain numbers. Calls in flight are `memflow.sizing.concurrency`'s; where the numbers come
from, `memflow.sizing.cost` and `memflow.sizing.timing`; who acts on it, `memflow.sizing.call`.

Rules: at most doubled at once; never grown by a batch that was not at least half full, nor near the limit; a change
of less than a tenth isn't made. Memory shrinks a batch at once, `max_batch_s` what is far beyond it, the knee never: a
batch that is larger than its knee costs nothing but memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from memflow.sizing.decisions import Reason

__all__ = ["SizeBounds", "SizeChoice", "SizeView", "items_that_fit", "next_batch_size"]

GROWTH = 2.0
_DEAD_BAND = 0.1
_FAR_BEYOND = 2.0
_PRESSURE_STEP = 0.75


@dataclass(frozen=True, slots=True)
class SizeBounds:
    """What the settings allow."""

    least: int = 1
    """Fewest items of a batch."""
    most: int | None = None
    """Most items of a batch; None for no bound."""


@dataclass(frozen=True, slots=True)
class SizeView:
    """What is known when a size is chosen."""

    current: int
    """Items of a batch until now."""
    memory_items: float | None
    """Most items a batch that memory allows; None where nothing was learnt."""
    knee_items: float | None
    """Size at which the fixed cost no longer matters; inf where items are free, None where unknown."""
    time_items: float | None
    """Most items that end within `max_batch_s`; None where unknown."""
    full: bool = True
    """The last batch was at least half full."""
    hold: Reason | None = None
    """Why it must not grow now; None where it may."""
    climbing: bool = False
    """Use is over the watermark from which sizes shrink, and still rising."""


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """A size and what decided it."""

    items: int
    """Items of the next batch."""
    reason: Reason
    """What decided."""


def next_batch_size(view: SizeView, bounds: SizeBounds) -> SizeChoice:
    """Choose the items of the next batch.

    Args:
        view: What is known now.
        bounds: What the settings allow; never crossed.
    """
    if view.current < bounds.least:
        return SizeChoice(bounds.least, Reason.BOUND)
    most = float(bounds.most) if bounds.most is not None else inf
    ceiling = min(_shrink_target(view), (most, Reason.BOUND), key=lambda each: each[0])
    if ceiling[0] < view.current:
        return _shrink(view, ceiling, bounds)
    target = min(_growth_target(view), (most, Reason.BOUND), key=lambda each: each[0])
    return _grow(view, target, bounds)


def items_that_fit(*, room_bytes: float, calls: float, bytes_per_item: float, bytes_per_call: float = 0.0) -> float:
    """Return the items a batch that fit into some room when so many calls are in flight; 0 where none does.

    Args:
        room_bytes: What all calls together may take.
        calls: Calls in flight.
        bytes_per_item: Learnt bytes of an item.
        bytes_per_call: Learnt bytes of a call whatever its items.
    """
    room = room_bytes / calls - bytes_per_call
    if room <= 0:
        return 0.0
    return room / bytes_per_item if bytes_per_item > 0 else inf


def _shrink_target(view: SizeView) -> tuple[float, Reason]:
    """Return the size that must not be exceeded, and why."""
    targets: list[tuple[float, Reason]] = [(inf, Reason.STEADY)]
    if view.memory_items is not None:
        targets.append((view.memory_items, Reason.MEMORY))
    if view.climbing:
        targets.append((view.current * _PRESSURE_STEP, Reason.PRESSURE))
    if view.time_items is not None and view.current > _FAR_BEYOND * view.time_items:
        targets.append((view.time_items, Reason.TIME))
    return min(targets, key=lambda each: each[0])


def _growth_target(view: SizeView) -> tuple[float, Reason]:
    """Return the size that may be grown to, and what ends growth there."""
    targets = [(view.current * GROWTH, Reason.GROWTH_CAP)]
    for items, reason in (
        (view.memory_items, Reason.MEMORY),
        (view.time_items, Reason.TIME),
        (view.knee_items, Reason.KNEE),
    ):
        if items is not None:
            targets.append((items, reason))
    return min(targets, key=lambda each: each[0])


def _shrink(view: SizeView, ceiling: tuple[float, Reason], bounds: SizeBounds) -> SizeChoice:
    items = max(bounds.least, int(ceiling[0]))
    if items >= view.current * (1 - _DEAD_BAND) and ceiling[1] is not Reason.BOUND:
        return SizeChoice(view.current, Reason.STEADY)
    return SizeChoice(items, ceiling[1] if items < view.current else Reason.BOUND)


def _grow(view: SizeView, target: tuple[float, Reason], bounds: SizeBounds) -> SizeChoice:
    items = max(bounds.least, int(target[0]))
    if items <= view.current:
        return SizeChoice(view.current, target[1])
    if not view.full:
        return SizeChoice(view.current, Reason.NOT_FULL)
    if view.hold is not None:
        return SizeChoice(view.current, view.hold)
    if items < view.current * (1 + _DEAD_BAND):
        return SizeChoice(view.current, target[1])
    return SizeChoice(items, target[1])
