"""Recording around the user's function: what is in flight before it, what is finished after it.

Covers functions of entries, which call the user's with items. Which entries there are, and failures, are
`memflow.processing.journaled`'s. Each line here is paid for every item, hence the local names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from memflow.execution.base import AsyncFunction
from memflow.journal.base import NOTHING
from memflow.journal.keys import Key
from memflow.journal.writer import JournalWriter
from memflow.processing.journaled import Entry, JournaledRun
from memflow.processing.leftover import Due
from memflow.processing.plan import Kind

__all__ = ["Check", "name_of", "record"]

Check = Callable[[int, Any], Sequence[Any]]
"""(results due, returned) -> the results; raises if they are not one for each item."""

_CROWDED_S = 0.01


def record(run: JournaledRun, function: AsyncFunction, kind: Kind, check: Check) -> AsyncFunction:
    """Record what a function is at work on, and what it has finished; it takes entries then.

    Args:
        run: the call's journal.
        function: runs an item or a batch.
        kind: which of the two.
        check: judges what a batch function returned.
    """
    return _record_items(run, function) if kind == "items" else _record_batches(run, function, check)


def _record_items(run: JournaledRun, function: AsyncFunction) -> AsyncFunction:
    keep, hands_on, settle, writer = run.plan.keep, run.plan.hands_on, run.settle, run.writer
    finished, start, end = writer.finished, run.recorder.start, run.recorder.end

    async def recorded(entry: Entry) -> Any:
        position, item, key = entry
        slot = start(position, position) if key is None else start(position, position, 0.0, name_of(key))
        try:
            value = await function(item)
        finally:
            end(slot)
        if hands_on:
            settle(1)
            return Due(position, value, key)
        finished((position, value if keep else NOTHING, key))
        settle(1)
        if writer.crowded:
            await _wait_recorded(writer)
        return value

    return recorded


def _record_batches(run: JournaledRun, function: AsyncFunction, check: Check) -> AsyncFunction:
    keep, hands_on, recorder, writer = run.plan.keep, run.plan.hands_on, run.recorder, run.writer
    finished, keyed = writer.finished_all, run.plan.key is not None

    async def recorded(entries: list[Entry]) -> Any:
        slots = [
            recorder.start(first, last, 0.0, "" if key is None else name_of(key))
            for first, last, key in (_each(entries) if keyed else _runs(entries))
        ]
        try:
            values = await function([item for _, item, _ in entries])
        finally:
            for slot in slots:
                recorder.end(slot)
        values = check(len(entries), values)
        if hands_on:
            run.settle(len(entries))
            return [Due(at, value, key) for (at, _, key), value in zip(entries, values, strict=True)]
        first, last = entries[0][0], entries[-1][0]
        results = tuple(values) if keep else None
        if keyed:
            finished([position for position, _, _ in entries], results, [key for _, _, key in entries if key])
        elif last - first < len(entries):
            finished(range(first, last + 1), results)
        else:
            finished([position for position, _, _ in entries], results)
        run.settle(len(entries))
        if writer.crowded:
            await _wait_recorded(writer)
        return values

    return recorded


def _each(entries: Sequence[Entry]) -> list[tuple[int, int, Key | None]]:
    return [(position, position, key) for position, _, key in entries]


def _runs(entries: Sequence[Entry]) -> list[tuple[int, int, Key | None]]:
    """Give the ranges of positions of a batch: what an earlier run finished may lie between two of its items."""
    first, last = entries[0][0], entries[-1][0]
    if last - first < len(entries):
        return [(first, last, None)]
    found: list[tuple[int, int, Key | None]] = []
    for position, _, _ in entries:
        if found and found[-1][1] == position - 1:
            found[-1] = (found[-1][0], position, None)
        else:
            found.append((position, position, None))
    return found


async def _wait_recorded(writer: JournalWriter) -> None:
    """Wait while the disk is slower than the work: what is not recorded yet is held in memory."""
    while writer.crowded and writer.error is None:  # noqa: ASYNC110 - a thread that nobody waits for sets it
        await anyio.sleep(_CROWDED_S)


def name_of(key: Key) -> str:
    """Name a key so that it is found again after a death: its digest, and as much of its text as there is room for."""
    return f"{key[0].hex()} {key[1][:31]}"
