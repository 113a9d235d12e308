"""What is in flight: `memflow.memory.work`."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.work import OperationLoad, WorkLedger


def test_a_cut_tells_the_largest_weight_since_the_last() -> None:
    load = OperationLoad("embed")
    for weight in (1, 2, 3):
        load.start(weight)
    load.stop(3)
    load.stop(2)
    assert load.cut() == 6
    assert load.cut() == 1
    load.stop(1)
    assert load.cut() == 1
    assert load.cut() == 0


def test_items_done_add_up() -> None:
    load = OperationLoad("embed")
    load.finish(3)
    load.finish(4)
    assert load.items_done == 7


def test_the_ledger_tells_operations_apart() -> None:
    ledger = WorkLedger()
    ledger.load("embed").start(10)
    ledger.load("fetch").start(2)
    ledger.load("fetch").finish(5)
    ledger.load("rest")
    assert ledger.cut() == {"embed": 10, "fetch": 2}
    assert ledger.items_done() == {"embed": 0, "fetch": 5, "rest": 0}


def test_the_same_name_is_the_same_load() -> None:
    ledger = WorkLedger()
    assert ledger.load("embed") is ledger.load("embed")


def test_drained_is_when_nothing_is_in_flight() -> None:
    ledger = WorkLedger()
    assert ledger.drained
    ledger.load("a").start(1)
    ledger.load("b").start(1)
    ledger.load("a").stop(1)
    assert not ledger.drained
    ledger.load("b").stop(1)
    assert ledger.drained


def test_work_of_no_weight_is_still_in_flight() -> None:
    ledger = WorkLedger()
    ledger.load("empty files").start(0)
    assert not ledger.drained
    ledger.load("empty files").stop(0)
    assert ledger.drained


@given(st.lists(st.floats(0, 1e15), min_size=1, max_size=30), st.randoms())
def test_no_residue_of_floats_looks_like_work(weights: list[float], random) -> None:
    ledger = WorkLedger()
    load = ledger.load("hinted")
    for weight in weights:
        load.start(weight)
    random.shuffle(weights)
    for weight in weights[:-1]:
        load.stop(weight)
        assert load.weight >= 0
    assert not ledger.drained
    load.stop(weights[-1])
    assert ledger.drained
    assert load.weight == 0
    load.cut()
    assert ledger.cut() == {}


def test_changes_from_many_threads_are_whole() -> None:
    ledger = WorkLedger()

    def work() -> None:
        for _ in range(2000):
            load = ledger.load("threads")
            load.start(1.5)
            load.finish(1)
            load.stop(1.5)
            ledger.cut()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.drained
    assert ledger.items_done() == {"threads": 8000}
