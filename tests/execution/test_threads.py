"""Running in threads: `memflow.execution.threads`."""

from __future__ import annotations

import threading
from collections.abc import Awaitable

import anyio
import pytest

from memflow.execution.threads import ThreadExecutor


def test_runs_elsewhere(run) -> None:
    bound = ThreadExecutor().bind(lambda item: (item, threading.get_ident()), max_in_flight=lambda: 1)

    async def main() -> None:
        item, thread = await bound(7)
        assert item == 7
        assert thread != threading.get_ident()

    run(main)


def test_awaits_on_the_loop_what_the_function_returns(run) -> None:
    async def finish(item: int) -> tuple[int, int]:
        await anyio.sleep(0)
        return item * 2, threading.get_ident()

    def start(item: int) -> Awaitable[tuple[int, int]]:
        return finish(item)

    async def main() -> None:
        assert await ThreadExecutor().bind(start, max_in_flight=lambda: 1)(4) == (8, threading.get_ident())

    run(main)


def test_errors_pass_through(run) -> None:
    def fails(item: int) -> None:
        raise KeyError(item)

    async def main() -> None:
        with pytest.raises(KeyError, match="3"):
            await ThreadExecutor().bind(fails, max_in_flight=lambda: 1)(3)

    run(main)


@pytest.mark.parametrize("first", [1, 3])
def test_as_many_run_at_once_as_may_be_in_flight(run, first: int) -> None:
    most = first
    together = threading.Barrier(3, timeout=60)

    async def main() -> None:
        nonlocal most
        bound = ThreadExecutor().bind(lambda item: item or together.wait(), max_in_flight=lambda: most)
        await bound(1)
        most = 3  # grown since: the threads' own limit must not hold anyone back
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(bound, 0)

    run(main)


def test_cancellation_waits_for_the_thread(run) -> None:
    go_on, ended = threading.Event(), []

    def work(item: int) -> None:
        go_on.wait(60)
        ended.append(item)

    async def main() -> None:
        bound = ThreadExecutor().bind(work, max_in_flight=lambda: 1)
        async with anyio.create_task_group() as group:
            group.start_soon(bound, 1)
            await anyio.sleep(0.005)
            group.cancel_scope.cancel()
            go_on.set()
        assert ended == [1]

    run(main)


def test_an_abandoned_thread_is_left_to_itself_and_takes_nobody_s_place(run) -> None:
    go_on = threading.Event()

    async def main() -> None:
        bound = ThreadExecutor(abandon=True).bind(
            lambda item: go_on.wait(60) if item == 0 else item, max_in_flight=lambda: 1
        )
        with anyio.move_on_after(0.005) as scope:
            await bound(0)
        assert scope.cancelled_caught
        with anyio.fail_after(60):
            assert await bound(1) == 1
        go_on.set()

    run(main)
