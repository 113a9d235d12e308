"""A reservation that passes from a batch that has ended to the one that takes its place.

Covers when that may be. Where memory is the bound, each batch that ends makes room for one like it: to give its bytes
back and to ask for as many again is most of what admission costs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from memflow.memory.readings import MemoryReading
from memflow.memory.state import MemoryState
from memflow.processing.batch import Batch
from memflow.sizing.admission import Admission, Reservation

__all__ = ["Handover"]


class Handover:
    """Keeps at most one reservation, for a batch that needs no more.

    What is promised and what is live stay as they were when a batch was last admitted by the reading that still counts.
    So each reading has to admit one, in the ordinary way, before anything is passed on.

    Args:
        admission: the ledger.
        state: where readings are.
        predict: (batch, reading) -> bytes.
    """

    __slots__ = ("_admission", "_foretold", "_judged", "_kept", "_predict", "_state")

    def __init__(
        self, admission: Admission, state: MemoryState, predict: Callable[[Batch, MemoryReading], int]
    ) -> None:
        self._admission = admission
        self._state = state
        self._predict = predict
        self._kept: Reservation | None = None
        self._judged: MemoryReading | None = None
        self._foretold: tuple[MemoryReading, float, int, int] | None = None

    def admitted(self, reading: MemoryReading, *, crowded: bool) -> None:
        """Take note that a batch was admitted: while it is crowded, others may follow others by this reading."""
        self._judged = reading if crowded else None

    def keep(self, reservation: Reservation) -> bool:
        """Keep what a batch has held; False where it should be given back."""
        if self._kept is not None or self._judged is None or self._judged is not self._state.reading:
            return False
        self._kept = reservation
        return True

    def take(self, batch: Batch, waiter: Hashable | None = None) -> Reservation | None:
        """Return a reservation that is enough for a batch; None where it has to ask.

        Args:
            batch: Which; one that is to run alone has to ask.
            waiter: Under which name it waits, if it does.
        """
        kept, reading = self._kept, self._state.reading
        if (
            kept is None
            or reading is None
            or self._judged is not reading
            or batch.alone
            or self._state.pins.holding
            or self._admission.waits_besides(waiter)
        ):
            return None
        foretold = self._foretold
        if foretold is None or foretold[:3] != (reading, batch.weight, batch.size):
            foretold = self._foretold = (reading, batch.weight, batch.size, max(1, self._predict(batch, reading)))
        if foretold[3] > kept.bytes:
            return None
        self._kept = None
        self._admission.passed_on(kept, foretold[3], waiter)
        return kept

    def drop(self) -> Reservation | None:
        """Return what is kept, to be given back: nobody follows."""
        kept, self._kept = self._kept, None
        return kept
