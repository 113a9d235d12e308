"""When others run: `memflow.processing.cadence`."""

from __future__ import annotations

import anyio

from memflow.processing.cadence import Cadence


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_slice_is_over_after_its_time() -> None:
    clock = Clock()
    cadence = Cadence(slice_s=0.5, clock=clock)
    assert not cadence.due()
    clock.now_s = 0.49
    assert not cadence.due()
    clock.now_s = 0.5
    assert cadence.due()


def test_a_slice_is_shorter_than_a_millisecond_by_default() -> None:
    clock = Clock()
    assert Cadence(clock=clock).deadline_s < 0.001


def test_who_has_waited_opens_the_next_slice_at_once() -> None:
    clock = Clock()
    cadence = Cadence(slice_s=0.5, clock=clock)
    clock.now_s = 0.3
    cadence.resume()
    assert cadence.deadline_s == 0.8
    clock.now_s = 0.6
    cadence.resume()
    assert cadence.deadline_s == 1.1


def test_a_checkpoint_lets_others_run_and_opens_the_next_slice(run) -> None:
    async def main() -> None:
        clock, others = Clock(), []
        cadence = Cadence(slice_s=0.5, clock=clock)

        async def other() -> None:
            others.append(cadence.deadline_s)

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            clock.now_s = 0.7
            while not others:
                await cadence.checkpoint()
            assert cadence.deadline_s == 1.2
        assert others[0] in (0.5, 1.2)

    run(main)


def test_only_the_first_to_be_resumed_opens_the_next_slice(run) -> None:
    async def main() -> None:
        clock = Clock()
        cadence = Cadence(slice_s=0.5, clock=clock)
        clock.now_s = 1.0

        async def goes_on() -> None:
            await cadence.checkpoint()
            seen.append(cadence.deadline_s)
            clock.now_s += 0.1

        seen: list[float] = []
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(goes_on)
        assert seen == [1.5, 1.5, 1.5]

    run(main)


def test_a_checkpoint_can_be_cancelled(run) -> None:
    async def main() -> None:
        cadence = Cadence()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await cadence.checkpoint()
        assert scope.cancelled_caught

    run(main)
