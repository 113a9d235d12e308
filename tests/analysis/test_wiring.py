"""What joins an analyzer to its settings, to memory and to threads."""

import weakref

from memflow.analysis.analyzer import HeapAnalyzer
from memflow.analysis.wiring import make_sites, make_thresholds, read_once, weakly
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import MemoryReading, MemoryWindow
from memflow.memory.state import MemoryState
from memflow.settings import HeapAnalyzerSettings


class Owner:
    def __init__(self):
        self.called = 0

    def call(self):
        self.called += 1


def test_thresholds_are_those_of_the_settings():
    found = make_thresholds(HeapAnalyzerSettings(leak_threshold_rate=7, sustained_s=2, high_utilization_threshold=60))
    assert (found.growth_mb_per_min, found.sustained_s, found.high_pct) == (7, 2, 60)


def test_one_reading_says_where_its_limit_comes_from():
    reading, source = read_once()
    assert reading.rss_bytes > 0
    assert reading.limit_bytes > 0
    assert source


def test_a_method_is_called_while_its_owner_is_there():
    owner = Owner()
    call, alive = weakly(owner, Owner.call), weakref.ref(owner)
    call()
    assert owner.called == 1
    del owner
    assert alive() is None
    call()


def test_nothing_traces_allocations_unless_it_is_asked_for():
    assert make_sites(HeapAnalyzerSettings(), MemoryState(), told=list) is None
    assert HeapAnalyzer()._sites is None


def test_what_traces_allocations_knows_the_items_and_the_room_of_its_state_and_closes_with_its_analyzer():
    settings, state = HeapAnalyzerSettings(allocation_sites="tracemalloc", allocation_window_s=7), MemoryState()
    analyzer = HeapAnalyzer(settings, state=state)
    sites = analyzer._sites
    assert (sites._window_s, sites._items(), sites._room_bytes()) == (7, 0, 0)
    analyzer.mark(3)
    state.accept(MemoryWindow(0, MemoryReading(1.0, 50, 50, 60, 100), {}, {}, True), PressureLevel.NORMAL)
    assert (sites._items(), sites._room_bytes()) == (3, 40)
    analyzer.close()
    sites.look()
    assert (sites._tracer, sites.is_open) == (None, False)
