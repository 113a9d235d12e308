"""What is looked at is let go before others run, so that nothing lives longer for being looked at."""

import gc
import threading
import weakref

import pytest

from memflow.analysis import objects
from memflow.analysis.objects import tracked_objects
from memflow.analysis.pace import Pace
from memflow.analysis.snapshots import SLICE, scan, take_snapshot
from memflow.analysis.suspects import find_suspects
from memflow.memory.pins import Pins


class Thing:
    """Can be watched as it ends."""


class Looks:
    """A pace whose turns end with each slice; `sleeping` is what the program does meanwhile."""

    def __init__(self, sleeping=lambda: None):
        self.pins, self.sleeps, self._used_s = Pins(), 0, 0.0
        self._sleeping = sleeping
        self.pace = Pace(1e9, pins=self.pins, used=self._use, clock=lambda: 0.0, sleep=self._sleep)

    def _use(self):
        self._used_s += 1.0
        return self._used_s

    def _sleep(self, seconds):
        self.sleeps += 1
        assert not self.pins.holding
        self._sleeping()


@pytest.fixture
def heap():
    """Objects for several slices, with a few at the end that can be watched."""
    kept = [[n] for n in range(5 * SLICE)]
    kept += [[Thing()] for _ in range(50)]
    gc.collect()
    return kept


def test_what_the_program_lets_go_of_while_the_look_sleeps_is_gone_at_once(heap):
    watched = [weakref.ref(holder[0]) for holder in heap[-50:]]
    alive = []

    def let_go():
        heap.clear()
        alive.append(sum(each() is not None for each in watched))

    looks = Looks(let_go)
    scan(looks.pace, set(), lambda objects, is_new: None)
    assert looks.sleeps > 1
    assert alive[0] == 0


def test_what_is_in_hand_is_let_go_when_a_look_fails(heap):
    watched, looks, seen = weakref.ref(heap[-1][0]), Looks(), []

    def fail(objects, is_new):
        seen.append(objects)
        assert objects
        assert looks.pins.holding == 1
        heap.clear()
        raise MemoryError

    with pytest.raises(MemoryError):
        scan(looks.pace, set(), fail)
    assert seen == [[]]
    assert looks.pins.holding == 0
    assert watched() is None


def test_in_several_turns_everything_is_met_once(heap):
    looks, met = Looks(), []
    scan(looks.pace, set(), lambda objects, is_new: met.extend(map(id, objects)))
    assert looks.sleeps > 1
    assert {met.count(id(each)) for each in heap[:: len(heap) // 50]} == {1}


def test_its_own_lists_are_known_while_they_are_there_and_no_longer(heap):
    mine, known = set(), []
    scan(Looks().pace, mine, lambda objects, is_new: known.append(id(objects) in mine))
    assert all(known)
    assert not mine


def test_in_one_turn_nobody_else_runs(heap):
    looks, slices = Looks(), []
    scan(looks.pace.breathless(), set(), lambda objects, is_new: slices.append(len(objects)))
    assert len(slices) > 5
    assert looks.sleeps == 0


def test_while_holders_are_looked_for_what_ends_is_let_go():
    """A thread looks all the time; of what the program makes and drops, never much is alive at once."""
    kept, alive, most = {}, set(), 0
    noise = [{"n": [n]} for n in range(60_000)]
    gc.collect()
    before, ended = take_snapshot(budget_s=60), threading.Event()

    def look():
        for n in range(500):
            kept[n] = Thing()
        find_suspects(before, take_snapshot(budget_s=60), items=500, budget_s=60)
        ended.set()

    thread = threading.Thread(target=look)
    thread.start()
    made = 0
    while not ended.wait(0.001):
        thing = Thing()
        thing.load = [bytearray(1000) for _ in range(30)]
        alive.add(made)
        weakref.finalize(thing, alive.discard, made).atexit = False
        made += 1
        most = max(most, len(alive))
        del thing
    thread.join()
    assert made > 20
    assert most < 0.8 * made
    assert noise


def test_two_may_look_at_the_same_time():
    """Each of them finds the other's lists among what lives, and holds them."""
    held, failed, ended = [[n] for n in range(20_000)], [], threading.Event()

    def look():
        try:
            while not ended.is_set():
                take_snapshot(budget_s=60)
        except Exception as error:
            failed.append(error)

    others = [threading.Thread(target=look) for _ in range(2)]
    for each in others:
        each.start()
    for _ in range(20):
        found = tracked_objects(2) + tracked_objects(0)
        assert found
        found.clear()
    ended.set()
    for each in others:
        each.join()
    assert failed == []
    assert held


def test_what_somebody_else_holds_is_no_list_that_holds_itself(monkeypatch):
    counts = iter([1, 2])
    monkeypatch.setattr(objects.sys, "getrefcount", lambda _: next(counts))
    assert objects.without_tuples(lambda: [1, (2,), 3]) == [1, 3]
