"""What may stand around a user's function: a timeout, retries, a wrapper of the user's own.

Covers building that shell once per call; where none is asked for, the function stays bare. Retries are stamina's
(extra `retry`), which knows asyncio and trio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from memflow.exceptions import ConfigurationError, ItemTimeoutError
from memflow.execution.base import AsyncFunction
from memflow.settings import BatchProcessorSettings

__all__ = ["GaveUp", "RetryWrapper", "guard"]

RetryWrapper = Callable[[AsyncFunction], AsyncFunction]


class GaveUp(Exception):
    """Every attempt failed; the last error is `error`."""

    def __init__(self, error: Exception, attempts: int) -> None:
        super().__init__(error)
        self.error = error
        self.attempts = attempts


def guard(
    function: AsyncFunction,
    *,
    operation: str,
    settings: BatchProcessorSettings,
    retry: RetryWrapper | None,
    on_retry: Callable[[], None],
) -> AsyncFunction:
    """Wrap `function` in what the settings ask for: the timeout innermost, so that it bounds each attempt.

    Args:
        function: runs one item or batch.
        operation: its name, for messages.
        settings: `item_timeout_s`, `attempts`, `retry_wait_s`, `retry_wait_max_s`.
        retry: the user's own wrapper, used instead of stamina.
        on_retry: called before each attempt beyond the first of our own retries.

    Raises:
        ConfigurationError: retries are asked for, stamina isn't installed, and no wrapper was given.
    """
    if settings.item_timeout_s is not None:
        function = _with_timeout(function, operation, settings.item_timeout_s)
    if retry is not None:
        return retry(function)
    if settings.attempts > 1:
        return _with_retries(function, settings, on_retry)
    return function


def _with_timeout(function: AsyncFunction, operation: str, timeout_s: float) -> AsyncFunction:
    async def bounded(argument: Any) -> Any:
        with anyio.move_on_after(timeout_s) as scope:
            return await function(argument)
        if scope.cancelled_caught:
            raise ItemTimeoutError(operation, timeout_s)
        return None  # pragma: no cover - a scope that caught nothing returned above

    return bounded


def _is_worth_a_retry(error: Exception) -> bool:
    """False for what asks for memory: that is run again once nothing else is in flight."""
    return not isinstance(error, MemoryError)


def _with_retries(
    function: AsyncFunction, settings: BatchProcessorSettings, on_retry: Callable[[], None]
) -> AsyncFunction:
    try:
        import stamina
    except ImportError:
        raise ConfigurationError(
            f"attempts={settings.attempts} needs the package stamina: pip install 'memflow-async[retry]', "
            "or pass a wrapper of your own as retry="
        ) from None

    async def persistent(argument: Any) -> Any:
        tried = 0
        try:
            async for attempt in stamina.retry_context(
                on=_is_worth_a_retry,
                attempts=settings.attempts,
                timeout=None,
                wait_initial=settings.retry_wait_s,
                wait_max=settings.retry_wait_max_s,
                wait_jitter=settings.retry_wait_s / 2,
            ):
                with attempt:
                    tried = attempt.num
                    if tried > 1:
                        on_retry()
                    return await function(argument)
        except Exception as error:
            raise GaveUp(error, tried) from error

    return persistent
