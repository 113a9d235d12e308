"""Events to any number of subscribers, each with its own bounded buffer.

Covers delivery: `EventHub.publish` is sync, never waits, and may be called from any thread; a subscriber reads with
`async for` under asyncio and trio. What the events are is the publisher's business (`memflow.analysis.issues`).

A full buffer drops its **oldest** event, since the newest says how things are now. The loss is counted and told by an
event of its own, in the place where the lost ones would have been. Nothing here runs in a task, and the iterator is a
plain class: nothing is left to clean up when a consumer is cancelled or leaves early.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from threading import Lock
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel

__all__ = ["CallSoon", "current_call_soon", "EventHub", "EventStream", "Subscription"]

EventT = TypeVar("EventT")
CallSoon = Callable[[Callable[[], Any]], Any]


class EventStream(AsyncIterator[EventT]):
    """One subscriber's end: an async iterator over its events. It ends once the hub is closed and it has drained."""

    def __init__(self, *, size: int, lost: Callable[[int], EventT], opening: Iterable[EventT]) -> None:
        self._events: deque[EventT] = deque(maxlen=size)
        self._lost = lost
        self._dropped = 0
        self.dropped_total = 0
        """Events lost since the subscriber came, told or not."""
        self._ended = False
        self._parked: anyio.Event | None = None
        self._lock = Lock()
        self._call_soon = current_call_soon()
        for event in opening:
            self._put(event)

    def __aiter__(self) -> EventStream[EventT]:
        return self

    async def __anext__(self) -> EventT:
        # The checkpoint comes before anything is taken, so that a cancelled reader loses no event.
        await anyio.lowlevel.checkpoint()
        while True:
            with self._lock:
                if self._dropped:
                    count, self._dropped = self._dropped, 0
                    return self._lost(count)
                if self._events:
                    return self._events.popleft()
                if self._ended:
                    raise StopAsyncIteration
                parked = self._parked = self._parked or anyio.Event()
            await parked.wait()

    def send(self, event: EventT) -> None:
        """Take an event in, from any thread; never waits."""
        with self._lock:
            if self._ended:
                return
            self._put(event)
            parked, self._parked = self._parked, None
        self._wake(parked)

    def end(self, *, discard: bool = False) -> None:
        """End the iteration, behind what is buffered unless that is discarded. From any thread, any number of times."""
        with self._lock:
            self._ended = True
            if discard:
                self._events.clear()
                self._dropped = 0
            parked, self._parked = self._parked, None
        self._wake(parked)

    def _put(self, event: EventT) -> None:
        if len(self._events) == self._events.maxlen:
            self._dropped += 1
            self.dropped_total += 1
        self._events.append(event)

    def _wake(self, parked: anyio.Event | None) -> None:
        """Wake the reader on its own loop. Always through the loop's thread-safe door: events are few."""
        if parked is None:
            return
        try:
            self._call_soon(parked.set)
        except RuntimeError:  # the loop is gone (asyncio: closed, trio: RunFinishedError), and the reader with it
            pass


def current_call_soon() -> CallSoon:
    """Return what schedules a function on the running event loop, from any thread."""
    try:
        if asyncio.current_task() is not None:
            return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:  # no asyncio loop in this thread
        pass
    trio = sys.modules.get("trio")  # never imported here: who runs under it has it
    if trio is None:
        raise RuntimeError("subscribe from a task of asyncio or trio, so that events can wake the reader")
    call_soon: CallSoon = trio.lowlevel.current_trio_token().run_sync_soon
    return call_soon


class EventHub(Generic[EventT]):
    """Hands each event to every subscriber that is there.

    Args:
        size: Events kept for each subscriber.
        lost: Makes the event that tells how many were dropped.
    """

    def __init__(self, *, size: int, lost: Callable[[int], EventT]) -> None:
        self._size = size
        self._lost = lost
        self._closed = False
        self._streams: tuple[EventStream[EventT], ...] = ()
        self._dropped_before = 0
        self._lock = Lock()

    def publish(self, event: EventT) -> None:
        """Give an event to every subscriber, from any thread; never waits, and none can hold it up."""
        for stream in self._streams:
            stream.send(event)

    def join(self, opening: Iterable[EventT] = ()) -> EventStream[EventT]:
        """Add a subscriber, in its own task. On a closed hub it gets `opening` and its end."""
        stream = EventStream(size=self._size, lost=self._lost, opening=opening)
        with self._lock:
            if self._closed:
                stream.end()
            else:
                self._streams = (*self._streams, stream)
        return stream

    def leave(self, stream: EventStream[EventT]) -> None:
        """Remove a subscriber and what it has not read."""
        with self._lock:
            if stream in self._streams:
                self._dropped_before += stream.dropped_total
            self._streams = tuple(each for each in self._streams if each is not stream)
        stream.end(discard=True)

    def close(self) -> None:
        """End every subscriber's iteration once it has read what is buffered."""
        with self._lock:
            self._closed = True
            streams, self._streams = self._streams, ()
            self._dropped_before += sum(stream.dropped_total for stream in streams)
        for stream in streams:
            stream.end()

    @property
    def dropped(self) -> int:
        """Events lost by all subscribers, gone ones included."""
        return self._dropped_before + sum(stream.dropped_total for stream in self._streams)

    @property
    def subscribers(self) -> int:
        """Subscribers that are there now."""
        return len(self._streams)


class Subscription(Generic[EventT]):
    """`async with` this to subscribe; leaving unsubscribes. It is no iterator itself: unsubscribed reading would hang.

    Args:
        hub: Where to subscribe.
        join: Subscribes; called in the subscriber's task.
    """

    def __init__(self, hub: EventHub[EventT], join: Callable[[], EventStream[EventT]]) -> None:
        self._hub = hub
        self._join = join
        self._stream: EventStream[EventT] | None = None

    async def __aenter__(self) -> EventStream[EventT]:
        if self._stream is not None:
            raise RuntimeError("this subscription is already entered; ask for a new one for each subscriber")
        await anyio.lowlevel.checkpoint()
        self._stream = self._join()
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._hub.leave(stream)
