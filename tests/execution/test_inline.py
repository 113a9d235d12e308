"""Running on the loop: `memflow.execution.inline`."""

from __future__ import annotations

from memflow.execution.inline import LoopExecutor


async def work(item: object) -> object:
    return item


def test_nothing_stands_between() -> None:
    executor = LoopExecutor()
    assert executor.bind(work, max_in_flight=lambda: 1) is work
    assert executor.in_threads is False
