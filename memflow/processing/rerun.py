"""Running again what was cut short by memory: alone after a `MemoryError`, or in its turn after a preemption.

Covers waiting for admission once more, running, and halving batches that are too large even alone. Whether an error
asks for it is decided in `memflow.processing.call`; cancelling in `memflow.processing.preemption`.

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

__all__ = ["AGAIN", "ALONE", "Check", "Preempted", "is_want_of_memory", "rerun_batch", "rerun_item"]

AGAIN: Any = object()
"""Stands for the result of an item that is to be run again."""
ALONE: Any = object()
"""The same, with nothing else in flight."""

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
        again = _piece(batch, position, 1, [item], alone=how is ALONE or attempts > _MOST_PREEMPTIONS)
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
            alone += again.alone
            final = alone == _MOST_ALONE or attempts >= _MOST_RUNS
            how = call.failed(batch, position, error, final=final, attempts=attempts)
            if how is not AGAIN and how is not ALONE:
                return how
        finally:
            call.gate_leave(again)


async def rerun_batch(call: Call, batch: Batch, how: Any, check: Check) -> bool:
    """Run a batch again, in halves where it fails alone too; False when the call is over."""
    call.gate_leave(batch)
    pieces = [_piece(batch, 0, batch.size, batch.items, alone=how is ALONE)]
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
                pieces += _halves(batch, piece)
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
            for position in range(at, at + piece.size):
                verdict = call.failed(batch, position, error, final=small or gave_up, attempts=2, size=piece.size)
                if verdict is None:
                    return False
                if verdict is AGAIN or verdict is ALONE:
                    break
                batch.results[position] = verdict
        finally:
            call.gate_leave(piece)
        if verdict is ALONE and piece.alone:
            pieces += _halves(batch, piece)
        elif verdict is ALONE or verdict is AGAIN:
            preempted += verdict is AGAIN
            piece.alone = verdict is ALONE or preempted >= _MOST_PREEMPTIONS
            pieces.append(piece)
        how = ALONE if pieces and pieces[-1].alone else AGAIN
    return True


def _piece(batch: Batch, at: int, size: int, items: list[Any], *, alone: bool) -> Batch:
    weights = batch.weights[at : at + size] if batch.weights is not None else None
    piece = Batch(batch.start + at, items, weights, full=False)
    piece.alone = alone
    return piece


def _halves(batch: Batch, piece: Batch) -> list[Batch]:
    """Return both halves, the first one last, so that it is popped first."""
    at, middle = piece.start - batch.start, piece.size // 2
    return [
        _piece(batch, at + middle, piece.size - middle, piece.items[middle:], alone=piece.alone),
        _piece(batch, at, middle, piece.items[:middle], alone=piece.alone),
    ]


async def _admitted(call: Call, piece: Batch) -> bool:
    """Wait until a piece may run; False when it should be halved first, or the call is over."""
    call.crew.rest()
    try:
        return await call.gate_enter(piece) and not call.ended
    finally:
        call.crew.rise()
