"""Fixtures for every room: tests that run on asyncio and trio, in real or virtual time, and leave nothing running.

How they run is in `tests.backends`. Nothing here is used unless a test asks for it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests import backends

Runner = Callable[..., Any]


@pytest.fixture(params=backends.BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """ "asyncio" and "trio", one after the other."""
    return str(request.param)


@pytest.fixture
def run(backend: str) -> Runner:
    """Run `run(function, *args)` on each backend; fails when it hangs or leaves tasks behind."""
    return functools.partial(backends.run, backend)


@pytest.fixture
def run_virtual(backend: str) -> Runner:
    """As `run`, but time leaps to the next deadline; not for tests with threads."""
    return functools.partial(backends.run_virtual, backend)


@pytest.fixture
def cancel_everywhere(backend: str) -> Callable[..., int]:
    """Run `cancel_everywhere(scenario, check)`: cancel the scenario at each of its steps in turn, and check after each.

    `scenario` makes a fresh coroutine function and what `check` needs to judge it; returns how many steps there were.
    """

    def every_step(
        scenario: Callable[[], tuple[Callable[[], Awaitable[None]], Any]], check: Callable[..., None]
    ) -> int:
        step = 0
        while True:
            function, made = scenario()
            cancelled = backends.run_cancelled_at(backend, step, function)
            check(made, step)
            if not cancelled:
                return step
            step += 1

    return every_step


@pytest_asyncio.fixture
async def leaves_no_tasks() -> AsyncIterator[None]:
    """Fail a pytest-asyncio test that leaves tasks behind."""
    before = backends.running()
    yield
    left = backends.tasks_left(before)
    assert not left, f"the test left {left} behind"
