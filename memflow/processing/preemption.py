"""Preemption: when memory runs out, the youngest of what may be run again is cancelled, so that the rest can finish.

Covers who is cancelled, and when. Running it again is `memflow.processing.rerun`'s; `preemptible=True` on a call is the
user's word that its function may be cancelled at any await and run again.
"""

from __future__ import annotations

import weakref
from threading import get_ident
from typing import Any

import anyio

from memflow.execution.base import AsyncFunction
from memflow.memory.readings import MemoryWindow
from memflow.memory.state import MemoryState
from memflow.processing.rerun import Preempted

__all__ = ["Preemption", "count_to_preempt", "preemption_of"]

_START_SHARE = 0.9
_GOAL_SHARE = 0.8


def count_to_preempt(*, in_use_bytes: int, limit_bytes: int, running: int) -> int:
    """Return how many of those running to cancel: the share of use that lies above 80 % of the limit. Pure.

    Nothing below 90 %, and never the last one: somebody must get done.

    Args:
        in_use_bytes: What counts against the limit.
        limit_bytes: The limit.
        running: Pieces of work that may be cancelled.
    """
    if running < 2 or in_use_bytes < _START_SHARE * limit_bytes:
        return 0
    excess = in_use_bytes - _GOAL_SHARE * limit_bytes
    return min(running - 1, max(1, round(running * excess / max(1, in_use_bytes))))


class _Run:
    """One call of a function that may be cancelled."""

    __slots__ = ("chosen", "scope", "thread")

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.thread = get_ident()
        self.chosen = False


class Preemption:
    """What is running and may be cancelled, of all calls that share a memory state.

    Args:
        state: Its readings decide.
    """

    def __init__(self, state: MemoryState) -> None:
        self._runs: dict[_Run, None] = {}  # in the order of their starts
        self._leaving = 0
        state.subscribe(self.observe)

    def observe(self, window: MemoryWindow) -> None:
        """Cancel whom a reading asks for; the state calls this with each one."""
        if not self._runs or self._leaving:
            return  # those chosen last have not given their memory back yet
        reading, thread = window.reading, get_ident()
        # Scopes belong to their event loop: readings taken elsewhere leave them alone.
        runs = [run for run in self._runs if run.thread == thread]
        count = count_to_preempt(in_use_bytes=reading.in_use_bytes, limit_bytes=reading.limit_bytes, running=len(runs))
        for run in runs[len(runs) - count :]:
            run.chosen = True
            self._leaving += 1
            run.scope.cancel()

    def bind(self, function: AsyncFunction) -> AsyncFunction:
        """Wrap a function so that it may be cancelled, which then raises `Preempted`."""

        async def preemptible(argument: Any) -> Any:
            with anyio.CancelScope() as scope:
                run = _Run(scope)
                self._runs[run] = None
                try:
                    return await function(argument)
                finally:
                    del self._runs[run]
                    self._leaving -= run.chosen
            raise Preempted

        return preemptible


_preemptions: weakref.WeakKeyDictionary[MemoryState, Preemption] = weakref.WeakKeyDictionary()


def preemption_of(state: MemoryState) -> Preemption:
    """Return the one of a memory state, made on first use."""
    found = _preemptions.get(state)
    return found if found is not None else _preemptions.setdefault(state, Preemption(state))
