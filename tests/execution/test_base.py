"""Telling async functions from sync ones: `memflow.execution.base`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from unittest import mock

import pytest

from memflow.execution.base import Executor, is_async
from memflow.execution.inline import LoopExecutor
from memflow.execution.threads import ThreadExecutor


async def coroutine(item: object) -> object:
    return item


def plain(item: object) -> object:
    return item


def gives_awaitable(item: object) -> object:
    return coroutine(item)


class AsyncCallable:
    async def __call__(self, item: object) -> object:
        return item

    async def method(self, item: object) -> object:
        return item

    @staticmethod
    async def static(item: object) -> object:
        return item


class SyncCallable:
    def __call__(self, item: object) -> object:
        return item


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (coroutine, True),
        (functools.partial(coroutine), True),
        (functools.partial(functools.partial(coroutine)), True),
        (AsyncCallable(), True),
        (functools.partial(AsyncCallable()), True),
        (AsyncCallable().method, True),
        (AsyncCallable.static, True),
        (mock.AsyncMock(), True),
        (plain, False),
        (gives_awaitable, False),
        (functools.partial(plain), False),
        (SyncCallable(), False),
        (len, False),
        (int, False),
        (str.upper, False),
        (mock.Mock(), False),
        (lambda item: item, False),
    ],
)
def test_is_async(function: Callable[[object], object], expected: bool) -> None:
    assert is_async(function) is expected


@pytest.mark.parametrize("executor", [LoopExecutor(), ThreadExecutor(), ThreadExecutor(abandon=True)])
def test_every_executor_binds_to_a_coroutine_function(run, executor: Executor) -> None:
    bound = executor.bind(plain if executor.in_threads else coroutine, max_in_flight=lambda: 4)

    async def main() -> list[object]:
        return [await bound(item) for item in (None, 0, "", [1])]

    assert run(main) == [None, 0, "", [1]]
