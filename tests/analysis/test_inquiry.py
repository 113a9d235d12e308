"""When who holds what grows is asked for, and what that may cost."""

import gc
from types import SimpleNamespace

import pytest

from memflow.analysis import inquiry
from memflow.analysis.inquiry import Inquiry
from memflow.analysis.suspect import Suspect


def suspect(what):
    return Suspect("container", what, "", 1, 1, None, None)


class Sites:
    """Places that are asked for."""

    def __init__(self, *suspects):
        self.suspects, self.notes, self.looked, self.is_tracing = suspects, ("a note",), 0, False

    def look(self):
        self.looked += 1

    def forget(self):
        self.suspects = self.notes = ()


class World:
    """A clock, and threads that run at once unless they are kept waiting."""

    def __init__(self, monkeypatch, *, cost_s=0.01, sites=None):
        self.now_s = self.cpu_s = 0.0
        self.taken, self.told, self.compared, self.waiting, self.held = 0, 0, [], [], False
        self.blocks, self.finds, self.thorough, self.budgets_s = 100_000, True, [], []

        def take(*, budget_s, pins, thorough):
            self.taken += 1
            self.cpu_s += cost_s
            self.thorough.append(thorough)
            self.budgets_s.append(budget_s)
            return SimpleNamespace(name=f"snapshot {self.taken}", thorough=thorough)

        def find(before, after, *, items, budget_s, pins):
            self.compared.append((before.name, after.name, items))
            if not self.finds:
                return ()
            return (suspect(f"suspect {len(self.compared)}"), suspect("old acquaintance"))

        monkeypatch.setattr(inquiry, "take_snapshot", take)
        monkeypatch.setattr(inquiry, "find_suspects", find)
        monkeypatch.setattr(inquiry.time, "thread_time", lambda: self.cpu_s)
        monkeypatch.setattr(inquiry.sys, "getallocatedblocks", lambda: self.blocks)
        self.inquiry = Inquiry(enabled=True, told=self.tell, clock=lambda: self.now_s, start=self.start, sites=sites)

    def tell(self):
        self.told += 1

    def start(self, run):
        if self.held:
            self.waiting.append(run)
        else:
            run()


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_each_snapshot_is_compared_with_the_one_before(world):
    world.inquiry.begin(100)
    assert world.inquiry.has_begun
    for items in (150, 300):
        world.now_s += 10
        world.inquiry.look(items)
    assert world.compared == [("snapshot 1", "snapshot 2", 50), ("snapshot 2", "snapshot 3", 150)]
    assert [each.what for each in world.inquiry.suspects] == ["old acquaintance", "suspect 2"]
    assert world.told == 2
    assert world.thorough == [True, True, True]


def test_a_large_heap_is_looked_at_thoroughly_once_less_has_found_nothing(world):
    world.blocks, world.finds = 5_000_000, False
    world.inquiry.begin(100)
    for items in (150, 300, 450):
        world.now_s += 1000
        world.inquiry.look(items)
    assert world.thorough == [False, False, True, True]
    # What was looked at differently is not compared: all that only one of them saw would have grown.
    assert world.compared == [("snapshot 1", "snapshot 2", 50), ("snapshot 3", "snapshot 4", 150)]
    world.inquiry.forget()
    world.finds, world.thorough[:] = True, []
    for items in (500, 600, 700):
        world.now_s += 1000
        world.inquiry.look(items)
    assert world.thorough == [False, False, False]
    assert world.compared[2:] == [("snapshot 5", "snapshot 6", 100), ("snapshot 6", "snapshot 7", 100)]


def test_a_large_heap_may_cost_more_in_one_look(world):
    world.inquiry.begin(100)
    world.blocks, world.now_s = 5_000_000, 1000
    world.inquiry.look(150)
    assert world.budgets_s == [1.0, 2.5]
    assert not world.compared  # it has grown large in between


def test_the_first_comparison_does_not_wait_for_its_share_and_the_next_do(world):
    world.inquiry.begin(0)
    world.inquiry.look(10)
    assert len(world.compared) == 1
    world.now_s += 0.19  # 0.01 s at 5 % are 0.2 s
    world.inquiry.look(20)
    assert len(world.compared) == 1
    world.now_s += 0.02
    world.inquiry.look(30)
    assert len(world.compared) == 2


def test_where_nobody_is_found_three_looks_go_ahead_and_the_next_wait(world, monkeypatch):
    monkeypatch.setattr(inquiry, "find_suspects", lambda *_, **more: world.compared.append(more) or ())
    world.inquiry.begin(0)
    for _ in range(100):
        world.inquiry.look(10)
        world.now_s += 0.001
    assert len(world.compared) == 3
    world.now_s += 0.2
    world.inquiry.look(20)
    assert len(world.compared) == 4


