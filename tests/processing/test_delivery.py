"""Results between workers and consumer: `memflow.processing.delivery`."""

from __future__ import annotations

import anyio
from hypothesis import given
from hypothesis import strategies as st

from memflow.processing.batch import Batch
from memflow.processing.delivery import Delivery


def batch(*results: object, start: int = 0) -> Batch:
    made = Batch(start, list(results), None, full=True)
    made.results[:] = results
    return made


def test_kept_results_come_in_the_order_of_the_batches() -> None:
    delivery = Delivery(ordered=True, keep=True)
    delivery.expect(batch(None, 0))
    delivery.expect(batch(False, ""))
    assert delivery.take_results() == [None, 0, False, ""]
    assert not delivery.line


def test_ordered_batches_stand_in_line() -> None:
    delivery = Delivery(ordered=True, keep=False)
    first, second = batch(1), batch(2)
    delivery.expect(first)
    delivery.expect(second)
    assert list(delivery.line) == [first, second]


def test_unordered_batches_need_no_place() -> None:
    delivery = Delivery(ordered=False, keep=False)
    delivery.expect(batch(1))
    assert not delivery.line


@given(st.integers(1, 1000), st.integers(0, 5000), st.integers(0, 5000))
def test_room_is_what_the_window_leaves(in_flight: int, handed: int, delivered: int) -> None:
    delivery = Delivery(ordered=True, keep=False)
    delivery.handed, delivery.delivered = handed, delivered
    assert delivery.room(in_flight) == 2 * in_flight + 16 - (handed - delivered)


def test_what_is_kept_for_a_list_waits_for_nobody() -> None:
    delivery = Delivery(ordered=True, keep=True)
    delivery.handed = 10**6
    assert delivery.room(1) > 10**6


def test_one_event_wakes_for_a_whole_burst(run) -> None:
    async def main() -> None:
        delivery, woken = Delivery(ordered=False, keep=False), 0

        async def consume() -> None:
            nonlocal woken
            await delivery.wait_result()
            woken += 1

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(consume)
            while delivery.awaited is None:
                await anyio.sleep(0)
            for _ in range(5):
                await anyio.sleep(0)
            delivery.tell()
            delivery.tell()
        assert woken == 3
        assert delivery.awaited is None

    run(main)


def test_clearing_forgets() -> None:
    delivery = Delivery(ordered=True, keep=False)
    delivery.expect(batch(1))
    delivery.ready.append(1)
    delivery.clear()
    assert not delivery.line
    assert not delivery.ready
