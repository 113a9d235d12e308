"""What is told on request."""

import gc

import pytest

from memflow.analysis import report
from memflow.analysis.detectors import Thresholds
from memflow.analysis.growth_watch import GrowthWatch
from memflow.analysis.report import advice_without_issue, limits_of_judgement, make_statistics
from memflow.memory.readings import AllocatorReading, MemoryReading

READING = MemoryReading(1.0, 300, 400, 500, 1000)


@pytest.fixture
def watch():
    return GrowthWatch(Thresholds(), lambda: AllocatorReading(1, None, None))


def test_statistics_join_what_was_read():
    found = make_statistics(READING, limit_source="a test", peak_rss_bytes=450, allocator=AllocatorReading(7, 8, 9))
    assert (found.available_bytes, found.utilization_pct, found.peak_rss_bytes) == (500, 50.0, 450)
    assert (found.allocator_blocks, found.native_live_bytes, found.native_free_bytes) == (7, 8, 9)
    assert found.gc_collections == sum(each["collections"] for each in gc.get_stats())
    assert str(found) == "500 B of 1000 B in use (50 %, a test), RSS 300 B, peak 450 B"


def test_a_collector_that_is_off_while_objects_wait_is_worth_a_word(watch, monkeypatch):
    monkeypatch.setattr(report, "MANY_WAITING", 10)
    assert list(advice_without_issue(watch, READING)) == []
    gc.disable()
    try:
        kept = [[] for _ in range(1000)]
        assert ["gc.enable()" in each for each in advice_without_issue(watch, READING)] == [True]
        assert len(kept) == 1000
    finally:
        gc.enable()


def test_limits_are_told(watch):
    (too_short,) = limits_of_judgement(watch, READING, faults=0)
    assert "there are 0 samples over 0.0 s, and it takes 57 over 3 s (min_window_s)" in too_short
    watch.agreeing = 2
    watch.allocator = AllocatorReading(1, None, None)
    notes = list(limits_of_judgement(watch, READING, faults=3))
    assert "seen in the last 2 looks; 3 in a row make an issue" in notes[1]
    assert "native growth shows in RSS alone" in notes[2]
    assert "3 analyses failed" in notes[3]
