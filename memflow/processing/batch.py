"""A batch: items that are admitted, measured and committed together.

Covers the data that workers, consumer and gate share about it; who does what is in `memflow.processing.call`.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["MISSING", "Batch"]

MISSING: Final[Any] = object()
"""Stands where no result is yet; results themselves may be anything, falsy ones too."""
_NONE = iter(range(0))


class Batch:
    """Items on their way.

    Attributes:
        start: position of the first item in the input.
        size: how many items it began with.
        items: the items; each place is cleared when its result is there, so that nothing pins them.
        results: one place for each item, `MISSING` until it is there.
        indices: hands out positions to workers, each once; the shared iterator of the hot path.
        given: how many positions have been put into `indices` so far.
        left: items without a result.
        weight: what the batch weighs: 1 an item, or its size hints in bytes.
        weights: the size hint of each item, where there are hints.
        full: False when the source had fewer items than were wanted.
        failed: items whose place holds a failure.
        started_s: when it was admitted.
        reserved: what admission gave it, or None.
        alone: it may run only with nothing else in flight.
        attempts: how often its items were tried before.
    """

    __slots__ = (
        "alone",
        "attempts",
        "failed",
        "full",
        "given",
        "indices",
        "items",
        "left",
        "reserved",
        "results",
        "size",
        "start",
        "started_s",
        "weight",
        "weights",
    )

    def __init__(self, start: int, items: list[Any], weights: list[float] | None, *, full: bool) -> None:
        self.start = start
        self.size = self.left = len(items)
        self.items = items
        self.results = [MISSING] * self.size
        self.indices = _NONE
        self.given = 0
        self.weights = weights
        self.weight = float(self.size) if weights is None else sum(weights)
        self.full = full
        self.alone = False
        self.attempts = 0
        self.failed = 0
        self.started_s = 0.0
        self.reserved: Any = None

    @property
    def untaken(self) -> int:
        """How many positions no worker has taken yet."""
        # A range's iterator tells what is left of it, which the type of iterators in general does not promise.
        return self.indices.__length_hint__()  # type: ignore[attr-defined, no-any-return]

    def hand_out(self, most: int) -> int:
        """Let workers take up to `most` further positions; returns how many. Only when none is left untaken."""
        first, self.given = self.given, min(self.size, self.given + most)
        self.indices = iter(range(first, self.given))
        return self.given - first

    def split(self, at: int) -> tuple[Batch, Batch]:
        """Part an unstarted batch into its first `at` items and the rest."""
        first, rest = (self.weights[:at], self.weights[at:]) if self.weights is not None else (None, None)
        return (
            Batch(self.start, self.items[:at], first, full=self.full),
            Batch(self.start + at, self.items[at:], rest, full=self.full),
        )
