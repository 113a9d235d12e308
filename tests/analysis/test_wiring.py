"""What joins an analyzer to its settings, to memory and to threads."""

import weakref

from memflow.analysis.wiring import make_thresholds, read_once, weakly
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
