"""Ctrl-C and SIGTERM: the first asks the run to end in order, the second ends it at once.

Plain signal handlers rather than the event loop's, so that the second signal works even while the loop is held up
by the user's code. What was finished is written by `sink`.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import anyio

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Catches the signals that end a run, inside a `with` block in the main thread.

    Args:
        on_second: Called in the signal handler before the process ends at once; puts the terminal right.

    Attributes:
        received: the first signal that came, or None.
    """

    def __init__(self, *, on_second: Callable[[], None] = lambda: None) -> None:
        self.received: signal.Signals | None = None
        self.on_second = on_second
        self._previous: dict[signal.Signals, Any] = {}
        # A socket, since Windows cannot wait for pipes.
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def __enter__(self) -> Self:
        self._previous = {each: signal.signal(each, self._handle) for each in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)
        self._reader.close()
        self._writer.close()

    @property
    def exit_status(self) -> int:
        """What the shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM; 0 without."""
        return 128 + self.received if self.received is not None else 0

    async def wait_received(self) -> None:
        """Wait for the first signal."""
        if self.received is None:
            await anyio.wait_readable(self._reader)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            self.on_second()
            os._exit(128 + number)
        self.received = signal.Signals(number)
        self._writer.send(b"!")
