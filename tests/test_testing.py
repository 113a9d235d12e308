"""Fakes for users' own tests: `memflow.testing`."""

from __future__ import annotations

import doctest

import anyio
import pytest
from pydantic import ValidationError

import memflow.testing
from memflow.analysis.analyzer import HeapAnalyzer
from memflow.analysis.issues import IssueOpened, IssueResolved
from memflow.exceptions import ConfigurationError, MemflowError
from memflow.memory.probe import MemoryProbe
from memflow.memory.readings import MemoryReading
from memflow.processing.processor import BatchProcessor
from memflow.settings import BatchProcessorSettings, MemflowSettings
from memflow.testing import ScriptedProbe, collect_events, make_processor
from tests.memory.probe_conformance import ProbeConformance

MIB, GIB = 2**20, 2**30


class TestScriptedProbe(ProbeConformance):
    rss_moves = False

    def make_probe(self) -> MemoryProbe:
        return ScriptedProbe()


class TestScriptedProbeWithAList(ProbeConformance):
    rss_moves = False

    def make_probe(self) -> MemoryProbe:
        return ScriptedProbe([100 * MIB, "200MiB", MemoryReading(0.0, 1, 2, 3, 4)], exact_peaks=False)


class TestScriptedProbeWithACallable(ProbeConformance):
    rss_moves = False

    def make_probe(self) -> MemoryProbe:
        return ScriptedProbe(lambda now_s: 100 * MIB + int(now_s))


# ---- scripts ----------------------------------------------------------------------------------------------------


def reads(probe: ScriptedProbe, count: int) -> list[int]:
    return [probe.read(float(n)).in_use_bytes for n in range(count)]


def test_a_single_step_is_given_for_ever() -> None:
    assert reads(ScriptedProbe(7), 3) == [7, 7, 7]
    assert reads(ScriptedProbe("1KiB"), 2) == [1024, 1024]


def test_a_list_is_gone_through_once_and_its_last_step_stays() -> None:
    assert reads(ScriptedProbe([1, "2KiB", 3]), 5) == [1, 2048, 3, 3, 3]
    assert reads(ScriptedProbe(iter([5])), 2) == [5, 5]


def test_a_generator_is_followed_lazily() -> None:
    def growing() -> object:
        size = 0
        while True:
            size += 10
            yield size

    assert reads(ScriptedProbe(growing()), 3) == [10, 20, 30]


def test_a_callable_gets_the_time() -> None:
    assert reads(ScriptedProbe(lambda now_s: int(now_s) * 100), 3) == [0, 100, 200]


def test_an_error_is_raised_in_its_turn() -> None:
    probe = ScriptedProbe([1, OSError("gone"), 2])
    assert probe.read(0.0).rss_bytes == 1
    with pytest.raises(OSError, match="gone"):
        probe.read(0.0)
    assert probe.read(0.0).rss_bytes == 2


def test_a_whole_reading_sets_each_figure_but_time_and_limit() -> None:
    probe = ScriptedProbe(MemoryReading(99.0, 10, 20, 30, 40), limit=50)
    assert probe.read(1.0) == MemoryReading(1.0, 10, 20, 30, 50)


@pytest.mark.parametrize("script", [[], iter([])])
def test_an_empty_script_is_refused(script: object) -> None:
    with pytest.raises(ConfigurationError, match="give at least one reading"):
        ScriptedProbe(script)  # type: ignore[arg-type]


def test_script_and_limit_can_be_set_midway() -> None:
    probe = ScriptedProbe(1, limit="1GiB", source="a test")
    probe.read(0.0)
    probe.set([2, 3])
    probe.limit_bytes = 500
    assert reads(probe, 3) == [2, 3, 3]
    assert probe.limit(0.0).limit_bytes == probe.read(0.0).limit_bytes == 500
    assert probe.limit(0.0).source == "a test"


def test_it_counts_what_it_was_asked() -> None:
    probe = ScriptedProbe()
    probe.read(0.0)
    probe.read(0.0, boundary=True)
    probe.limit(0.0)
    assert (probe.reads, probe.boundary_reads, probe.limits) == (2, 1, 1)
    assert not probe.closed
    probe.close()
    assert probe.closed
    with pytest.raises(MemflowError):
        probe.read(0.0)
    assert probe.reads == 2


