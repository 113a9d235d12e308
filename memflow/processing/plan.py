"""What one call is to do, settled before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from memflow.journal.base import Journal
from memflow.processing.hints import SizeHint

__all__ = ["CallPlan", "JournalPlan", "Kind"]

Kind = Literal["items", "batches"]


@dataclass(frozen=True, slots=True)
class JournalPlan:
    """What the user asked of the journal."""

    journal: Journal
    """Where what is finished is recorded."""
    key: Callable[[Any], Any] | None
    """Tells items apart; None: their positions do."""
    keep: bool
    """Record results, and deliver them again when the run is resumed."""
    fills: bool
    """Results make one list, and a placeholder stands for one that was not kept."""
    hands_on: bool
    """An item counts as finished when its consumer asks for the next result, not when its function returns."""
    fingerprint: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """What the caller knows of the input, beside what the items tell."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The fixed part of a call."""

    operation: str
    """The name under which costs are learnt."""
    kind: Kind
    """"items" for a function of one item, "batches" for one of a list."""
    hint: SizeHint | None
    """Size of an item in bytes, or None where nothing is known."""
    ordered: bool
    """Deliver in input order; otherwise as completed."""
    keep: bool
    """Keep all results for one list, instead of delivering them one by one."""
    collect: bool
    """Put an `ItemFailure` in a failed item's place and go on."""
    preemptible: bool
    """The function may be cancelled and run again when memory runs out."""
    rerun: bool
    """Run once more, alone, what failed with `MemoryError`."""
    delay_s: float
    """Seconds that a worker rests after each batch."""
    journal: JournalPlan | None = None
    """What is to be recorded of it."""
    isolate: bool = False
    """Halve a batch that fails, down to the items that do."""

    @property
    def weighs_workers(self) -> bool:
        """True where the work in flight is the number of busy workers: unhinted item functions.

        Else each batch, or each hinted item, is counted by itself (`workers.track_weights`).
        """
        return self.kind == "items" and self.hint is None
