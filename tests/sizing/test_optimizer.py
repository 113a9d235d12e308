"""The face of sizing."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memflow.exceptions import ConfigurationError
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import AllocatorReading, MemoryReading, MemoryWindow
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import BatchOptimizerSettings
from memflow.sizing.decisions import Reason
from memflow.sizing.optimizer import BatchOptimizer

MIB = 1 << 20
BASE = 100 * MIB


@pytest.fixture(autouse=True)
def _heap(monkeypatch):
    """No test here depends on this process's heap."""
    monkeypatch.setattr(MemoryState, "allocator", lambda self: AllocatorReading(0, 10 * MIB, 0))


def learnt(*, in_use=BASE, limit=1000 * MIB, **settings):
    """An optimizer that knows 1 MiB an item, and its state."""
    state = MemoryState()
    optimizer = BatchOptimizer(BatchOptimizerSettings(**settings), state=state)
    for number in range(6):
        reading = MemoryReading(number * 0.2, BASE, BASE + 10 * MIB * (number > 0), BASE, limit)
        window = MemoryWindow(BASE, reading, {"embed": 10.0} if number else {}, {}, not number)
        state.accept(window, PressureLevel.NORMAL)
    last = MemoryReading(2.0, in_use, in_use, in_use, limit)
    state.accept(MemoryWindow(in_use, last, {}, {}, True), PressureLevel.NORMAL)
    return optimizer, state


def opened(optimizer, **more):
    arguments = {"kind": "batches", "batch_size": None, "concurrency": None, "auto": True, "now_s": 0.0, **more}
    return optimizer.open_call("embed", **arguments)


def test_the_default_where_nothing_was_learnt():
    optimizer = BatchOptimizer()
    assert optimizer.calculate_optimal_batch_size(1000, operation="new") == 10
    assert optimizer.calculate_optimal_batch_size([1, 2, 3]) == 3
    assert optimizer.calculate_optimal_batch_size([]) == 1


def test_live_memory_and_learnt_bytes_decide():
    roomy, _ = learnt()
    tight, _ = learnt(in_use=690 * MIB)
    full, _ = learnt(in_use=990 * MIB)
    assert roomy.calculate_optimal_batch_size(10_000, operation="embed") == 600
    assert tight.calculate_optimal_batch_size(10_000, operation="embed") == 10
    assert full.calculate_optimal_batch_size(10_000, operation="embed") == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.integers(0, 10**6), least=st.integers(1, 50), most=st.integers(50, 500))
def test_bounds_hold_and_there_is_no_more_than_there_is_to_do(items, least, most):
    optimizer, _ = learnt(min_batch_size=least, max_batch_size=most, default_batch_size=50)
    size = optimizer.calculate_optimal_batch_size(items, operation="embed")
    assert 1 <= size <= max(1, items)
    assert size <= most
    assert size >= min(least, max(1, items))


def test_a_negative_count_is_refused():
    with pytest.raises(ConfigurationError, match="items=-1 must not be negative"):
        BatchOptimizer().calculate_optimal_batch_size(-1)


def test_calls_start_at_what_is_given_or_at_the_default():
    optimizer = BatchOptimizer()
    default, given_ = opened(optimizer), opened(optimizer, batch_size=96, concurrency=3)
    assert (default.batch_size, default.concurrency) == (10, 8)
    assert (given_.batch_size, given_.concurrency) == (96, 3)


def test_threads_start_within_their_bound_unless_more_is_asked_for():
    optimizer = BatchOptimizer()
    assert opened(optimizer, concurrency=200, threads=True).concurrency == 200


def test_two_calls_of_one_name_and_another_kind_are_two_operations():
    optimizer = BatchOptimizer()
    opened(optimizer)
    opened(optimizer, kind="items")
    assert [each.kind for each in optimizer.batch_statistics().operations] == ["items"]


def test_auto_adjust_off_wins():
    sizer = opened(BatchOptimizer(BatchOptimizerSettings(auto_adjust=False)))
    for number in range(100):
        sizer.finished(items=10, weight=10.0, seconds=0.01, full=True, in_flight=8, now_s=number * 0.1)
    assert (sizer.batch_size, sizer.concurrency) == (10, 8)


def run(optimizer, batches=40):
    sizer = opened(optimizer)
    now_s = 0.0
    for _ in range(batches):
        taken = 0.02 + 0.001 * sizer.batch_size
        now_s += taken
        size = sizer.batch_size
        sizer.finished(items=size, weight=float(size), seconds=taken, full=True, in_flight=1, now_s=now_s + 1e-6)
    return sizer


def test_statistics_and_explanations_of_a_run():
    optimizer, _ = learnt()
    sizer = run(optimizer)
    [figures] = optimizer.batch_statistics().operations
    assert (figures.operation, figures.batches_done, figures.batch_size) == ("embed", 40, sizer.batch_size)
    assert figures.bytes_per_item == MIB
    assert optimizer.explain() == optimizer.explain("embed")
    assert optimizer.explain("embed")[0].reason is Reason.GROWTH_CAP
    assert optimizer.explain("nobody") == ()


def test_an_optimizer_listens_to_its_state_without_keeping_it():
    optimizer, state = learnt()
    assert optimizer._learning.cost("embed").bytes_per_weight == MIB
    del optimizer
    reading = MemoryReading(9.0, BASE, BASE, BASE, 10**9)
    state.accept(MemoryWindow(BASE, reading, {}, {}, True), PressureLevel.NORMAL)


def test_decisions_are_logged_when_asked_for(caplog):
    with caplog.at_level(logging.DEBUG, logger="memflow.sizing"):
        optimizer, _ = learnt(debug=True)
        run(optimizer)
    assert any("items a batch, since" in each.getMessage() for each in caplog.records)
    caplog.clear()
    run(learnt()[0])
    assert not caplog.records


def test_state_and_sampler_must_belong_together():
    sampler = Sampler()
    assert BatchOptimizer(sampler=sampler).state is sampler.state
    with pytest.raises(ConfigurationError, match="different memory states"):
        BatchOptimizer(state=MemoryState(), sampler=sampler)
