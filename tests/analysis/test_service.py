"""The analyzer by itself, in a service without a processor."""

import time

import anyio
import pytest

from memflow import HeapAnalyzer, HeapAnalyzerSettings, IssueOpened, IssueResolved
from memflow.analysis.detectors import IssueKind
from tests.backends import BACKENDS, run

KEPT = []


def hold_the_loop_here():
    time.sleep(0.6)


async def until(condition, seconds=30):
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.02)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_reads_memory_while_it_is_entered_and_counts_what_is_marked(backend):
    async def main():
        analyzer = HeapAnalyzer()
        async with analyzer:
            analyzer.mark()
            analyzer.mark(items=4)
            analyzer.mark(operation="jobs")
            before = analyzer.state.samples
            await until(lambda: analyzer.state.samples >= before + 3)
            assert analyzer.state.work.items_done() == {"requests": 5, "jobs": 1}
            assert analyzer.analyze().issues == () or analyzer.state.level > 0
        samples = analyzer.state.samples
        await anyio.sleep(0.25)
        assert analyzer.state.samples == samples

    run(backend, main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_blocked_loop_is_told_with_where_and_taken_back(backend):
    async def main():
        events = []
        async with HeapAnalyzer(HeapAnalyzerSettings(loop_blocked_s=0.2)) as analyzer, analyzer.issues() as issues:
            await anyio.sleep(0.3)
            hold_the_loop_here()
            with anyio.fail_after(30):
                async for event in issues:
                    if event.issue.kind is IssueKind.EVENT_LOOP_BLOCKED:
                        events.append(event)
                    if isinstance(event, IssueResolved) and events:
                        break
        assert isinstance(events[0], IssueOpened)
        assert "hold_the_loop_here" in events[0].issue.message
        assert events[0].issue.evidence["blocked_s"] >= 0.2
        assert "answers again" in events[-1].reason

    run(backend, main)


def test_a_reading_that_fails_does_not_end_the_watch(caplog):
    async def main():
        calls = []

        def refresh():
            calls.append(None)
            if len(calls) > 1:
                raise OSError("gone for a moment")

        async with HeapAnalyzer(refresh=refresh):
            await until(lambda: len(calls) >= 4)

    anyio.run(main)
    assert [record.exc_info[0] for record in caplog.records] == [OSError]  # told once, and counted


def test_it_is_entered_once():
    async def main():
        analyzer = HeapAnalyzer()
        async with analyzer:
            with pytest.raises(RuntimeError, match="make one for each"):
                await analyzer.__aenter__()
        with pytest.raises(RuntimeError, match="make one for each"):
            await analyzer.__aenter__()

    anyio.run(main)


def test_a_leak_is_named_and_told():
    """Some 100 kB/s in a module attribute: a service that leaks in its handler."""

    async def main():
        settings = HeapAnalyzerSettings(leak_threshold_rate=0.5, min_window_s=1.0)
        analyzer = HeapAnalyzer(settings)

        async def serve():
            while True:
                KEPT.append(bytearray(1000))
                analyzer.mark()
                await anyio.sleep(0.005)

        async with analyzer, analyzer.issues() as issues, anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            with anyio.fail_after(60):
                async for event in issues:
                    if event.issue.kind is IssueKind.SUSPECTED_LEAK and event.issue.suspects:
                        break
            tasks.cancel_scope.cancel()
            return event.issue

    try:
        issue = anyio.run(main)
    finally:
        KEPT.clear()
    assert issue.operation == "requests"
    assert "KEPT" in str(issue.suspects[0])
    assert issue.evidence["growth_bytes_per_item"] == pytest.approx(1100, rel=0.5)
