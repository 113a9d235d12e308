"""What is in flight, by operation: the other half of what a memory reading means.

Covers counters only. Reserved bytes are `memflow.sizing.admission`'s.
"""

from __future__ import annotations

from threading import Lock

__all__ = ["OperationLoad", "WorkLedger"]


class OperationLoad:
    """Counters of one operation. Changes are made whole, from any thread.

    Attributes:
        name: the operation.
        items_done: items finished.
        weight: what is in flight, weighed.
        started: how many pieces of work are in flight; a piece may weigh nothing.
        kept_blocks: blocks of CPython's allocator that results take which running calls collect for their callers.
        kept_bytes: what these take beside that, in bytes.
    """

    __slots__ = ("_lock", "_peak_weight", "items_done", "kept_blocks", "kept_bytes", "name", "started", "weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.items_done = 0
        self.started = 0
        self.weight = 0.0
        self.kept_blocks = 0.0
        self.kept_bytes = 0.0
        self._peak_weight = 0.0
        self._lock = Lock()

    def start(self, weight: float) -> None:
        """Count work that begins; its weight is 1 an item, or the items' size hints in bytes."""
        with self._lock:
            self.started += 1
            self.weight += weight
            if self.weight > self._peak_weight:
                self._peak_weight = self.weight

    def stop(self, weight: float) -> None:
        """Count work that has ended, finished or not."""
        with self._lock:
            self.started -= 1
            # The residue of float sums must not look like work in flight, however large the weights were.
            self.weight = max(0.0, self.weight - weight) if self.started else 0.0

    def finish(self, items: int) -> None:
        """Count items that are finished."""
        with self._lock:
            self.items_done += items

    def keep(self, blocks: float, size_bytes: float, *, finished: int = 0) -> None:
        """Count results that a call keeps until it ends; less than 0 for those that it keeps no longer.

        Args:
            blocks: Blocks of CPython's allocator.
            size_bytes: Bytes beside these.
            finished: Items that are finished with them.
        """
        with self._lock:
            self.items_done += finished
            self.kept_blocks += blocks
            self.kept_bytes += size_bytes

    def cut(self) -> float:
        """Return the largest weight in flight since the last cut, and begin anew."""
        with self._lock:
            peak, self._peak_weight = self._peak_weight, self.weight
        return peak


class WorkLedger:
    """All operations that one memory state watches.

    Example:
        >>> ledger = WorkLedger()
        >>> ledger.load("embed").start(10)
        >>> ledger.load("embed").stop(10)
        >>> ledger.cut(), ledger.drained
        ({'embed': 10.0}, True)
    """

    __slots__ = ("_loads", "_lock")

    def __init__(self) -> None:
        self._loads: dict[str, OperationLoad] = {}
        self._lock = Lock()

    def load(self, operation: str) -> OperationLoad:
        """Return the counters of an operation, made on first use."""
        with self._lock:
            found = self._loads.get(operation)
            if found is None:
                found = self._loads[operation] = OperationLoad(operation)
            return found

    def cut(self) -> dict[str, float]:
        """Return the largest weight in flight of each operation since the last cut (operations at rest left out)."""
        return {load.name: peak for load in tuple(self._loads.values()) if (peak := load.cut()) > 0}

    def items_done(self) -> dict[str, int]:
        """Return how many items of each operation are finished."""
        return {load.name: load.items_done for load in tuple(self._loads.values())}

    def kept(self) -> tuple[float, float]:
        """Return the blocks, and the bytes beside them, of the results that running calls keep for their callers."""
        loads = tuple(self._loads.values())
        return sum(load.kept_blocks for load in loads), sum(load.kept_bytes for load in loads)

    @property
    def drained(self) -> bool:
        """True when nothing is in flight."""
        return all(load.started == 0 for load in tuple(self._loads.values()))
