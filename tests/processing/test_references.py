"""Who holds what, and for how long: no item outlives the delivery of its result."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from memflow.exceptions import BatchFailed
from memflow.processing.processor import BatchProcessor
from memflow.testing import make_processor
from tests.processing.parts import settle


class Thing:
    """An item that can be watched."""

    def __init__(self, number: int) -> None:
        self.number = number


class Watch:
    """Makes things, and tells which are still there."""

    def __init__(self) -> None:
        self._things: list[weakref.ref[Thing]] = []

    def make(self, count: int) -> Iterator[Thing]:
        for number in range(count):
            yield self._one(number)

    async def make_async(self, count: int) -> AsyncIterator[Thing]:
        for number in range(count):
            await anyio.sleep(0)
            yield self._one(number)

    def _one(self, number: int) -> Thing:
        thing = Thing(number)
        self._things.append(weakref.ref(thing))
        return thing

    @property
    def alive(self) -> set[int]:
        return {thing.number for each in self._things if (thing := each()) is not None}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What only the collector would free counts as held."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def processor() -> BatchProcessor:
    return make_processor(concurrency=3, batch_size=3, auto_optimize=False)


async def same(thing: Thing) -> Thing:
    await anyio.sleep(0)
    return thing


async def same_all(things: list[Thing]) -> list[Thing]:
    await anyio.sleep(0)
    return list(things)


async def number_of(thing: Thing) -> int:
    await anyio.sleep(0)
    return thing.number


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("method", ["stream", "stream_batches"])
def test_a_delivered_item_is_let_go(run, method: str, ordered: bool, asynchronous: bool) -> None:
    async def main() -> None:
        watch = Watch()
        source = watch.make_async(300) if asynchronous else watch.make(300)
        async with processor() as p:
            fn = same_all if method == "stream_batches" else same
            async with getattr(p, method)(source, fn, ordered=ordered) as results:
                taken = 0
                async for result in results:
                    number = result.number
                    del result
                    taken += 1
                    assert number not in watch.alive
                    assert len(watch.alive) <= 2 * 3 * 3 + 16 + 16
            assert taken == 300
            assert watch.alive == set()

    run(main)


@pytest.mark.parametrize("hint", [None, lambda thing: 1.5])
def test_an_item_is_let_go_as_soon_as_its_result_is_there(run, hint: Any) -> None:
    """Its result may wait long for earlier ones; the item itself is needed no longer."""

    async def main() -> None:
        watch, go_on = Watch(), anyio.Event()

        async def work(thing: Thing) -> int:
            if thing.number == 0:
                await go_on.wait()
            return thing.number

        async with processor() as p, p.stream(watch.make(10), work, size_hint=hint) as results:
            await settle(50)
            assert watch.alive == {0}
            go_on.set()
            assert [result async for result in results] == list(range(10))
        assert watch.alive == set()

    run(main)


def test_a_result_is_not_held_while_its_worker_is_busy_with_the_next_item(run) -> None:
    async def main() -> None:
        watch, stuck = Watch(), anyio.Event()

        async def work(thing: Thing) -> Thing:
            if thing.number == 5:
                await stuck.wait()
            return thing

        one = make_processor(concurrency=1, auto_optimize=False)
        async with one as p, p.stream(watch.make(10), work) as results:
            for _ in range(5):
                await anext(results)
            await settle()
            assert watch.alive <= {5, 6, 7, 8, 9}
            stuck.set()

    run(main)


def test_sync_functions_hold_nothing_either(run) -> None:
    async def main() -> None:
        watch = Watch()
        async with processor() as p, p.stream(watch.make(50), lambda thing: thing.number) as results:
            async for _ in results:
                pass
            await anyio.sleep(0.01)
            assert watch.alive == set()

    run(main)


@pytest.mark.parametrize("method", ["process", "process_batches"])
def test_process_holds_results_only(run, method: str) -> None:
    async def main() -> None:
        watch, most = Watch(), 0

        async def work(thing: Thing) -> int:
            nonlocal most
            most = max(most, len(watch.alive))
            return thing.number

        async def work_all(things: list[Thing]) -> list[int]:
            return [await work(thing) for thing in things]

        async with processor() as p:
            await getattr(p, method)(watch.make(500), work if method == "process" else work_all)
        assert watch.alive == set()
        assert most <= 3 * 16

    run(main)


@pytest.mark.parametrize("method", ["process", "process_batches"])
@pytest.mark.parametrize("attempts", [1, 2])
def test_collected_failures_pin_neither_items_nor_batches(run, method: str, attempts: int) -> None:
    async def main() -> None:
        watch = Watch()

        async def work(given: Any) -> Any:
            await anyio.sleep(0)
            raise ValueError("no")

        async with make_processor(batch_size=3, attempts=attempts, retry_wait_s=0, auto_optimize=False) as p:
            results = await getattr(p, method)(watch.make(30), work, on_error="collect")
            assert len(results) == 30
            if attempts > 1:
                gc.collect()  # the package that retries makes cycles
            assert watch.alive == set()

    run(main)


def test_a_raised_failure_pins_its_items_only_as_long_as_it_is_held(run) -> None:
    async def main() -> None:
        watch = Watch()

        async def work(thing: Thing) -> int:
            await anyio.sleep(0)
            raise ValueError("no")

        async with processor() as p:
            with pytest.raises(BatchFailed):
                await p.process(watch.make(30), work)
            gc.collect()
            assert watch.alive == set()

    run(main)


def test_leaving_a_stream_early_lets_everything_go_though_the_stream_is_kept(run) -> None:
    async def main() -> None:
        watch = Watch()
        async with processor() as p:
            async with p.stream(watch.make(10**6), same) as results:
                await anext(results)
                await settle()
                assert watch.alive
            gc.collect()
            assert watch.alive == set()
            assert results is not None

    run(main)


def test_a_long_run_keeps_nothing_that_grows(run) -> None:
    async def main() -> None:
        async with processor() as p:
            counts = []
            for _ in range(4):
                async with p.stream(range(3000), _one) as results:
                    async for _ in results:
                        pass
                gc.collect()
                counts.append(len(gc.get_objects()))
            assert counts[-1] - counts[1] < 500

    run(main)


async def _one(item: int) -> int:
    await anyio.sleep(0)
    return item


@pytest.mark.parametrize("method", ["process", "process_batches"])
def test_results_are_let_go_with_the_list_that_the_caller_got(run, method: str) -> None:
    async def main() -> None:
        watch = Watch()
        async with processor() as p:
            results = await getattr(p, method)(watch.make(30), same_all if method == "process_batches" else same)
            assert len(watch.alive) == 30
            del results
            await settle()
            assert watch.alive == set()

    run(main)


def test_results_of_a_call_that_failed_are_let_go(run) -> None:
    """But for the batch that failed, which the traceback of its error pins."""

    async def main() -> None:
        watch = Watch()

        async def fail_late(things: list[Thing]) -> list[Thing]:
            await anyio.sleep(0)
            if things[0].number >= 21:
                raise ValueError(things[0].number)
            return list(things)

        async with processor() as p:
            with pytest.raises(BatchFailed):
                await p.process_batches(watch.make(30), fail_late)
            await settle()
            assert not any(number < 18 for number in watch.alive)

    run(main)
