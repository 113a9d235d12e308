"""One collection by hand, and what it gave back."""

import gc

from memflow.analysis.collecting import collect_once, live_bytes_lost
from memflow.memory.readings import AllocatorReading


class Cycle:
    def __init__(self):
        self.me = self


def test_what_it_finds_and_frees_is_told():
    gc.collect()
    gc.disable()
    try:
        for _ in range(10_000):
            Cycle()
        found = collect_once()
    finally:
        gc.enable()
    assert found.objects >= 10_000
    assert found.freed_bytes >= 10_000 * 64
    assert found.took_ms > 0


def test_blocks_and_native_bytes_add_up_and_growth_meanwhile_is_nothing():
    assert live_bytes_lost(AllocatorReading(500, 9_000, 0), AllocatorReading(400, 8_000, 0)) == 100 * 64 + 1_000
    assert live_bytes_lost(AllocatorReading(500, None, None), AllocatorReading(400, None, None)) == 100 * 64
    assert live_bytes_lost(AllocatorReading(400, 8_000, 0), AllocatorReading(500, 9_000, 0)) == 0
    assert live_bytes_lost(AllocatorReading(500, 9_000, 0), AllocatorReading(400, None, None)) == 100 * 64