# ---- events -----------------------------------------------------------------------------------------------------


def near_the_limit() -> tuple[BatchProcessor, ScriptedProbe]:
    probe = ScriptedProbe("1000MiB", limit="1GiB")
    return make_processor(probe), probe


def test_events_are_gathered_from_a_processor_or_an_analyzer(run) -> None:
    async def main() -> None:
        processor, probe = near_the_limit()
        async with collect_events(processor) as events, collect_events(processor.memory.analyzer) as same:
            processor.memory.monitor()
            probe.set(0)
            processor.memory.monitor()
        assert [type(each) for each in events] == [IssueOpened, IssueResolved]
        assert same == events
        await processor.aclose()

    run(main)


def test_events_can_be_seen_while_they_come(run) -> None:
    async def main() -> None:
        processor, _ = near_the_limit()
        async with collect_events(processor) as events:
            processor.memory.monitor()
            with anyio.fail_after(60):
                while not events:
                    await anyio.sleep(0)

    run(main)


def test_no_event_is_an_empty_list(run) -> None:
    async def main() -> None:
        async with collect_events(HeapAnalyzer()) as events:
            pass
        assert events == []

    run(main)


def test_what_the_body_raises_arrives_bare(run) -> None:
    async def main() -> None:
        processor, _ = near_the_limit()
        with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - raised on the way out
            async with collect_events(processor) as events:
                processor.memory.monitor()
                raise KeyError("mine")
        assert len(events) == 1

    run(main)


def test_gathering_can_be_cancelled(run) -> None:
    async def main() -> None:
        processor, _ = near_the_limit()
        with anyio.CancelScope() as scope:
            async with collect_events(processor):
                scope.cancel()
                await anyio.sleep(0)
        assert scope.cancelled_caught

    run(main)


def test_it_ends_with_the_processor(run) -> None:
    async def main() -> None:
        processor, _ = near_the_limit()
        async with collect_events(processor) as events:
            processor.memory.monitor()
            await processor.aclose()
        assert len(events) == 1

    run(main)


# ---- processors -------------------------------------------------------------------------------------------------


async def double(item: int) -> int:
    return item * 2


def test_a_processor_reads_through_the_probe_alone(run) -> None:
    async def main() -> None:
        probe = ScriptedProbe("200MiB", limit="2GiB")
        async with make_processor(probe, concurrency=3) as processor:
            assert await processor.process(range(5), double) == [0, 2, 4, 6, 8]
            statistics = processor.statistics()
            assert (statistics.in_use_bytes, statistics.limit_bytes) == (200 * MIB, 2 * GIB)
        assert probe.boundary_reads >= 2
        assert not probe.closed

    run(main)


def test_processors_share_no_state() -> None:
    assert make_processor().memory.state is not make_processor().memory.state


def test_variables_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "77")
    assert make_processor().settings.concurrency is None
    assert make_processor(concurrency=3).settings.concurrency == 3


def test_settings_and_a_wrapper_can_be_given(run) -> None:
    async def main() -> None:
        def shout(function: object) -> object:
            async def wrapped(item: str) -> str:
                return (await function(item)).upper()  # type: ignore[operator]

            return wrapped

        async def same(item: str) -> str:
            return item

        settings = MemflowSettings(batch_processor=BatchProcessorSettings(process_name="mine"))
        async with make_processor(settings=settings, retry=shout) as processor:  # type: ignore[arg-type]
            assert processor.settings.process_name == "mine"
            assert await processor.process(["a", "b"], same) == ["A", "B"]

    run(main)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValidationError):
        make_processor(concurrency=-1)


def test_the_examples_run() -> None:
    assert doctest.testmod(memflow.testing).failed == 0


def test_all_is_what_there_is() -> None:
    assert sorted(memflow.testing.__all__) == memflow.testing.__all__
    assert all(getattr(memflow.testing, name).__doc__ for name in memflow.testing.__all__ if name != "Step")
