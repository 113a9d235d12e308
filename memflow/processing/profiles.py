"""A processor's cost profile: loaded before its first call, saved after calls.

Covers when, off the event loop, and that nothing about a profile ever fails a call. What is in the file is
`memflow.sizing.profile`'s, how it is read and written `memflow.sizing.profile_file`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from memflow.sizing.optimizer import BatchOptimizer
from memflow.sizing.profile_file import read_profile, update_profile

__all__ = ["ProfileKeeper"]

_log = logging.getLogger("memflow.processing")

_WAIT_S = 2.0
_INTERVAL_S = 5.0


class ProfileKeeper:
    """Loads and saves what one processor's operations cost.

    A saved file has reached the disk, which takes milliseconds; so after the first call it is saved at most every five
    seconds, and what is left when the processor is closed.

    Args:
        path: the file; None does nothing.
        optimizer: learns the costs.
        clock: seconds of a monotonic clock; replaced in tests.
    """

    def __init__(
        self, path: Path | None, optimizer: BatchOptimizer, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path.absolute() if path is not None else None  # wherever the program goes later
        self._optimizer = optimizer
        self._clock = clock
        self._loaded = False
        self._unsaved: set[str] = set()
        self._due_s = float("-inf")
        self._interval_s = _INTERVAL_S
        self._told: set[str] = set()

    @asynccontextmanager
    async def kept(self, operation: str) -> AsyncIterator[None]:
        """Know what earlier runs learnt before a call, and keep what it has learnt, however it ends."""
        if self._path is None:
            yield
            return
        await self._load()
        try:
            yield
        finally:
            self._unsaved.add(operation)
            if self._clock() >= self._due_s:
                await self._save()

    async def close(self) -> None:
        """Save what calls have learnt since the last time; calls that are still running save what they learn."""
        self._due_s = float("-inf")
        self._interval_s = 0.0
        await self._save()

    async def _load(self) -> None:
        """Read the file, once; a call that begins meanwhile reads it too."""
        path = self._path
        if path is None or self._loaded:
            return
        try:
            profile, left_out = await anyio.to_thread.run_sync(read_profile, path, abandon_on_cancel=True)
        except Exception as error:  # whatever it is, the work goes on without
            self._loaded = True
            self._tell(f"cost profile {path} is ignored: {_reason(error)}")
            return
        self._loaded = True
        self._optimizer.load_profile(profile)
        if profile.operations:
            self._optimizer.note_profile(f"cost profile {path}: {len(profile.operations)} operations loaded")
        for sentence in left_out:
            self._tell(f"cost profile {path}: left out {sentence}")

    async def _save(self) -> None:
        """Save what is unsaved. Waits two seconds at most, even when cancelled."""
        path, names = self._path, frozenset(self._unsaved)
        if path is None or not names:
            return
        self._unsaved.clear()
        self._due_s = self._clock() + self._interval_s
        learnt = self._optimizer.export_profile(names)
        if not learnt.operations:
            return
        with anyio.move_on_after(_WAIT_S, shield=True) as scope:
            try:
                await anyio.to_thread.run_sync(update_profile, path, learnt, abandon_on_cancel=True)
            except Exception as error:  # a disk that is full, a thread that can't start: the results are there
                self._tell(f"cost profile {path} is not saved: {_reason(error)}")
        if scope.cancelled_caught:
            self._tell(f"cost profile {path} is not saved yet: the disk has not answered for {_WAIT_S:g} s")

    def _tell(self, sentence: str) -> None:
        """Warn, once for each sentence."""
        self._optimizer.note_profile(sentence)
        if sentence not in self._told:
            self._told.add(sentence)
            _log.warning("%s", sentence)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
