"""Delivery to subscribers, on asyncio and trio."""

import asyncio
import gc
import threading

import anyio
import anyio.to_thread
import pytest
import trio

from memflow.analysis.channel import EventHub, EventStream, Subscription

BACKENDS = ["asyncio", "trio"]


@pytest.fixture(params=BACKENDS)
def run(request):
    """Run an async test on each event loop, and fail it when it hangs."""

    def run_it(main):
        async def bounded():
            with anyio.fail_after(60):
                return await main()

        return anyio.run(bounded, backend=request.param)

    return run_it


def make_hub(size=4):
    return EventHub(size=size, lost=lambda count: f"lost {count}")


def subscribe(hub, *opening):
    return Subscription(hub, lambda: hub.join(opening))


async def read(stream, count):
    return [await anext(stream) for _ in range(count)]


async def parked(stream):
    while stream._parked is None:
        await anyio.sleep(0)


def test_events_come_in_order_and_the_end_after_the_last(run):
    async def main():
        hub = make_hub()
        async with subscribe(hub) as events:
            hub.publish("a")
            hub.publish("b")
            hub.close()
            assert [event async for event in events] == ["a", "b"]
            with pytest.raises(StopAsyncIteration):
                await anext(events)

    run(main)


def test_a_late_subscriber_gets_what_is_open_first(run):
    async def main():
        hub = make_hub()
        hub.publish("before anybody came")
        async with subscribe(hub, "open") as events:
            hub.publish("new")
            assert await read(events, 2) == ["open", "new"]

    run(main)


def test_a_full_buffer_drops_the_oldest_and_tells_how_many_first(run):
    async def main():
        hub = make_hub(size=3)
        async with subscribe(hub) as events:
            for number in range(10):
                hub.publish(number)
            assert await read(events, 4) == ["lost 7", 7, 8, 9]
            hub.publish("after")
            assert await anext(events) == "after"
            assert hub.dropped == 7
        assert hub.dropped == 7

    run(main)


def test_losses_are_counted_anew_after_each_telling(run):
    async def main():
        hub = make_hub(size=1)
        async with subscribe(hub) as events:
            hub.publish(1)
            hub.publish(2)
            assert await read(events, 2) == ["lost 1", 2]
            hub.publish(3)
            hub.publish(4)
            hub.publish(5)
            assert await read(events, 2) == ["lost 2", 5]

    run(main)


def test_nothing_that_was_lost_goes_untold_when_the_hub_closes(run):
    async def main():
        hub = make_hub(size=1)
        async with subscribe(hub) as events:
            hub.publish(1)
            hub.publish(2)
            hub.close()
            assert [event async for event in events] == ["lost 1", 2]

    run(main)


def test_a_slow_subscriber_slows_and_starves_nobody(run):
    async def main():
        hub = make_hub(size=2)
        async with subscribe(hub) as slow, subscribe(hub) as quick:
            for number in range(5):
                hub.publish(number)
                assert await anext(quick) == number
            assert await read(slow, 3) == ["lost 3", 3, 4]

    run(main)


def test_a_subscriber_that_raises_concerns_nobody_else(run):
    async def main():
        hub = make_hub()

        async def fail():
            async with subscribe(hub) as events:
                hub.publish("a")
                raise KeyError(await anext(events))

        async with subscribe(hub) as other:
            with pytest.raises(KeyError):
                await fail()
            hub.publish("b")
            assert hub.subscribers == 1
            assert await read(other, 2) == ["a", "b"]

    run(main)


def test_a_parked_reader_is_woken_once_something_comes(run):
    async def main():
        hub, got = make_hub(), []

        async def consume(events):
            got.extend([event async for event in events])

        async with subscribe(hub) as events, anyio.create_task_group() as group:
            group.start_soon(consume, events)
            await parked(events)
            hub.publish("a")
            await parked(events)
            hub.close()
        assert got == ["a"]

    run(main)


def test_two_readers_of_one_stream_share_its_events(run):
    async def main():
        hub, got = make_hub(), []

        async def consume(events):
            got.extend([event async for event in events])

        async with subscribe(hub) as events, anyio.create_task_group() as group:
            group.start_soon(consume, events)
            group.start_soon(consume, events)
            await parked(events)
            hub.publish("a")
            hub.publish("b")
            hub.close()
        assert sorted(got) == ["a", "b"]

    run(main)


