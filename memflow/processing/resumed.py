"""Results of a run that was resumed: kept ones in their places among new ones.

Covers the list of `process` and the iterator of `stream`. New results come from the call, kept ones from the journal,
read a thousand at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread

from memflow.exceptions import JournalCorruptError
from memflow.journal.base import NOTHING
from memflow.journal.keys import DIGEST_BYTES
from memflow.processing.batch import MISSING
from memflow.processing.journaled import JournaledRun
from memflow.processing.leftover import Aside, Due
from memflow.processing.outcome import FINISHED_EARLIER
from memflow.processing.stream import ResultStream

__all__ = ["ResumedStream", "merge_kept"]

_AT_ONCE = 1_000


def merge_kept(run: JournaledRun, new: list[Any]) -> list[Any]:
    """Return all results in input order; reads the journal, and so belongs into a thread."""
    if not run.asides:
        return new
    merged: list[Any] = []
    at = 0
    for aside in run.asides:
        merged += new[at : aside.ordinal]
        at = aside.ordinal
        for part in _parts(aside):
            merged += _kept(run, part)
    run.asides.clear()
    return merged + new[at:]


def _parts(aside: Aside) -> Iterator[Aside]:
    """Cut what lies between two new results into what is read at once."""
    for at in range(0, aside.size, _AT_ONCE):
        size = min(_AT_ONCE, aside.size - at)
        digests = aside.digests[at * DIGEST_BYTES : (at + size) * DIGEST_BYTES]
        yield Aside(aside.ordinal, aside.first + at, size, digests, aside.failure)


def _kept(run: JournaledRun, part: Aside) -> list[Any]:
    if part.failure is not None:
        return [part.failure]
    if run.plan.fills:
        return [FINISHED_EARLIER] * part.size
    journal, digests = run.plan.journal, part.digests
    if digests:
        found = [journal.result(bytes(digests[at : at + DIGEST_BYTES])) for at in range(0, len(digests), DIGEST_BYTES)]
    else:
        found = [result for _, result in journal.results(part.first, part.first + part.size - 1)]
    if len(found) != part.size or any(each is NOTHING for each in found):
        raise JournalCorruptError(str(journal.path or "in memory"), "results are missing", "its results")
    return found


class ResumedStream:
    """Results of a stream that keeps a journal, as an async iterator; may be iterated from several tasks.

    Where results are not kept, an item counts as finished once the next result is asked for: what a consumer was at
    work on when it died is handed out again.

    Args:
        new: the results of what is run now.
        run: knows what was finished, and records what is.
        ordered: hand out in the order of the items.
    """

    def __init__(self, new: ResultStream, run: JournaledRun, *, ordered: bool) -> None:
        self._new = new
        self._run = run
        self._ordered = ordered
        self._ordinal = 0
        self._held: Any = MISSING
        self._ready: deque[Any] = deque()
        self._over = False
        self._lock = anyio.Lock()
        self._handed: dict[int, Due] = {}

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        me = anyio.get_current_task().id if self._run.plan.hands_on else 0
        before = self._handed.pop(me, None)
        if before is not None:
            self._run.consumed(before)
        async with self._lock:
            value = await self._next()
        if type(value) is Due:
            self._handed[me] = value
            return value.value
        return value

    def drain(self) -> None:
        """Begin nothing new; see `ResultStream.drain`."""
        self._new.drain()

    async def _next(self) -> Any:
        asides = self._run.asides
        while True:
            if self._ready:
                return self._ready.popleft()
            if asides and (not self._ordered or self._over or asides[0].ordinal <= self._ordinal < self._known):
                await self._load()
            elif self._held is not MISSING:
                value, self._held = self._held, MISSING
                self._ordinal += 1
                return value
            elif self._over:
                self._run.complete = self._run.complete or not self._handed
                raise StopAsyncIteration
            else:
                await self._take_new()

    @property
    def _known(self) -> int:
        """How many new results are there: what lies before the next one is known once that has come."""
        return self._ordinal + (self._held is not MISSING)

    async def _take_new(self) -> None:
        try:
            self._held = await self._new.__anext__()
        except StopAsyncIteration:
            self._over = True

    async def _load(self) -> None:
        asides = self._run.asides
        first, *others = _parts(asides.popleft())
        asides.extendleft(reversed(others))
        try:
            self._ready.extend(await anyio.to_thread.run_sync(_kept, self._run, first))
        except BaseException:  # a consumer that was cancelled may ask again
            asides.appendleft(first)
            raise
