"""Choices as decisions: what `explain()` will say about them. Pure.

Covers putting the figures at hand into `decisions.Decision`; choosing is done before.
"""

from __future__ import annotations

from memflow.sizing.concurrency import ConcurrencyChange
from memflow.sizing.decisions import Decision, Reason
from memflow.sizing.operation import Operation
from memflow.sizing.outlook import Outlook, bytes_per_item
from memflow.sizing.policy import SizeView

__all__ = ["calls_decision", "size_decision"]


def size_decision(
    outlook: Outlook,
    operation: Operation,
    before: int,
    after: int,
    reason: Reason,
    view: SizeView | None,
    now_s: float,
) -> Decision:
    """Return the decision about the items of a batch that was made on this view; None where memory ran short."""
    return Decision(
        operation=operation.name,
        time_s=now_s,
        what="batch_size",
        before=before,
        after=after,
        reason=reason,
        memory_allows=view.memory_items if view is not None else None,
        knee=view.knee_items if view is not None else None,
        time_allows=view.time_items if view is not None else None,
        bytes_per_item=bytes_per_item(outlook, operation),
    )


def calls_decision(
    outlook: Outlook, operation: Operation, change: ConcurrencyChange, allowed: float, now_s: float
) -> Decision:
    """Return the decision about calls in flight, of which memory allows so many."""
    return Decision(
        operation=operation.name,
        time_s=now_s,
        what="concurrency",
        before=change.before,
        after=change.after,
        reason=change.reason,
        memory_allows=allowed,
        bytes_per_item=bytes_per_item(outlook, operation),
        rate_before=change.rate_before,
        rate=change.rate,
    )
