"""Why a batch may not start: what admission answers in place of a reservation. Pure.

Covers the values alone. Who answers is `memflow.sizing.admission`, who acts on it `memflow.processing.gate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Refusal", "RefusalReason"]


class RefusalReason(Enum):
    """Why a batch may not start."""

    BUDGET = "budget"
    """No room now; there may be later."""
    QUEUED = "queued"
    """Another one has waited long for its turn, and would wait for ever if smaller ones went ahead of it."""
    TOO_LARGE = "too large"
    """It needs more than the whole limit, so waiting does not help."""
    ALONE = "alone"
    """It asked to be alone and isn't yet, or somebody else is."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A batch may not start now. Nothing has changed by asking."""

    requested_bytes: int
    """What was asked for, in bytes."""
    reserved_bytes: int
    """What is promised to others, in bytes."""
    in_use_bytes: int
    """What counted against the limit at the last reading, in bytes."""
    limit_bytes: int
    """The effective limit, in bytes."""
    reason: RefusalReason
    """Why."""

    @property
    def hopeless(self) -> bool:
        """True when waiting can't help."""
        return self.reason is RefusalReason.TOO_LARGE
