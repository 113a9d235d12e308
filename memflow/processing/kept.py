"""What the results weigh that a call collects for its caller: growth that is nobody's fault, as long as the call runs.

Covers counting it. A result now and then is weighed (`memflow.analysis.weight`), and stands for the others.
"""

from __future__ import annotations

import time
from typing import Any

from memflow.analysis.weight import BLOCK_BYTES, weigh
from memflow.memory.work import OperationLoad
from memflow.processing.batch import Batch

__all__ = ["KeptResults"]

_PLACE_BYTES = 8
_TIME_SHARE = 0.002
"""Of the time, that weighing may take."""
_SMOOTHING = 0.125
"""What the newest result that was weighed counts for."""


class KeptResults:
    """Counts the results of one call.

    Args:
        load: told what they weigh.
    """

    __slots__ = ("_blocks", "_bytes", "_each_blocks", "_each_bytes", "_last", "_load", "_next_s", "_turn")

    def __init__(self, load: OperationLoad) -> None:
        self._load = load
        self._blocks = self._bytes = 0.0
        self._each_blocks = self._each_bytes = 0.0
        self._next_s = float("-inf")
        self._turn = 0
        self._last: list[Any] | None = None

    def finish(self, batch: Batch, now_s: float) -> None:
        """Count a batch that is finished, and its results."""
        if now_s >= self._next_s:
            # Of the batch before: who has just made a result may hold it still, and would share it with the call.
            self._weigh(batch.results if self._last is None else self._last, now_s)
        self._last = results = batch.results
        count = len(results)
        places = count * _PLACE_BYTES
        blocks = count * self._each_blocks + 1  # the head of their list
        size_bytes = count * self._each_bytes
        if places > BLOCK_BYTES:
            size_bytes += places
        else:
            blocks += 1
        self._blocks += blocks
        self._bytes += size_bytes
        self._load.keep(blocks, size_bytes, finished=batch.size)

    def _weigh(self, results: list[Any], now_s: float) -> None:
        began_s = time.perf_counter()
        self._turn += 1
        blocks, size_bytes = weigh(results[self._turn % len(results)])
        share = max(_SMOOTHING, 1 / self._turn)
        self._each_blocks += share * (blocks - self._each_blocks)
        self._each_bytes += share * (size_bytes - self._each_bytes)
        self._next_s = now_s + (time.perf_counter() - began_s) / _TIME_SHARE

    def let_go(self) -> None:
        """Count them no longer: the caller has them."""
        self._last = None
        self._load.keep(-self._blocks, -self._bytes)
        self._blocks = self._bytes = 0.0
