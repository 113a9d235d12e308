"""What one call is to do, settled before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from memflow.processing.hints import SizeHint

__all__ = ["CallPlan", "Kind"]

Kind = Literal["items", "batches"]


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

    @property
    def weighs_workers(self) -> bool:
        """True where the work in flight is the number of busy workers: unhinted item functions.

        Else each batch, or each hinted item, is counted by itself (`workers.track_weights`).
        """
        return self.kind == "items" and self.hint is None
