"""A function that blocks the event loop is told beside a processor, while it does and after."""

import time

import anyio
import pytest

from memflow import BatchProcessor, IssueKind, IssueOpened, IssueResolved, MemflowSettings

SETTINGS = MemflowSettings(
    heap_analyzer={"loop_blocked_s": 0.2, "sustained_s": 0.1, "update_interval_s": 0.1, "find_suspects": False},
    batch_processor={"process_name": "service"},
)


def is_told(processor):
    return any("hold_the_loop_here" in issue.message for issue in processor.memory.analyzer.open_issues)


def hold_the_loop_here(processor):
    """Until that is told, however slow the machine."""
    give_up_s = time.monotonic() + 20
    while not is_told(processor) and time.monotonic() < give_up_s:
        time.sleep(0.02)


def test_it_is_told_while_it_lasts_with_where_and_whose_and_taken_back(run):
    async def main():
        told_meanwhile = []

        async def work(k):
            if k == 3:
                while processor.memory.analyzer._sole_operation() is None:  # until a reading has seen the work
                    await anyio.sleep(0.01)
                hold_the_loop_here(processor)
                told_meanwhile.append(is_told(processor))
            await anyio.sleep(0)
            return k

        async with BatchProcessor(SETTINGS) as processor, processor.issues() as issues:
            assert await processor.process(range(20), work) == list(range(20))
            assert told_meanwhile == [True]
            assert not is_told(processor)
            events = []
            async for event in issues:
                if event.issue is not None and event.issue.kind is IssueKind.EVENT_LOOP_BLOCKED:
                    events.append(event)
                if isinstance(event, IssueResolved) and events:
                    break
        assert isinstance(events[0], IssueOpened)
        told = next(event.issue for event in events if "hold_the_loop_here" in event.issue.message)
        assert told.operation == "service.work"
        assert told.evidence["blocked_s"] >= 0.2
        assert "the event loop answers again" in events[-1].reason

    run(main)


@pytest.mark.parametrize("how", ["stream", "process_batches"])
def test_nothing_is_watched_after_the_last_call(run, how):
    async def main():
        async with BatchProcessor(SETTINGS) as processor:
            watch = processor.memory.analyzer._loops._thread
            seen = []

            async def work(items):
                seen.append(len(watch._loops))
                return items

            if how == "stream":
                async with processor.stream(range(3), work) as results:
                    assert [result async for result in results] == [0, 1, 2]
            else:
                await processor.process_batches(range(3), work)
            assert set(seen) == {1}
            assert watch._loops == {}
            while watch._running:
                await anyio.sleep(0.02)

    run(main)


@pytest.mark.parametrize("off", ["detect_memory_issues", "memory_monitoring"])
def test_nothing_is_watched_where_that_is_switched_off(run, off):
    async def main():
        async with BatchProcessor(**{off: False}) as processor:
            watch = processor.memory.analyzer._loops._thread

            async def work(item):
                assert watch._loops == {}

            await processor.process(range(3), work)

    run(main)