def test_beginning_takes_one_per_cent(world):
    for _ in range(1000):
        world.inquiry.begin(0)
        world.now_s += 0.01
    assert world.inquiry.spent_s <= 0.0101 * world.now_s + 0.01


def test_looks_become_rarer_until_they_take_one_per_cent(world):
    world.inquiry.begin(0)
    spent = []
    for _ in range(8):
        before_s = world.inquiry.spent_s
        for _ in range(1000):
            world.inquiry.look(1)
            world.now_s += 0.01
        spent.append(round((world.inquiry.spent_s - before_s) / 10, 4))
    assert spent[0] >= 0.02
    assert all(0.008 < each < 0.012 for each in spent[2:])


def test_after_growth_is_over_looks_come_soon_again(world):
    world.inquiry.begin(0)
    for _ in range(100):
        world.inquiry.look(1)
        world.now_s += 10
    world.inquiry.forget()
    before = world.taken
    for _ in range(20):
        world.inquiry.look(1)
        world.now_s += 0.1
    assert world.taken - before > 5


def test_one_at_a_time(world):
    world.held = True
    world.inquiry.begin(0)
    world.inquiry.look(1)
    assert len(world.waiting) == 1
    world.waiting[0]()
    assert world.taken == 1


def test_what_fails_is_noted_and_not_tried_again(world, monkeypatch, caplog):
    def fail(**_):
        raise ValueError("odd object")

    monkeypatch.setattr(inquiry, "take_snapshot", fail)
    world.inquiry.begin(0)
    world.now_s += 100
    world.inquiry.begin(0)
    assert len(caplog.records) == 1
    assert "not tried again" in world.inquiry.notes[0]


def test_want_of_memory_is_no_failure(world, monkeypatch, caplog):
    def fail(**_):
        raise MemoryError

    take = inquiry.take_snapshot
    monkeypatch.setattr(inquiry, "take_snapshot", fail)
    world.inquiry.begin(0)
    monkeypatch.setattr(inquiry, "take_snapshot", take)
    world.now_s += 100
    world.inquiry.begin(0)
    assert world.taken == 1
    assert caplog.records == []


def test_no_room_for_a_thread_is_tried_again(world):
    start, world.inquiry._start = world.inquiry._start, None

    def refuse(run):
        raise RuntimeError("can't start new thread")

    world.inquiry._start = refuse
    world.inquiry.begin(0)
    world.inquiry._start = start
    world.inquiry.begin(0)
    assert world.taken == 1


def test_it_collects_once_where_the_collector_is_off(world):
    gc.disable()
    try:
        world.inquiry.begin(0)
        world.now_s += 10
        world.inquiry.look(1)
        assert world.inquiry.collected is None
        world.now_s += 10
        world.inquiry.look(1, may_collect=True)
        assert world.inquiry.collected is not None
    finally:
        gc.enable()
    world.inquiry.forget()
    assert (world.inquiry.collected, world.inquiry.suspects) == (None, ())


def test_disabled_does_nothing(monkeypatch):
    world = World(monkeypatch)
    world.inquiry._enabled = False
    world.inquiry.begin(0)
    world.inquiry.look(0)
    assert world.taken == 0


SITE = Suspect("allocation site", "app.py:10 in work", "", 9, 9, 1.0, 9_000)


def test_places_are_asked_for_once_holders_were(monkeypatch):
    sites = Sites(SITE)
    world = World(monkeypatch, sites=sites)
    world.inquiry.begin(0)
    world.inquiry.look(1)
    assert sites.looked == 1
    world.held = True
    world.now_s += 100
    world.inquiry.look(2)  # its snapshot is being taken
    assert (len(world.waiting), sites.looked) == (1, 1)
    assert [each.what for each in world.inquiry.suspects][-1] == "app.py:10 in work"
    assert world.inquiry.notes == ("a note",)
    world.inquiry.forget()
    assert (world.inquiry.suspects, world.inquiry.notes) == ((), ())


def test_no_snapshot_is_taken_while_allocations_are_traced(monkeypatch):
    sites = Sites()
    world = World(monkeypatch, sites=sites)
    world.inquiry.begin(0)
    sites.is_tracing = True
    world.now_s += 100
    world.inquiry.look(1)
    assert (world.taken, sites.looked) == (1, 0)
    sites.is_tracing = False
    world.inquiry.look(2)
    assert (world.taken, sites.looked) == (2, 1)


def test_places_are_asked_for_where_holders_are_not(monkeypatch):
    sites = Sites(SITE)
    world = World(monkeypatch, sites=sites)
    world.inquiry._enabled = False
    world.inquiry.begin(0)
    assert sites.looked == 0
    world.inquiry.look(1)
    assert (world.taken, sites.looked, world.inquiry.suspects) == (0, 1, (SITE,))
