"""A source of which a part was finished before: what is left of it is handed out, with positions.

Covers passing over what was finished, and items that must run alone. Telling them apart is
`memflow.processing.journaled`'s; pulling is the wrapped source's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio.lowlevel import checkpoint

from memflow.processing.cadence import Cadence
from memflow.processing.journaled import Entry, JournaledRun
from memflow.processing.source import Source

__all__ = ["ResumingSource"]

_PASSED_AT_ONCE = 4_096
_LOOKED_AT_ONCE = 32
_LONG_S = 0.01


class ResumingSource:
    """Gives entries (position, item, key) for the items that are left.

    Args:
        source: the whole input.
        run: knows what was finished.
        cadence: tells the time, so that others run while it looks through what was finished.

    Attributes:
        winded: `take` gave none since it had looked for long; whoever finds this calls `breathe`, and `take` again.
    """

    def __init__(self, source: Source, run: JournaledRun, cadence: Cadence) -> None:
        self._source = source
        self._run = run
        self._clock = cadence.clock
        self.winded = self._breathing = False
        self._position = run.first
        self._held: list[Any] = []
        self._wake: Callable[[], None] = lambda: None
        self.length = source.length
        self.feed = source.feed
        self.linger = source.linger

    @property
    def ended(self) -> bool:
        """True once nothing more will come."""
        return self._source.ended and not self._held

    @property
    def error(self) -> BaseException | None:
        """What the source raised, if it did."""
        return self._source.error

    @property
    def pulled(self) -> int:
        """Items of the input that were taken or passed over."""
        return self._position

    @property
    def is_fed(self) -> bool:
        """True when `feed` must run beside the call."""
        return self._source.is_fed

    @property
    def lingers(self) -> bool:
        """True when `linger` must run beside `feed`."""
        return self._source.lingers

    def place(self, ordinal: int) -> int:
        """Return the position in the input of the n-th item that was taken."""
        return self._run.place(ordinal)

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when items came, or may be taken now, after `take` gave none."""
        self._wake = wake
        self._source.on_arrival(wake)

    def let_go(self) -> None:
        """Forget the source and what waits here."""
        self._held = []
        self._source.let_go()

    def take(self, count: int, *, whole: bool = False) -> list[Any]:
        """Take up to `count` entries that are there now; none while an item that must run alone waits or runs."""
        run, entries = self._run, list[Entry]()
        if self._breathing:
            return entries
        long_s, least = self._clock() + _LONG_S, 1
        ahead = 1 if whole and self.is_fed else _LOOKED_AT_ONCE  # a batch may wait for its items to come
        while len(entries) < count:
            if run.alone:
                run.on_idle = self._wake
                break
            items = self._held or self._pull(max(least, count - len(entries)), whole and not entries)
            if not items:
                break
            self._held = []
            seen = run.sort_out(self._position, items, entries, count)
            self._position += seen
            self._held = items[seen:]
            if self._held and len(entries) < count and not run.alone:
                run.on_idle = self._wake
                break
            if not entries:
                least = ahead  # where one was finished, so is the next, mostly
                if self._clock() >= long_s:
                    self.winded = True
                    break
        return entries

    async def breathe(self) -> None:
        """Let others run; meanwhile nobody else looks."""
        self.winded, self._breathing = False, True
        try:
            await checkpoint()
        finally:
            self._breathing = False

    def _pull(self, count: int, whole: bool) -> list[Any]:
        run, source = self._run, self._source
        while passed := run.finished_from(self._position):
            taken = len(source.take(min(passed, _PASSED_AT_ONCE)))
            if not taken:
                return []
            run.pass_over(self._position, taken)
            self._position += taken
        return source.take(count, whole=whole)
