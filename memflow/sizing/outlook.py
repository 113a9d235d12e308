"""What a call's sizer knows about memory, and what follows from it for sizes. Pure.

Covers the interface between `memflow.sizing.call`, which asks, and `memflow.sizing.learning`, which knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

from memflow.sizing.cost import MemoryCost
from memflow.sizing.decisions import Decision
from memflow.sizing.operation import Operation
from memflow.sizing.policy import SizeBounds, items_that_fit

__all__ = ["Outlook", "SizerLimits", "bytes_per_item", "memory_items", "most_calls", "planned_room"]

_EXTRA_PCT = 14.0
_MOST_PCT = 84.0  # short of what admission lets in
_MANY_CALLS = 8


class Outlook(Protocol):
    """What a call's sizer knows about memory."""

    guard_bytes: int
    """Room to keep for what no prediction covers, bytes."""
    base_bytes: int | None
    """What is in use without our work, bytes; None before the first reading."""
    reusable_bytes: int
    """What the allocator holds that was freed and can be handed out again, bytes."""

    def level(self) -> int:
        """Return the level of pressure."""
        ...

    def in_use_bytes(self) -> int:
        """Return what counts against the limit, 0 before the first reading."""
        ...

    def room_bytes(self, operation: str, target_pct: float) -> float | None:
        """Return what an operation may take in all to reach a share of the limit; None before the first reading."""
        ...

    def cost(self, operation: str) -> MemoryCost | None:
        """Return what an operation takes, None where nothing was learnt."""
        ...

    def guesses(self, operation: str) -> bool:
        """True while what an operation takes is what an earlier run says."""
        ...

    def note(self, operation: Operation, decision: Decision) -> None:
        """Keep a decision."""
        ...


@dataclass(frozen=True, slots=True)
class SizerLimits:
    """What the settings allow one call."""

    bounds: SizeBounds
    """Items of a batch."""
    least_concurrency: int
    """Fewest calls in flight."""
    most_concurrency: int
    """Most calls in flight."""
    target_pct: float
    """Share of the limit that batches are sized to fill, per cent."""
    knee_overhead_pct: float
    """Share of a batch's time that its fixed cost may take, per cent."""
    max_batch_s: float
    """Seconds a batch may take."""


def bytes_per_item(outlook: Outlook, operation: Operation) -> float | None:
    """Return the learnt bytes of an item, None where nothing was learnt."""
    cost = outlook.cost(operation.name)
    return None if cost is None else cost.bytes_per_weight * operation.weight_per_item


def memory_items(outlook: Outlook, operation: Operation, limits: SizerLimits, *, calls: int) -> float | None:
    """Return the items a batch that memory allows with so many calls in flight; None where nothing was learnt."""
    cost = outlook.cost(operation.name)
    room = outlook.room_bytes(operation.name, _target_pct(limits, calls))
    if cost is None or room is None:
        return None
    return items_that_fit(
        room_bytes=room,
        calls=calls,
        bytes_per_item=cost.bytes_per_weight * operation.weight_per_item,
        bytes_per_call=cost.bytes_per_call,
    )


def planned_room(outlook: Outlook, operation: Operation, limits: SizerLimits, *, calls: int) -> int:
    """Return the bytes that batches are sized to fill with so many calls in flight; 0 before the first reading."""
    return int(max(0.0, outlook.room_bytes(operation.name, _target_pct(limits, calls)) or 0.0))


def most_calls(outlook: Outlook, operation: Operation, limits: SizerLimits, *, items: int | None = None) -> float:
    """Return the calls in flight that memory allows; inf where nothing was learnt.

    Args:
        outlook: What is known about memory.
        operation: Whose calls.
        limits: What the settings allow.
        items: Items of each; None for the least there may be.
    """
    if items is None:
        items = 1 if operation.kind == "items" else limits.bounds.least
    cost = outlook.cost(operation.name)
    room = outlook.room_bytes(operation.name, _target_pct(limits, _MANY_CALLS))
    if cost is None or room is None:
        return inf
    each = cost.predict_bytes(items * operation.weight_per_item)
    return max(0.0, room) / each if each > 0 else inf


def _target_pct(limits: SizerLimits, calls: int) -> float:
    """Return the share of the limit to fill: many small calls are admitted one by one, so they may come nearer."""
    extra = _EXTRA_PCT * min(1.0, (calls - 1) / (_MANY_CALLS - 1))
    return max(limits.target_pct, min(_MOST_PCT, limits.target_pct + extra))