def test_publishing_from_another_thread_wakes_the_reader(run):
    async def main():
        hub = make_hub(size=1000)

        def publish():
            for number in range(500):
                hub.publish(number)
            hub.close()

        async with subscribe(hub) as events:
            thread = threading.Thread(target=publish)
            thread.start()
            got = [event async for event in events]
            await anyio.to_thread.run_sync(thread.join)
        assert got == list(range(500))

    run(main)


def test_each_wake_from_another_thread_arrives(run):
    """One event at a time, with the reader parked before each: no wake-up may be lost."""

    async def main():
        hub = make_hub()

        async with subscribe(hub) as events, anyio.create_task_group() as group:

            async def publish():
                for number in range(50):
                    await parked(events)
                    await anyio.to_thread.run_sync(hub.publish, number)

            group.start_soon(publish)
            assert await read(events, 50) == list(range(50))

    run(main)


def test_a_cancelled_reader_loses_no_event_and_leaves_nothing(run):
    async def main():
        hub = make_hub()
        async with subscribe(hub) as events:
            with anyio.move_on_after(0.01) as scope:
                await anext(events)
            assert scope.cancelled_caught
            hub.publish("a")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anext(events)
            assert scope.cancelled_caught
            assert await anext(events) == "a"
        assert hub.subscribers == 0

    run(main)


def test_a_cancelled_consumer_is_unsubscribed(run):
    async def main():
        hub = make_hub()

        async def consume():
            async with subscribe(hub) as events:
                async for _ in events:
                    pass

        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            while hub.subscribers == 0:
                await anyio.sleep(0)
            group.cancel_scope.cancel()
        assert hub.subscribers == 0
        hub.publish("to nobody")

    run(main)


def test_cancelled_while_entering_subscribes_nobody(run):
    async def main():
        hub = make_hub()
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with subscribe(hub):
                pytest.fail("a cancelled task must not get in")
        assert hub.subscribers == 0

    run(main)


def test_leaving_early_ends_the_stream_for_whoever_still_reads_it(run):
    async def main():
        hub = make_hub()
        async with anyio.create_task_group() as group, subscribe(hub) as events:

            async def consume():
                assert [event async for event in events] == []

            group.start_soon(consume)
            await parked(events)
        hub.publish("too late")
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    run(main)


def test_joining_a_closed_hub_ends_at_once(run):
    async def main():
        hub = make_hub()
        hub.close()
        hub.close()
        async with subscribe(hub, "open") as events:
            hub.publish("too late")
            assert [event async for event in events] == ["open"]
        assert hub.subscribers == 0

    run(main)


def test_a_subscription_serves_one_subscriber(run):
    async def main():
        subscription = subscribe(make_hub())
        async with subscription:
            with pytest.raises(RuntimeError, match="ask for a new one"):
                await subscription.__aenter__()

    run(main)


def test_a_subscription_that_was_not_entered_cannot_be_read(run):
    async def main():
        with pytest.raises(TypeError, match="__aiter__"):
            async for _ in subscribe(make_hub()):
                pass

    run(main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_whose_loop_is_gone_does_no_harm(backend):
    hub, left = make_hub(size=1), []

    async def main():
        events = hub.join()
        events._parked = anyio.Event()  # as if it was waiting when its loop went away
        left.append(events)

    anyio.run(main, backend=backend)
    hub.publish("a")
    hub.publish("b")
    hub.close()
    assert left[0].dropped_total == 1


def test_joining_outside_an_event_loop_says_so():
    with pytest.raises(RuntimeError):
        make_hub().join()


def test_nothing_is_left_to_the_garbage_collector(run):
    """Warnings are errors here: a stream that is simply forgotten must not complain, or keep anything."""

    async def main():
        hub = make_hub()
        async with subscribe(hub) as events:
            hub.publish("a")
            assert await anext(events) == "a"
        del events
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, EventStream)]

    run(main)


@pytest.mark.asyncio
async def test_runs_in_the_asyncio_runner_and_leaves_no_task():
    hub = make_hub()
    async with subscribe(hub) as events:
        hub.publish("a")
        assert await anext(events) == "a"
        assert asyncio.all_tasks() == {asyncio.current_task()}


def test_runs_on_plain_trio():
    async def main():
        hub = make_hub()
        async with subscribe(hub) as events:
            await trio.to_thread.run_sync(hub.publish, "a")
            assert await anext(events) == "a"

    trio.run(main)
