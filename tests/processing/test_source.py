"""Where items come from: `memflow.processing.source`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

from memflow.exceptions import ConfigurationError
from memflow.processing.cadence import Cadence
from memflow.processing.source import AsyncSource, SyncSource, open_source


class Thing:
    pass


async def counting(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await anyio.sleep(0)
        yield number


def opened(items: Any, **options: Any) -> AsyncSource:
    source = open_source(items, cadence=Cadence(), linger_s=options.get("linger_s"))
    assert isinstance(source, AsyncSource)
    return source


async def fed(source: AsyncSource, use: Callable[[], Any]) -> Any:
    """Run `use` while the source is fed."""
    async with anyio.create_task_group() as group:
        group.start_soon(source.feed)
        if source.lingers:
            group.start_soon(source.linger)
        result = await use()
        group.cancel_scope.cancel()
    return result


# ---- what can be a source ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", ["text", b"bytes", bytearray(b"more")])
def test_a_string_is_no_source(items: object) -> None:
    with pytest.raises(ConfigurationError, match="put it in a list"):
        open_source(items, cadence=Cadence(), linger_s=None)


@pytest.mark.parametrize("items", [7, None, object()])
def test_what_cannot_be_iterated_is_named(items: object) -> None:
    with pytest.raises(ConfigurationError, match=type(items).__name__):
        open_source(items, cadence=Cadence(), linger_s=None)


def test_a_function_is_taken_for_a_forgotten_call() -> None:
    with pytest.raises(ConfigurationError, match="call the function"):
        open_source(counting, cadence=Cadence(), linger_s=None)


class OldStyle:
    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise IndexError
        return index


class Unsure:
    """Says that it has a length, and then cannot tell, as loaders of endless data do."""

    def __len__(self) -> int:
        raise TypeError("endless")

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


@pytest.mark.parametrize(
    "items", [[0, 1, 2], (0, 1, 2), range(3), iter([0, 1, 2]), {0: 1, 1: 1, 2: 1}, OldStyle(), Unsure()]
)
def test_every_iterable_is_a_source(items: object) -> None:
    source = open_source(items, cadence=Cadence(), linger_s=None)
    assert isinstance(source, SyncSource)
    assert source.take(10) == [0, 1, 2]
    assert source.ended


# ---- sync -------------------------------------------------------------------------------------------------------


def test_sync_is_pulled_no_further_than_asked() -> None:
    pulled = []
    source = SyncSource(pulled.append(n) or n for n in range(100))
    assert source.length is None
    assert source.take(3) == [0, 1, 2]
    assert pulled == [0, 1, 2]
    assert (source.pulled, source.ended) == (3, False)


def test_sync_knows_its_length_where_it_has_one() -> None:
    assert SyncSource([1, 2]).length == 2
    assert SyncSource(Unsure()).length is None


def test_sync_ends_when_fewer_come_and_stays_ended() -> None:
    source = SyncSource(range(5))
    assert source.take(5) == [0, 1, 2, 3, 4]
    assert not source.ended
    assert source.take(1) == []
    assert source.ended
    assert source.take(1) == []
    assert source.pulled == 5


def test_sync_keeps_what_came_before_an_error() -> None:
    def failing() -> Iterator[int]:
        yield from range(3)
        raise OSError("disk")

    source = SyncSource(failing())
    assert source.take(10) == [0, 1, 2]
    assert source.ended
    assert isinstance(source.error, OSError)
    assert source.pulled == 3


def test_sync_lets_go_of_its_iterable_at_the_end() -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    source = SyncSource(each for each in [thing])
    del thing
    source.take(2)
    gc.collect()
    assert gone() is None


def test_sync_lets_go_early_too() -> None:
    closed = []

    def lines() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    source = SyncSource(lines())
    source.take(2)
    source.let_go()
    assert closed == [True]
    assert source.ended


# ---- async ------------------------------------------------------------------------------------------------------


def test_async_gives_what_is_there_and_wakes_when_more_came(run) -> None:
    async def main() -> None:
        source, woken, got = opened(counting(25)), anyio.Event(), []

        def wake() -> None:
            woken.set()

        source.on_arrival(wake)

        async def use() -> None:
            nonlocal woken
            while not source.ended:
                items = source.take(4)
                assert len(items) <= 4
                got.extend(items)
                if not items and not source.ended:
                    await woken.wait()
                    woken = anyio.Event()

        await fed(source, use)
        assert got == list(range(25))
        assert source.pulled == 25
        assert source.error is None

    run(main)


def test_async_waits_with_no_more_than_was_asked_for(run) -> None:
    produced = 0

    async def eager() -> AsyncIterator[int]:
        nonlocal produced
        while True:
            produced += 1
            yield produced

    async def main() -> None:
        source = opened(eager())

        async def use() -> None:
            for count in (1, 5, 3):
                source.take(count)
                for _ in range(50):
                    await anyio.sleep(0)
                assert len(source._waiting) <= max(count, 5)
                assert produced <= source.pulled + 5

        await fed(source, use)

    run(main)


def test_async_whole_batches_only_until_the_end(run) -> None:
    async def main() -> None:
        source, sizes = opened(counting(10)), []
        woken = anyio.Event()
        source.on_arrival(lambda: woken.set())

        async def use() -> None:
            nonlocal woken
            while not source.ended:
                items = source.take(4, whole=True)
                sizes.append(len(items))
                if not items and not source.ended:
                    await woken.wait()
                    woken = anyio.Event()

        await fed(source, use)
        assert [size for size in sizes if size] == [4, 4, 2]

    run(main)


def test_a_taker_of_whole_batches_is_woken_once_a_batch_not_once_an_item(run) -> None:
    async def main() -> None:
        source, wakes = opened(counting(100)), []
        woken = anyio.Event()

        def wake() -> None:
            wakes.append(len(source._waiting))
            woken.set()

        source.on_arrival(wake)

        async def use() -> None:
            nonlocal woken
            while not source.ended:
                if not source.take(20, whole=True) and not source.ended:
                    await woken.wait()
                    woken = anyio.Event()

        await fed(source, use)
        assert len(wakes) <= 7

    run(main)


def test_async_errors_come_after_the_items(run) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise OSError("network")

    async def main() -> None:
        source = opened(failing())

        async def use() -> None:
            got = []
            while not source.ended:
                got += source.take(1)
                await anyio.sleep(0)
            assert got == [1, 2]
            assert isinstance(source.error, OSError)

        await fed(source, use)

    run(main)


def test_a_stray_cancellation_is_an_error_and_no_end() -> None:
    """Were it taken for the end, the rest of the items would be lost without a word."""
    import asyncio

    async def stray() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    async def main() -> None:
        source = opened(stray())
        source.take(5)
        await source.feed()
        assert source.take(5) == [1]
        assert source.ended
        assert isinstance(source.error, asyncio.CancelledError)

    asyncio.run(main())


def test_a_generator_is_closed_in_the_task_that_ran_it(run) -> None:
    tasks = []

    async def noting() -> AsyncIterator[int]:
        tasks.append(anyio.get_current_task().id)
        try:
            while True:
                yield 1
        finally:
            await anyio.sleep(0)  # may still await: closing is shielded
            tasks.append(anyio.get_current_task().id)

    async def main() -> None:
        source = opened(noting())

        async def use() -> None:
            source.take(3)
            while not source.take(3):
                await anyio.sleep(0)

        await fed(source, use)
        assert len(tasks) == 2
        assert tasks[0] == tasks[1]

    run(main)


def test_an_error_while_closing_is_the_sources_error(run) -> None:
    async def main() -> None:
        class Failing:
            def __aiter__(self) -> Failing:
                return self

            async def __anext__(self) -> int:
                raise StopAsyncIteration

            async def aclose(self) -> None:
                raise OSError("closing")

        source = opened(Failing())
        await source.feed()
        assert isinstance(source.error, OSError)

    run(main)


def test_a_stubborn_generator_holds_nobody_for_ever(run_virtual) -> None:
    async def stubborn() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await anyio.sleep_forever()

    async def main() -> None:
        source = opened(stubborn())
        source.take(5)

        async def use() -> None:
            await anyio.sleep(1)

        began_s = anyio.current_time()
        await fed(source, use)
        assert anyio.current_time() - began_s == pytest.approx(6)

    run_virtual(main)


def test_an_iterator_without_aclose_will_do(run) -> None:
    class Plain:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    async def main() -> None:
        source = opened(Plain())
        source.take(5)
        await source.feed()
        assert source.take(5) == [2, 1, 0]

    run(main)


def test_the_feeder_lets_others_run(run) -> None:
    """A source that never suspends is pulled in slices."""

    async def instant() -> AsyncIterator[int]:
        for number in range(1000):
            yield number

    async def main() -> None:
        ticks = iter(range(10**6))
        cadence = Cadence(slice_s=10, clock=lambda: float(next(ticks)))
        source = AsyncSource(instant(), cadence=cadence)
        source.take(10**6)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await anyio.sleep(0)
                beats += 1

        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            await source.feed()
            group.cancel_scope.cancel()
        assert beats >= 50

    run(main)


def test_letting_go_forgets_what_waits() -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    source = opened(counting(1))
    source._waiting.append(thing)
    del thing
    source.let_go()
    assert gone() is None
    assert source.take(1) == []


# ---- lingering --------------------------------------------------------------------------------------------------


def test_a_part_of_a_batch_goes_out_after_lingering(run_virtual) -> None:
    async def slow() -> AsyncIterator[int]:
        for number in range(3):
            yield number
        await anyio.sleep(100)
        yield 3

    async def main() -> None:
        cadence = Cadence(clock=anyio.current_time)
        source = AsyncSource(slow(), cadence=cadence, linger_s=2.0)
        assert source.lingers
        woken = anyio.Event()
        source.on_arrival(lambda: woken.set())

        async def use() -> None:
            nonlocal woken
            began_s, got = anyio.current_time(), []
            while not source.ended:
                items = source.take(10, whole=True)
                if items:
                    got.append((items, anyio.current_time() - began_s))
                elif not source.ended:
                    await woken.wait()
                    woken = anyio.Event()
            assert [items for items, _ in got] == [[0, 1, 2], [3]]
            assert 2.0 <= got[0][1] <= 3.0

        await fed(source, use)

    run_virtual(main)


def test_lingering_ends_with_the_source(run_virtual) -> None:
    async def main() -> None:
        source = AsyncSource(counting(2), cadence=Cadence(clock=anyio.current_time), linger_s=1.0)
        async with anyio.create_task_group() as group:
            group.start_soon(source.feed)
            group.start_soon(source.linger)
            source.take(5)

    run_virtual(main)
