"""Notes of a call for its flight record: batches, sizes, waits, memory.

Covers what is noted, and when. Where it is written is `memflow.journal.flight`'s, what it means to a reader
`memflow.journal.flight_format`'s. Calls without a file to note in have none of these.
"""

from __future__ import annotations

from collections.abc import Callable

from memflow.journal.flight_format import FlightKind
from memflow.memory.readings import MemoryWindow
from memflow.memory.sampler import Sampler
from memflow.processing.batch import Batch
from memflow.processing.recorder import Recorder

__all__ = ["CallNotes", "MemoryNotes"]


class CallNotes:
    """What happens in a call.

    Args:
        recorder: takes the notes.
        place: gives the position in the input of the n-th item that was taken.
    """

    def __init__(self, recorder: Recorder, place: Callable[[int], int]) -> None:
        self._note = recorder.note
        self._place = place
        self._sizes = (0, 0)

    def started(self, batch: Batch) -> None:
        """Note that a batch was admitted."""
        place, start = self._place, batch.start
        self._note(FlightKind.BATCH_STARTED, place(start), place(start + batch.size - 1), batch.weight)

    def ended(self, batch: Batch, seconds: float) -> None:
        """Note that all of a batch has its results."""
        self._note(FlightKind.BATCH_ENDED, batch.size, seconds, batch.weight, self._place(batch.start))

    def sized(self, batch_size: int, concurrency: int) -> None:
        """Note sizes, where they changed."""
        sizes = (batch_size, concurrency)
        if sizes != self._sizes:
            self._sizes = sizes
            self._note(FlightKind.DECISION, batch_size, concurrency)

    def waited(self, batch: Batch | None, seconds: float) -> None:
        """Note that a wait for memory has ended, with a batch where it was admitted."""
        reserved = batch.reserved if batch is not None else None
        self._note(FlightKind.WAIT, seconds, reserved.bytes if reserved is not None else 0)
        if batch is not None and batch.alone:
            self._note(FlightKind.ALONE, self._place(batch.start))

    def ran_short(self, ordinal: int) -> None:
        """Note that an item, or the first of a batch, found no memory."""
        self._note(FlightKind.MEMORY_ERROR, self._place(ordinal))


class MemoryNotes:
    """How memory stands, and what was done about it.

    Args:
        recorder: takes the notes.
        sampler: knows the level, and what was reclaimed.
    """

    def __init__(self, recorder: Recorder, sampler: Sampler) -> None:
        self._recorder = recorder
        self._sampler = sampler
        self._level = sampler.state.level
        self._reclaimed = self._now_reclaimed

    @property
    def _now_reclaimed(self) -> tuple[int, int, float]:
        return self._sampler.reclaims, self._sampler.reclaimed_bytes, self._sampler.reclaim_s

    def take(self, window: MemoryWindow) -> None:
        """Note a reading, and what changed since the one before; the state calls this with each."""
        level, reading, recorder = self._sampler.state.level, window.reading, self._recorder
        if level is not self._level:
            recorder.note(FlightKind.LEVEL, self._level, level)
            self._level = level
        if self._sampler.reclaims != self._reclaimed[0]:
            before, self._reclaimed = self._reclaimed, self._now_reclaimed
            recorder.note(FlightKind.RECLAIM, self._reclaimed[1] - before[1], self._reclaimed[2] - before[2])
        recorder.reading(reading.in_use_bytes, reading.rss_bytes, reading.limit_bytes, level)
