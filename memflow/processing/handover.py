"""A reservation that passes from a batch that has ended to the one that takes its place.

Covers when that may be. Where memory is the bound, each batch that ends makes room for one like it: to give its bytes
back and to ask for as many again is most of what admission costs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from memflow.memory.readings import MemoryReading
from memflow.memory.retained import MAPPED_SHARE
from memflow.memory.state import MemoryState
from memflow.processing.batch import Batch
from memflow.sizing.admission import Admission, Reservation

__all__ = ["Handover"]


class Handover:
    """Keeps at most one reservation, for a batch that needs no more, or only what is spare besides.

    What is promised and what is live stay as they were when a batch was last admitted by the reading that still counts.
    So each reading has to admit one, in the ordinary way, before anything is passed on.

    Args:
        admission: the ledger.
        state: where readings are.
        predict: (batch, reading) -> bytes.

    Attributes:
        kept: what waits for whoever follows at once; None where nothing does.
    """

    __slots__ = ("_admission", "_foretold", "_judged", "_pins", "_predict", "_size", "_state", "_weight", "kept")

    def __init__(
        self, admission: Admission, state: MemoryState, predict: Callable[[Batch, MemoryReading], int]
    ) -> None:
        self._admission = admission
        self._state = state
        self._predict = predict
        self._pins = state.pins
        self.kept: Reservation | None = None
        self._judged: MemoryReading | None = None
        self._foretold: int | None = None
        self._weight, self._size = 0.0, 0

    def admitted(self, reading: MemoryReading) -> None:
        """Take note that a batch was admitted: by this reading, others may follow others."""
        if self._judged is not reading:
            self._judged, self._foretold = reading, None

    def keep(self, reservation: Reservation) -> bool:
        """Keep what a batch has held; False where it should be given back."""
        if self.kept is not None or self._judged is None or self._judged is not self._state.reading:
            return False
        self.kept = reservation
        return True

    def take(self, batch: Batch, waiter: Hashable | None = None, *, now_s: float) -> Reservation | None:
        """Return a reservation that is enough for a batch; None where it has to ask.

        Args:
            batch: Which; one that is to run alone has to ask.
            waiter: Under which name it waits, if it does.
            now_s: Monotonic time, seconds.
        """
        kept, reading = self.kept, self._judged
        if kept is None or reading is None or reading is not self._state.reading or batch.alone or self._pins.holding:
            return None
        foretold = self._foretold
        if foretold is None or batch.weight != self._weight or batch.size != self._size:
            foretold = self._foretold = max(1, self._predict(batch, reading))
            self._weight, self._size = batch.weight, batch.size
        admission = self._admission
        if foretold > kept.bytes and foretold > MAPPED_SHARE * reading.limit_bytes:
            return None  # one large block finds no room in what is spare for others
        if foretold == kept.bytes and not admission.waiters:
            admission.changes += 1
        elif not admission.pass_on(kept, foretold, waiter, now_s=now_s):
            return None
        self.kept = None
        return kept

    def drop(self) -> Reservation | None:
        """Return what is kept, to be given back: nobody follows."""
        kept, self.kept = self.kept, None
        return kept
