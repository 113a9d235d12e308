"""The Protocol of everything that can run a user's function.

Covers binding only: an executor turns the function into a coroutine function once, so that the hot path awaits it
with nothing in between. Timeouts and retries are wrapped around it in `memflow.processing.guards`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = ["AsyncFunction", "Executor", "is_async"]

AsyncFunction = Callable[[Any], Awaitable[Any]]


class Executor(Protocol):
    """Runs calls of a user's function somewhere."""

    in_threads: bool
    """True where calls occupy a thread each, so that their number costs."""

    def bind(self, function: Callable[[Any], Any], *, max_in_flight: Callable[[], int]) -> AsyncFunction:
        """Return a coroutine function that runs `function` here.

        Args:
            function: what the user gave.
            max_in_flight: tells the most calls that may be in flight at present.
        """
        ...


def is_async(function: Callable[[Any], Any]) -> bool:
    """Tell whether calling `function` gives a coroutine; sees through partials and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
