"""What an earlier run left: items that are not run again, and those that were in flight when it died.

Covers the values. Which item is which is found out in `memflow.processing.journaled`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from memflow.journal.base import FailureRecord
from memflow.journal.keys import Key
from memflow.processing.outcome import ItemFailure

__all__ = ["Aside", "Due", "Suspicion", "failure_of"]


class Due(NamedTuple):
    """A result on its way to a consumer; its item counts as finished once the next one is asked for."""

    position: int
    value: Any
    key: Key | None


@dataclass(slots=True)
class Aside:
    """Items that are not run again, between two that are."""

    ordinal: int
    """How many items to run come before them."""
    first: int
    """Position of the first."""
    size: int
    """How many there are."""
    digests: bytearray
    """Digests of their keys side by side, where those tell where their results are."""
    failure: ItemFailure | None
    """What stands in the place of one that failed."""


@dataclass(slots=True)
class Suspicion:
    """Items that were in flight when a run died, by position or digest, and at how many deaths."""

    deaths: dict[int | bytes, int] = field(default_factory=dict)
    max_deaths: int = 3

    def is_poison(self, which: int | bytes) -> bool:
        """True for an item that is not run any more."""
        return self.deaths.get(which, 0) >= self.max_deaths


def failure_of(record: FailureRecord, position: int) -> ItemFailure:
    """Return what stands in the place of an item that has failed in an earlier run."""
    return ItemFailure(position, record.error_type, record.message, record.attempts, record.kind)
