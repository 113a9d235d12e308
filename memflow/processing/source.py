"""Where items come from: one face over iterables and async iterables, pulled lazily.

Covers taking what is there without waiting, waiting for more, and errors midway. Sizes of items are
`memflow.processing.hints`'s; how many are wanted is the call's business.

A sync iterable is pulled inline. An async iterable is pulled by one feeder task, so that a slow source never
holds back items that came before, and so that a generator is entered and closed in one task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any, Protocol

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from memflow.exceptions import ConfigurationError
from memflow.processing.cadence import Cadence

__all__ = ["AsyncSource", "Source", "SyncSource", "open_source"]


class Source(Protocol):
    """Items, taken without waiting."""

    length: int | None
    """How many items there are in all, where that is known."""
    winded: bool
    """True when `take` gave none only since it had been at it for long: call `breathe`, and `take` again."""

    @property
    def ended(self) -> bool:
        """True once nothing more will come."""
        ...

    @property
    def error(self) -> BaseException | None:
        """What the source raised, if it did; the items before it are still delivered."""
        ...

    @property
    def pulled(self) -> int:
        """Items taken so far."""
        ...

    def take(self, count: int, *, whole: bool = False) -> list[Any]:
        """Take up to `count` items that are there now.

        Args:
            count: the most items to take, at least 1.
            whole: take nothing while fewer are there and more may come.

        Returns:
            The items; none when nothing is there yet, or nothing more will come (`ended`).
        """
        ...

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when items came or the source ended after `take` gave none."""
        ...

    def place(self, ordinal: int) -> int:
        """Return the position in the input of the n-th item that was taken."""
        ...

    @property
    def is_fed(self) -> bool:
        """True when `feed` must run while items are wanted."""
        ...

    @property
    def lingers(self) -> bool:
        """True when `linger` must run beside `feed`."""
        ...

    async def breathe(self) -> None:
        """Let others run, and be ready for the next `take`."""
        ...

    async def feed(self) -> None:
        """Pull items until the source ends."""
        ...

    async def linger(self) -> None:
        """Wake the takers now and then, so that a part of a batch goes out."""
        ...

    def let_go(self) -> None:
        """Forget the source and what waits here: nothing more will be taken."""
        ...


