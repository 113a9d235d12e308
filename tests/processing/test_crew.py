"""Workers: hiring, parking, waking, leaving: `memflow.processing.crew`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from memflow.memory.work import OperationLoad
from memflow.processing.crew import Crew


def crew_of(
    work: Callable[[], Coroutine[Any, Any, None]], crashed: list[BaseException] | None = None, **options: Any
) -> Crew:
    async def shift() -> None:
        with crew.shift():
            await work()

    crew = Crew(shift, (crashed if crashed is not None else []).append, options.get("load"))
    return crew


async def settle() -> None:
    for _ in range(10):
        await anyio.sleep(0)


def test_hires_up_to_a_number(run) -> None:
    async def main() -> None:
        done = anyio.Event()
        crew = crew_of(done.wait)
        async with anyio.create_task_group() as group:
            crew.hire(group, 3)
            crew.hire(group, 2)
            await settle()
            assert (crew.size, crew.busy) == (3, 3)
            crew.hire(group, 5)
            await settle()
            assert (crew.size, crew.busy) == (5, 5)
            done.set()
        assert (crew.size, crew.busy) == (0, 0)

    run(main)


def test_the_busy_are_the_load(run) -> None:
    async def main() -> None:
        load = OperationLoad("work")

        async def work() -> None:
            await settle()
            await crew.park()

        crew = crew_of(work, load=load)
        async with anyio.create_task_group() as group:
            crew.hire(group, 4)
            await settle()
            await settle()
            assert load.cut() == 4
            assert (crew.busy, load.weight, len(crew.parked)) == (0, 0, 4)
            crew.wake(99)
            await settle()
            assert load.cut() >= 1
        assert (load.weight, load.started, crew.busy, crew.size) == (0, 0, 0, 0)

    run(main)


def test_wakes_as_many_as_asked_the_longest_parked_first(run) -> None:
    async def main() -> None:
        woken = []

        async def work() -> None:
            me = len(crew.parked)
            await crew.park()
            woken.append(me)
            await anyio.sleep_forever()

        crew = crew_of(work)
        async with anyio.create_task_group() as group:
            crew.hire(group, 5)
            await settle()
            crew.wake(2)
            await settle()
            assert sorted(woken) == [0, 1]
            group.cancel_scope.cancel()
        assert (crew.size, crew.busy) == (0, 0)

    run(main)


def test_who_leaves_wakes_another_since_it_might_have_been_the_last_awake(run) -> None:
    async def main() -> None:
        left = []

        async def work() -> None:
            await crew.park()
            left.append(True)

        crew = crew_of(work)
        async with anyio.create_task_group() as group:
            crew.hire(group, 5)
            await settle()
            crew.wake(1)
        assert len(left) == 5

    run(main)


def test_a_crash_is_told_and_passes_on(run) -> None:
    async def main() -> None:
        crashed: list[BaseException] = []

        async def work() -> None:
            raise ValueError("bug")

        crew = crew_of(work, crashed)
        with pytest.raises(ExceptionGroup):
            async with anyio.create_task_group() as group:
                crew.hire(group, 1)
        assert isinstance(crashed[0], ValueError)
        assert (crew.size, crew.busy) == (0, 0)

    run(main)


def test_cancelling_leaves_no_count_behind(run) -> None:
    async def main() -> None:
        load = OperationLoad("work")
        crew = crew_of(lambda: crew.park(), load=load)
        async with anyio.create_task_group() as group:
            crew.hire(group, 3)
            await settle()
            group.cancel_scope.cancel()
        assert (crew.size, crew.busy, load.started) == (0, 0, 0)

    run(main)
