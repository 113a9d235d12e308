"""Runs coroutine functions on the event loop, with nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memflow.execution.base import AsyncFunction

__all__ = ["LoopExecutor"]


class LoopExecutor:
    """Awaits the user's coroutine function as it is."""

    in_threads = False

    def bind(self, function: Callable[[Any], Any], *, max_in_flight: Callable[[], int]) -> AsyncFunction:
        """Return `function` itself."""
        return function