class SyncSource:
    """An ordinary iterable, pulled inline."""

    is_fed = lingers = winded = False

    def __init__(self, items: Iterable[Any]) -> None:
        self._iterator: Iterator[Any] = iter(items)
        self.length: int | None = _length(items)
        self.ended = False
        self.error: BaseException | None = None
        self.pulled = 0

    def take(self, count: int, *, whole: bool = False) -> list[Any]:
        """Take up to `count` items; fewer only at the end."""
        taken: list[Any] = []
        if self.ended:
            return taken
        try:
            taken.extend(islice(self._iterator, count))  # what came before an error stays in the list
        except Exception as error:
            self.error = error
        if len(taken) < count:
            self.let_go()
        self.pulled += len(taken)
        return taken

    def let_go(self) -> None:
        """Forget the iterator, and with it what it holds."""
        self.ended = True
        self._iterator = iter(())

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Never called: everything a sync source has is there at once."""

    def place(self, ordinal: int) -> int:
        """Return the same: every item is taken."""
        return ordinal

    async def breathe(self) -> None:
        """Let others run; never needed, since nothing here takes long."""
        await checkpoint()

    async def feed(self) -> None:
        """Do nothing: there is nobody to wait for."""

    async def linger(self) -> None:
        """Do nothing: a part of a batch is there at the end only."""


class AsyncSource:
    """An async iterable, pulled by `feed`, which must run in a task while items are wanted.

    At most as many items wait here as the last `take` asked for.

    Args:
        items: the async iterable.
        cadence: tells the feeder when it has run long enough without a checkpoint.
        linger_s: seconds after which `take(whole=True)` is content with what is there; None for never.
    """

    is_fed = True
    winded = False

    def __init__(
        self,
        items: AsyncIterable[Any],
        *,
        cadence: Cadence,
        linger_s: float | None = None,
    ) -> None:
        self._iterator: AsyncIterator[Any] = aiter(items)
        self._cadence = cadence
        self._linger_s = linger_s
        self._waiting: deque[Any] = deque()
        self._wanted = self._needed = 1
        self._demand: anyio.Event | None = None
        self._wake: Callable[[], None] = _nothing
        self._first_came_s = 0.0
        self._starved = False
        self._closing = False
        self.length: int | None = None
        self.ended = False
        self.error: BaseException | None = None
        self.pulled = 0

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when items came or the source ended after `take` gave none."""
        self._wake = wake

    def place(self, ordinal: int) -> int:
        """Return the same: every item is taken."""
        return ordinal

    def let_go(self) -> None:
        """Forget what waits here; the generator is closed by `feed`."""
        self._waiting.clear()
        self.ended = True

    def take(self, count: int, *, whole: bool = False) -> list[Any]:
        """Take up to `count` items that came; with `whole`, none while fewer came, unless they waited `linger_s`."""
        if self.ended:
            return []  # also where it was let go, and the feeder has not stopped yet
        waiting = self._waiting
        self._wanted = count
        there = len(waiting)
        if there < count and self._demand is not None:
            self._demand.set()
        if there == 0 or (whole and there < count and not self._closing and not self._lingered()):
            self._starved = True
            self._needed = count if whole else 1
            self.ended = self._closing and there == 0
            return []
        taken = [waiting.popleft() for _ in range(min(count, there))]
        if self._demand is not None:
            self._demand.set()
        self._first_came_s = self._cadence.clock()
        self.ended = self._closing and not waiting
        self.pulled += len(taken)
        return taken

    @property
    def lingers(self) -> bool:
        """True when `linger` must run beside `feed`."""
        return self._linger_s is not None

    def _lingered(self) -> bool:
        return self._linger_s is not None and self._cadence.clock() - self._first_came_s >= self._linger_s

    async def breathe(self) -> None:
        """Let others run; never needed, since nothing here takes long."""
        await checkpoint()

    async def feed(self) -> None:
        """Pull items until the source ends; waits while enough are waiting here."""
        try:
            while True:
                while len(self._waiting) >= self._wanted:
                    self._demand = anyio.Event()
                    await self._demand.wait()
                    self._demand = None
                self._waiting.append(await anext(self._iterator))  # no name holds it while the next one is awaited
                if len(self._waiting) == 1:
                    self._first_came_s = self._cadence.clock()
                if len(self._waiting) >= self._needed:
                    self._tell()
                if self._cadence.due():
                    await self._cadence.checkpoint()
        except StopAsyncIteration:
            pass
        except Exception as error:
            self.error = error
        except anyio.get_cancelled_exc_class() as error:
            # A stray one, from inside the source, must neither pass for its end nor cancel the work: it is an error.
            self.error = error
            await checkpoint_if_cancelled()
        finally:
            self._closing = True
            self._tell()
            await self._close()

    async def linger(self) -> None:
        """Wake the takers every `linger_s`, so that a part of a batch goes out; runs beside `feed`."""
        assert self._linger_s is not None
        while not self._closing:
            await anyio.sleep(self._linger_s / 2)
            if self._waiting and self._lingered():
                self._tell()

    def _tell(self) -> None:
        if self._starved:
            self._starved = False
            self._wake()

    async def _close(self) -> None:
        # A generator is closed in the task that ran it; a stubborn one may not hold the caller for ever.
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            with anyio.move_on_after(5, shield=True):
                try:
                    await close()
                except Exception as error:
                    self.error = self.error or error


def open_source(items: Any, *, cadence: Cadence, linger_s: float | None) -> SyncSource | AsyncSource:
    """Wrap what the user gave.

    Raises:
        ConfigurationError: it can't be iterated, or is a string or bytes (whose characters are hardly meant).
    """
    if isinstance(items, str | bytes | bytearray):
        raise ConfigurationError(
            f"items must be an iterable of items, not one {type(items).__name__}; put it in a list, as in [text]"
        )
    if isinstance(items, AsyncIterable):
        return AsyncSource(items, cadence=cadence, linger_s=linger_s)
    if isinstance(items, Iterable) or hasattr(items, "__getitem__"):
        return SyncSource(items)
    raise ConfigurationError(
        f"items must be an iterable or an async iterable, not {type(items).__name__}"
        + ("; call the function that makes it" if callable(items) else "")
    )


def _length(items: object) -> int | None:
    try:
        return len(items) if isinstance(items, Sized) else None
    except Exception:  # loaders of endless data have the method and raise in it
        return None


def _nothing() -> None:
    """Stand in until somebody wants to be woken."""
