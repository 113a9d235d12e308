"""Counters of a processor: `memflow.processing.totals`."""

from __future__ import annotations

from memflow.processing.outcome import SizeChange
from memflow.processing.totals import Totals


def test_elapsed_counts_only_time_with_a_call_open() -> None:
    totals = Totals()
    assert totals.elapsed_s(5.0) == 0
    totals.call_opened(10.0)
    assert totals.elapsed_s(12.0) == 2
    totals.call_closed(13.0)
    assert totals.elapsed_s(99.0) == 3
    totals.call_opened(100.0)
    assert totals.elapsed_s(101.0) == 4


def test_overlapping_calls_count_once() -> None:
    totals = Totals()
    totals.call_opened(0.0)
    totals.call_opened(1.0)
    totals.call_closed(2.0)
    assert (totals.calls_open, totals.elapsed_s(3.0)) == (1, 3)
    totals.call_closed(4.0)
    assert (totals.calls_open, totals.elapsed_s(9.0)) == (0, 4)


def test_batches_add_up() -> None:
    totals = Totals()
    totals.items_in_flight = 30
    totals.batch_finished(10, 0)
    totals.batch_finished(20, 3)
    assert (totals.batches_done, totals.items_done, totals.items_failed, totals.items_in_flight) == (2, 27, 3, 0)


def test_sizes_are_noted_when_they_change() -> None:
    totals = Totals()
    totals.call_opened(10.0)
    totals.note_sizes("a", 5, 2, 10.0)
    totals.note_sizes("a", 5, 2, 11.0)
    totals.note_sizes("b", 5, 2, 12.0)
    totals.note_sizes("a", 6, 2, 13.0)
    assert list(totals.size_changes) == [
        SizeChange(0.0, "a", 5, 2),
        SizeChange(2.0, "b", 5, 2),
        SizeChange(3.0, "a", 6, 2),
    ]
    assert (totals.batch_size, totals.concurrency) == (6, 2)


def test_size_changes_are_bounded() -> None:
    totals = Totals()
    for n in range(1000):
        totals.note_sizes("a", n, 1, float(n))
    assert len(totals.size_changes) == 256
    assert totals.size_changes[-1].batch_size == 999


def test_retries_count() -> None:
    totals = Totals()
    totals.count_retry()
    totals.count_retry()
    assert totals.retries == 2
