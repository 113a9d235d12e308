"""`assert_no_leak`: a function is run many times, and must not hold more after each.

Covers the assertion for tests; `memflow.testing` is where users find it. The judgement is that of
`memflow.analysis.growth`, on samples taken after a collection, so that far less than in a running service is noticed.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from math import erfc, sqrt
from typing import Self

import anyio

from memflow.analysis.growth import Rise, rises
from memflow.analysis.lows import MIN_ROWS
from memflow.analysis.suspects import Snapshot, Suspect, find_suspects, take_snapshot
from memflow.analysis.trend import History
from memflow.memory.allocator import read_allocator
from memflow.memory.signals import read_signals
from memflow.units import format_bytes

__all__ = ["assert_no_leak", "assert_no_leak_async"]

LEAST_ITERATIONS = 100
"""Calls below which a leak cannot be told from warming up."""
_POINTS = 96
_BUDGET_S = 30.0  # a test has time to look at everything
_LEAST_PER_CALL: Mapping[str, float] = {
    "blocks": 0.25,
    "native_bytes": 64.0,
    "descriptors": 0.05,
    "threads": 0.05,
    "tasks": 0.05,
}
_UNITS = {"blocks": "blocks of Python's", "descriptors": "descriptors", "threads": "threads", "tasks": "asyncio tasks"}


def assert_no_leak(fn: Callable[[], object], *, iterations: int = 200, warm_up: int = 20) -> None:
    """Call a function many times, and fail if it holds more after each call.

    Takes a collection of garbage for each of some 100 points, besides what the function takes.

    Args:
        fn: Takes nothing; what it returns is dropped. A coroutine function is run in an event loop of its own.
        iterations: Calls that are watched, at least 100.
        warm_up: Calls before those, that may fill caches.

    Raises:
        AssertionError: it leaks: how much a call, how sure that is, and who holds it.
        TypeError: it is a coroutine function, and an event loop is running here; await `assert_no_leak_async`.
        ValueError: too few iterations.

    Example:
        >>> assert_no_leak(lambda: sorted(range(100)), iterations=100)
    """
    if inspect.iscoroutinefunction(fn):
        if _loop_runs():
            raise TypeError("an event loop is running here: use `await assert_no_leak_async(...)`")

        async def main() -> None:
            await assert_no_leak_async(fn, iterations=iterations, warm_up=warm_up)

        anyio.run(main)
        return
    with _CallWatch(fn, iterations, warm_up) as watch:
        for _ in range(warm_up + iterations):
            fn()
            watch.called()
    watch.judge()


async def assert_no_leak_async(
    fn: Callable[[], Awaitable[object]], *, iterations: int = 200, warm_up: int = 20
) -> None:
    """Await a coroutine function many times, one after another; else like `assert_no_leak`."""
    with _CallWatch(fn, iterations, warm_up) as watch:
        for _ in range(warm_up + iterations):
            await fn()
            watch.called()
    watch.judge()


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        return trio is not None and bool(trio.lowlevel.in_trio_run())
    return True


class _CallWatch:
    """Samples of what is live after each few calls; enter it while they are made.

    What is there before is put out of the collector's sight meanwhile (`gc.freeze`, where nobody uses that already): to
    collect a hundred times would take long where a test run has imported much.
    """

    def __init__(self, fn: Callable[[], object], iterations: int, warm_up: int) -> None:
        if iterations < LEAST_ITERATIONS:
            raise ValueError(f"iterations={iterations} must be {LEAST_ITERATIONS} or more: fewer may be warming up")
        if warm_up < 0:
            raise ValueError(f"warm_up={warm_up} must not be negative")
        self._name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
        self._iterations, self._calls = iterations, -warm_up
        self._step = max(1, iterations // _POINTS)
        self._live = {name: History(2 * max(MIN_ROWS, _POINTS)) for name in _LEAST_PER_CALL}
        self._before: Snapshot | None = None
        self._before_calls = 0
        self._added = (0, 0, 0, 0, 0)
        self._freezes = False

    def __enter__(self) -> Self:
        self._freezes = not gc.get_freeze_count()
        self._freeze()
        return self

    def __exit__(self, *_: object) -> None:
        if self._freezes:
            gc.unfreeze()

    def _freeze(self) -> None:
        gc.collect()
        if self._freezes:
            gc.freeze()

    def called(self) -> None:
        """Take note of a call that has ended."""
        self._calls += 1
        if self._calls <= 0 or self._calls % self._step:
            return
        values = self._read()
        for history, value in zip(self._live.values(), values, strict=True):
            if value is not None:
                history.add(self._calls, self._calls, 0.0, value)
        if self._before is None and 2 * self._calls >= self._iterations:
            if self._freezes:
                gc.unfreeze()
            self._before, self._before_calls = take_snapshot(budget_s=_BUDGET_S), self._calls
            # What the snapshot holds is nobody's leak.
            blocks, native = (
                0 if old is None or new is None else new - old
                for old, new in zip(values[:2], self._read()[:2], strict=True)
            )
            self._added = (blocks, native, 0, 0, 0)
            self._freeze()

    def _read(self) -> list[int | None]:
        gc.collect()
        found, counts = read_allocator(), read_signals()
        values = (found.blocks, found.native_live_bytes, counts.descriptors, counts.threads, counts.tasks)
        return [None if each is None else each - more for each, more in zip(values, self._added, strict=True)]

    def judge(self) -> None:
        """Fail if something rises."""
        least = {name: each * self._iterations / 2 for name, each in _LEAST_PER_CALL.items()}
        found = rises({name: each.series() for name, each in self._live.items() if len(each)}, least)
        if not found:
            return
        suspects: tuple[Suspect, ...] = ()
        if self._before is not None:
            suspects = find_suspects(
                self._before,
                take_snapshot(budget_s=_BUDGET_S),
                items=self._calls - self._before_calls,
                budget_s=_BUDGET_S,
            )
        raise AssertionError(_message(self._name, self._iterations, found, suspects))


def _message(name: str, iterations: int, found: Mapping[str, Rise], suspects: tuple[Suspect, ...]) -> str:
    lines = [f"{name} leaks, as {iterations} calls show:"]
    for signal, rise in found.items():
        if signal == "native_bytes":
            low, middle, high = (format_bytes(round(each)) for each in (rise.low, rise.slope, rise.high))
            amount = f"{middle} of the C library's heap a call (between {low} and {high})"
        else:
            amount = f"{rise.slope:.2f} {_UNITS[signal]} a call (between {rise.low:.2f} and {rise.high:.2f})"
        lines.append(f"- {amount}; confidence {100 * (1 - erfc(rise.z / sqrt(2)) / 2):.4g} %")
    if suspects:
        lines.extend(f"- suspect: {suspect}" for suspect in suspects)
    else:
        lines.append("- no suspect was found among Python's objects: look at native handles and buffers")
    return "\n".join(lines)
