"""Running again: alone after a `MemoryError`, in its turn after a preemption, in halves after a failure.

Covers waiting for admission once more, running, and halving batches: those that are too large even alone, and those
that fail where the user wants to know which of the items do (`isolate_failures`). Whether an error asks for it is
decided in `memflow.processing.call`; cancelling in `memflow.processing.preemption`.

The worker that ran the item keeps it, so that its place, its order and its batch stay as they are: nothing is
delivered twice, and nothing is pulled from the source meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memflow.exceptions import MemoryPressureError
from memflow.processing.batch import Batch

if TYPE_CHECKING:
    from memflow.processing.call import Call

__all__ = ["AGAIN", "ALONE", "HALVED", "RERUNS", "Check", "Preempted", "is_want_of_memory", "rerun_batch", "rerun_item"]

AGAIN: Any = object()
"""Stands for the result of an item that is to be run again."""
ALONE: Any = object()
"""The same, with nothing else in flight."""
HALVED: Any = object()
"""The same, in halves."""
RERUNS: frozenset[Any] = frozenset((AGAIN, ALONE, HALVED))

_MOST_PREEMPTIONS = 3
_MOST_RUNS = 6
_MOST_ALONE = 2  # what the first of them broke up may be what the second finds room in

Check = Callable[[str, int, Any], Any]
"""(operation, results due, returned) -> the results; raises if they are not one for each item."""


class Preempted(Exception):
    """The function was cancelled since memory ran short. Never reaches a user."""


def is_want_of_memory(error: Exception) -> bool:
    """True for a `MemoryError`, and where a thread could not start: its stack found no room in address space."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


async def rerun_item(call: Call, batch: Batch, position: int, how: Any) -> Any:
    """Run an item again; returns what `Call.failed` would: a result, what stands in its place, or None at the end."""
    attempts, alone = 1, 0
    item = batch.items[position]
    call.gate_leave(batch)
    while True:
        attempts += 1
        meant_alone = how is ALONE or attempts > _MOST_PREEMPTIONS
        again = _piece(batch, position, 1, [item], alone=meant_alone)
        if how is ALONE:
            call.totals.items_rerun += 1
        try:
            if not await _admitted(call, again):
                return None
            return await call.function(item)
        except MemoryPressureError as error:
            if not call.plan.collect:
                call.fail(error)
                return None
            return call.failed(batch, position, error, final=True, attempts=attempts - 1)
        except Exception as error:
            alone += meant_alone  # also where the others did not end in time
            final = alone == _MOST_ALONE or attempts >= _MOST_RUNS
            how = call.failed(batch, position, error, final=final, attempts=attempts)
            if how is not AGAIN and how is not ALONE:
                return how
        finally:
            call.gate_leave(again)


async def rerun_batch(call: Call, batch: Batch, how: Any, check: Check) -> bool:
    """Run a batch again, in halves where it fails alone too, or its failures are isolated; False when the call is over.

    A half that succeeds is not run again.
    """
    was_alone = call.is_alone
    call.gate_leave(batch)
    batch.attempts = 1
    pieces = [_piece(batch, 0, batch.size, batch.items, alone=how is ALONE)]
    if batch.size > 1 and (how is HALVED or (was_alone and how is ALONE)):
        pieces = _halves(batch, pieces[0])
    preempted = 0
    while pieces:
        piece = pieces.pop()
        at = piece.start - batch.start
        if how is ALONE:
            call.totals.items_rerun += piece.size
        verdict: Any = None
        try:
            if not await _admitted(call, piece):
                if call.ended:
                    return False
                pieces += _halves(batch, piece, call.items_that_fit(piece))
                continue
            call.load.start(piece.weight)
            try:
                results = check(call.plan.operation, piece.size, await call.function(piece.items))
            finally:
                call.load.stop(piece.weight)
            batch.results[at : at + piece.size] = results
            continue
        except Exception as error:
            small = piece.alone and piece.size == 1
            gave_up = isinstance(error, MemoryPressureError)
            if gave_up and not call.plan.collect:
                call.fail(error)
                return False
            piece.attempts += not gave_up
            for position in range(at, at + piece.size):
                verdict = call.failed(
                    batch, position, error, final=small or gave_up, attempts=piece.attempts, size=piece.size
                )
                if verdict is None:
                    return False
                if verdict in RERUNS:
                    break
                batch.results[position] = verdict
        finally:
            call.gate_leave(piece)
        if verdict is HALVED or (verdict is ALONE and piece.alone):
            pieces += _halves(batch, piece)
        elif verdict in RERUNS:
            preempted += verdict is AGAIN
            piece.alone = verdict is ALONE or preempted >= _MOST_PREEMPTIONS
            pieces.append(piece)
        how = ALONE if pieces and pieces[-1].alone else AGAIN
    return True


def _piece(batch: Batch, at: int, size: int, items: list[Any], *, alone: bool, attempts: int | None = None) -> Batch:
    weights = batch.weights[at : at + size] if batch.weights is not None else None
    piece = Batch(batch.start + at, items, weights, full=False)
    piece.alone = alone
    piece.attempts = batch.attempts if attempts is None else attempts
    return piece


def _halves(batch: Batch, piece: Batch, most: int | None = None) -> list[Batch]:
    """Return both halves (or the first `most` items and the rest), the first one last, so that it is popped first."""
    at, middle = piece.start - batch.start, min(most or piece.size, piece.size // 2)
    return [
        _piece(batch, at + start, end - start, piece.items[start:end], alone=piece.alone, attempts=piece.attempts)
        for start, end in ((middle, piece.size), (0, middle))
    ]


async def _admitted(call: Call, piece: Batch) -> bool:
    """Wait until a piece may run; False when it should be halved first, or the call is over."""
    call.crew.rest()
    try:
        return await call.gate_enter(piece) and not call.ended
    finally:
        call.crew.rise()
