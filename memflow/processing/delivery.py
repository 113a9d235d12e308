"""Results between the workers and the consumer.

Covers where results wait, in which order they go out, how far work may run ahead, and waking the consumer. Iterating
is `memflow.processing.stream`'s.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import Any

import anyio

from memflow.processing.batch import Batch

__all__ = ["AMPLE", "Delivery"]

AMPLE = 1 << 30
"""Room where results are kept for one list: more than anybody asks for."""
_SLACK = 16


class Delivery:
    """Where results wait until they are taken.

    Args:
        ordered: results go out in input order.
        keep: results are kept for one list; there is no consumer to wait for.

    Attributes:
        ready: finished results, as they come (unordered).
        line: admitted batches in input order (ordered).
        handed: items handed to workers so far.
        delivered: results that the consumer has taken.
        awaited: set when there may be something for the consumer; None when nobody waits.
    """

    __slots__ = ("_keep", "_kept", "_ordered", "awaited", "delivered", "handed", "line", "ready")

    def __init__(self, *, ordered: bool, keep: bool) -> None:
        self._ordered = ordered
        self._keep = keep
        self._kept: list[list[Any]] = []
        self.ready: deque[Any] = deque()
        self.line: deque[Batch] = deque()
        self.handed = 0
        self.delivered = 0
        self.awaited: anyio.Event | None = None

    def expect(self, batch: Batch) -> None:
        """Make a place for the results of a batch that was admitted."""
        if self._keep:
            self._kept.append(batch.results)
        elif self._ordered:
            self.line.append(batch)

    def room(self, in_flight: int) -> int:
        """Tell how many more items may be handed to workers before the consumer takes some.

        Args:
            in_flight: the most items that may be in flight at present.
        """
        return AMPLE if self._keep else 2 * in_flight + _SLACK - (self.handed - self.delivered)

    def tell(self) -> None:
        """Wake the consumer; once for a burst, since it takes all there is."""
        if self.awaited is not None:
            self.awaited.set()
            self.awaited = None

    async def wait_result(self) -> None:
        """Wait until there may be a result, or the end."""
        if self.awaited is None:
            self.awaited = anyio.Event()
        await self.awaited.wait()

    def take_results(self) -> list[Any]:
        """Hand out what was kept, in input order, and keep it no longer.

        A call is a cycle of objects: what it went on holding would live until the next collection.
        """
        kept, self._kept = self._kept, []
        return list(chain.from_iterable(kept))

    def clear(self) -> None:
        """Forget what was not taken."""
        self.ready.clear()
        self.line.clear()
