"""Running async tests on asyncio and trio: with a net for hangs and left tasks, in virtual time, or cancelled midway.

Covers how tests are run; fixtures around it are in `tests/conftest.py`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from memflow.processing.loop_time import LoopClock
from memflow.sizing.saturation import LoopTime

__all__ = ["BACKENDS", "VirtualLoop", "run", "run_cancelled_at", "run_virtual", "tasks_left"]

BACKENDS = ("asyncio", "trio")

_HANGS_S = 120.0
_HANGS_VIRTUALLY_S = 1e6


def tasks_left(before: set[Any] | int) -> str:
    """Name what runs now beside the current task and beside what `running()` found before; empty for nothing."""
    if isinstance(before, int):
        more = trio.lowlevel.current_statistics().tasks_living - before
        return f"{more} tasks of trio" if more else ""
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    return ", ".join(sorted(task.get_name() for task in left))


def running() -> set[Any] | int:
    """Return what runs now: asyncio's tasks, or trio's number of them."""
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


async def _guarded(function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], hangs_s: float) -> Any:
    before = running()
    with anyio.fail_after(hangs_s):
        result = await function(*args)
    left = tasks_left(before)
    assert not left, f"the test left {left} behind"
    return result


def run(backend: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run a test in real time; fails when it hangs or leaves tasks behind."""
    return anyio.run(_guarded, function, args, _HANGS_S, backend=backend)


def run_virtual(backend: str, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run a test in virtual time, which leaps to the next deadline when nothing else can run. No thread hops inside.

    What waits for ever fails, since its guard's deadline is among those that time leaps to. Each run goes as the one
    before, whatever else the machine does, as long as everybody goes by the loop's time: `clock=anyio.current_time`.
    """
    options: dict[str, Any]
    if backend == "trio":
        options = {"clock": trio.testing.MockClock(autojump_threshold=0)}
    else:
        options = {"loop_factory": VirtualLoop}
    with _repeatable():
        return anyio.run(_guarded, function, args, _HANGS_VIRTUALLY_S, backend=backend, backend_options=options)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Have a run depend neither on processor time, of which virtual time takes none, nor on trio's dice."""
    scheduler = trio._core._run  # it shuffles what is ready, on purpose; pytest-trio and Hypothesis seed it as here
    dice = scheduler._r.getstate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoopClock, "read", lambda self: LoopTime(0.0, 0.0))
        patch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        scheduler._r.seed(0)
        try:
            yield
        finally:
            scheduler._r.setstate(dice)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time leaps to the next deadline in place of waiting for it."""

    def __init__(self) -> None:
        self._virtual_s = 1000.0
        super().__init__(_LeapingSelector(self._leap))

    def time(self) -> float:
        return self._virtual_s

    def _leap(self, seconds: float) -> None:
        self._virtual_s += seconds


class _LeapingSelector(selectors.DefaultSelector):
    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # only another thread could end this wait
            return super().select(None)
        self._leap(timeout)
        return []


def run_cancelled_at(backend: str, step: int, function: Callable[[], Awaitable[None]]) -> bool:
    """Run `function` and cancel it from outside at the n-th step that any of its tasks takes.

    Returns:
        True when it was cancelled, False when it ended before that step.
    """

    async def main() -> bool:
        before = running()
        with anyio.fail_after(_HANGS_S), anyio.CancelScope() as scope, _STEPPING[backend](step, scope.cancel):
            await function()
        left = tasks_left(before)
        assert not left, f"cancelled at step {step}, it left {left} behind"
        return scope.cancelled_caught

    return anyio.run(main, backend=backend)


@contextmanager
def _stepping_trio(step: int, act: Callable[[], None]):
    instrument = _Steps(step, act)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


class _Steps(trio.abc.Instrument):
    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self._left = step
        self._act = act

    def before_task_step(self, task: object) -> None:
        if self._left == 0:
            self._act()
        self._left -= 1


@contextmanager
def _stepping_asyncio(step: int, act: Callable[[], None]):
    """Count what the loop runs: each step of a task is one of these."""
    steps, run_handle = _Steps(step, act), asyncio.Handle._run

    def counted(handle: asyncio.Handle) -> Any:
        steps.before_task_step(handle)
        return run_handle(handle)

    asyncio.Handle._run = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        asyncio.Handle._run = run_handle  # type: ignore[method-assign]


_STEPPING: dict[str, Callable[[int, Callable[[], None]], AbstractContextManager[None]]] = {
    "asyncio": _stepping_asyncio,
    "trio": _stepping_trio,
}
