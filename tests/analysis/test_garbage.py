"""Growth that is garbage which waits for its collection: told from growth that stays."""

import gc
import random

import pytest

from memflow.analysis.collecting import Collection
from memflow.analysis.detectors import Finding, IssueKind, Thresholds
from memflow.analysis.garbage import MOST_BLOCKS, TIME_SHARE, GarbageCheck, Growth, full_collections
from memflow.analysis.growth_watch import GrowthWatch
from memflow.analysis.report import limits_of_judgement
from memflow.memory.readings import AllocatorReading, MemoryReading, MemoryWindow
from memflow.memory.signals import ProcessSignals

GREW = {"live_growth_mb_per_min": 6.0, "seen_s": 10.0}  # 1 MB


class World:
    """A process whose memory, collector and time are numbers."""

    def __init__(self, *, freed_bytes=0, objects=1000):
        self.now_s, self.full, self.blocks = 0.0, 3, 100_000
        self.freed, self.objects = freed_bytes, objects
        self.waiting = []
        self.check = GarbageCheck(
            count=lambda: self.full, collect=self.collect, start=self.waiting.append, clock=lambda: self.now_s
        )

    def collect(self):
        self.full += 1
        self.blocks -= self.freed // 64
        return Collection(self.objects, self.freed, 50.0)

    def judge(self, since_s=0.0):
        return self.check.judge(GREW, since_s=since_s)

    def run_thread(self):
        self.waiting.pop()()
        self.check.sample(self.now_s)


@pytest.mark.parametrize(
    ("freed", "objects", "told"),
    [(900_000, 1000, Growth.GARBAGE), (100_000, 1000, Growth.LIVE), (900_000, 0, Growth.LIVE)],
)
def test_what_a_collection_frees_tells(freed, objects, told):
    world = World(freed_bytes=freed, objects=objects)
    assert [world.judge(), world.judge()] == [Growth.UNSURE, Growth.UNSURE]
    assert len(world.waiting) == 1
    world.run_thread()
    assert world.judge() is told
    assert world.check.times == (told is Growth.GARBAGE)


def test_one_is_asked_for_only_where_the_collector_has_not_been_there_since():
    world = World()
    world.check.sample(1.0)
    world.full += 1
    world.check.sample(5.0)
    assert world.judge(since_s=4.0) is Growth.LIVE
    assert world.judge(since_s=6.0) is Growth.UNSURE


def test_collections_take_a_share_of_the_time():
    world = World()
    world.judge()
    world.run_thread()
    assert world.judge() is Growth.LIVE
    world.now_s = 0.05 / TIME_SHARE - 1
    assert world.judge(since_s=world.now_s) is Growth.LIVE
    world.now_s += 2
    assert world.judge(since_s=world.now_s) is Growth.UNSURE


def test_nobody_waits_for_one_of_a_large_heap_nor_while_the_collector_is_off(monkeypatch):
    world = World()
    with monkeypatch.context() as patched:
        patched.setattr("sys.getallocatedblocks", lambda: MOST_BLOCKS + 1)
        assert world.judge() is Growth.LIVE
    gc.disable()
    try:
        assert world.judge() is Growth.LIVE
    finally:
        gc.enable()


def test_without_room_for_a_thread_growth_is_believed():
    def refuse(_):
        raise RuntimeError("can't start new thread")

    assert GarbageCheck(start=refuse).judge(GREW, since_s=0.0) is Growth.LIVE


def test_full_collections_are_counted():
    before = full_collections()
    gc.collect()
    assert full_collections() == before + 1


def watched(world, steps, *, grow):
    """Return what a watch finds in a process that grows by some blocks a step; threads run at once."""
    rng, found = random.Random(1), []
    watch = GrowthWatch(
        Thresholds(growth_mb_per_min=1e-9),
        lambda: AllocatorReading(world.blocks + rng.randrange(200), None, None),
        count=lambda: ProcessSignals(10, 3, 5),
        cost_clock=lambda: 0.0,
        garbage=world.check,
    )
    for step in range(steps):
        world.now_s = 0.1 * step
        world.blocks += grow
        reading = MemoryReading(world.now_s, 64 * world.blocks, 64 * world.blocks, 64 * world.blocks, 10**10)
        window = MemoryWindow(reading.rss_bytes, reading, {}, {"embed": 50 * step}, True, (0.0, 0.0))
        found += [change for change in watch.sample(window) if isinstance(change, Finding)]
        if world.waiting:
            world.run_thread()
    return watch, found


def test_garbage_that_waits_is_no_leak():
    world = World(freed_bytes=64 * 120 * 56)
    watch, found = watched(world, 400, grow=120)
    assert found == []
    assert world.check.times == 4  # every 10 s, although growth is found again after six
    (note,) = [each for each in limits_of_judgement(watch, MemoryReading(0.0, 1, 1, 1, 2), faults=0) if "gar" in each]
    assert "growth was garbage 4 times" in note


def test_a_leak_is_told_in_spite_of_it():
    world = World(freed_bytes=64 * 1000)
    _, found = watched(world, 120, grow=120)
    assert found[0].kind is IssueKind.SUSPECTED_LEAK
    assert world.check.times == 0
