"""`optimize_process_function`: any number of items in, aligned results out."""

import functools
import threading

import anyio
import pytest

from memflow.exceptions import BatchResultError, ConfigurationError
from memflow.memory.sampler import Sampler
from memflow.settings import BatchOptimizerSettings
from memflow.sizing.optimizer import BatchOptimizer
from memflow.testing import ScriptedProbe

GIB = 1 << 30


def make(**settings):
    probe = ScriptedProbe("100MiB", limit=GIB)
    return BatchOptimizer(BatchOptimizerSettings(**settings), sampler=Sampler(probe=probe)), probe


async def double(batch):
    await anyio.sleep(0)
    return [2 * each for each in batch]


@pytest.mark.parametrize("monitored", [True, False])
def test_results_are_aligned_falsy_ones_too(run, monitored):
    optimizer, probe = make()
    process = optimizer.optimize_process_function(double, monitored=monitored)
    assert run(process, range(105)) == [2 * each for each in range(105)]
    assert run(process, []) == []
    assert (probe.reads > 0) is monitored
    [figures] = optimizer.batch_statistics().operations
    assert (figures.operation, figures.items_done) == ("double", 105)


def test_batches_are_of_the_size_that_is_set(run):
    sizes = []

    async def note(batch):
        sizes.append(len(batch))
        return batch

    optimizer, _ = make(auto_adjust=False, default_batch_size=40)
    run(optimizer.optimize_process_function(note), range(100))
    assert sizes == [40, 40, 20]


def test_a_sync_function_runs_in_a_thread(run):
    threads = set()

    def note(batch):
        threads.add(threading.current_thread())
        return list(batch)

    optimizer, _ = make()
    assert run(optimizer.optimize_process_function(functools.partial(note), operation="noted"), "abc") == [
        "a",
        "b",
        "c",
    ]
    assert threading.main_thread() not in threads
    assert optimizer.batch_statistics().operations[0].operation == "noted"


@pytest.mark.parametrize("returned", [[1], 7])
def test_a_wrong_number_of_results_is_named(run, returned):
    async def wrong(batch):
        return returned

    optimizer, _ = make()
    with pytest.raises(BatchResultError, match="exactly 10 results"):
        run(optimizer.optimize_process_function(wrong), range(30))
    assert optimizer.state.work.drained


def test_the_function_s_own_error_comes_out_bare(run):
    async def fails(batch):
        raise LookupError("gone")

    optimizer, _ = make()
    with pytest.raises(LookupError, match="gone"):
        run(optimizer.optimize_process_function(fails), range(30))
    assert optimizer.state.work.drained


def test_cancelling_leaves_nothing_in_flight(run):
    optimizer, _ = make()

    async def waits(batch):
        await anyio.sleep_forever()

    async def main():
        process = optimizer.optimize_process_function(waits)
        with anyio.move_on_after(0.05) as scope:
            await process(range(30))
        return scope.cancelled_caught

    assert run(main)
    assert optimizer.state.work.drained
    assert optimizer.batch_statistics().operations[0].batches_done == 0


def test_garbage_is_collected_first_when_asked_for(run, monkeypatch):
    collected = []
    monkeypatch.setattr("memflow.sizing.wrapping.gc.collect", lambda: collected.append(1))
    for wanted in (True, False):
        optimizer, _ = make(pre_process_gc=wanted)
        run(optimizer.optimize_process_function(double), range(3))
    assert collected == [1]


def test_the_wrapper_looks_like_the_function():
    optimizer, _ = make()
    assert optimizer.optimize_process_function(double).__name__ == "double"


def test_what_is_not_callable_is_refused():
    with pytest.raises(ConfigurationError, match="fn must be callable, not int"):
        BatchOptimizer().optimize_process_function(3)
