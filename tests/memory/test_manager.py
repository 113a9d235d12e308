"""`MemoryManager`: `memflow.memory.manager`."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.manager import MemoryManager, _deep_size
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import MemoryManagerSettings
from memflow.testing import ScriptedProbe

MIB, GIB = 2**20, 2**30


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def manager(script: object = "100MiB", **settings: object) -> MemoryManager:
    probe = ScriptedProbe(script, limit=GIB, source="the script")
    return MemoryManager(sampler=Sampler(MemoryManagerSettings(**settings), probe=probe, clock=Clock()))


def test_current_usage_reads_now() -> None:
    usage = manager(["512MiB"]).current_usage()
    assert (usage.in_use_bytes, usage.limit_bytes, usage.headroom_bytes) == (GIB // 2, GIB, GIB // 2)
    assert (usage.utilization_pct, usage.level, usage.limit_source) == (50, "normal", "the script")
    assert len(usage.gc_objects) == 3
    assert str(usage) == "512 MiB of 1 GiB in use (50.0 %, normal; limit: the script)"


def test_real_memory_makes_sense() -> None:
    usage = MemoryManager().current_usage()
    assert usage.rss_bytes > 0
    assert usage.limit_source


def test_state_probe_and_settings_can_be_given() -> None:
    state, settings = MemoryState(), MemoryManagerSettings(hold_pct=50)
    made = MemoryManager(settings, state=state, probe=ScriptedProbe("600MiB", limit=GIB))
    assert made.state is state
    assert made.settings is settings
    assert made.current_usage().level == "hold"


def test_monitor_reads_without_reclaiming_when_all_is_well() -> None:
    made = manager()
    assert made.monitor().level == "normal"
    assert made.sampler.reclaims == 0


def test_monitor_reclaims_when_forced_and_returns_what_is_left() -> None:
    made = manager(["500MiB", "500MiB", "200MiB"])
    assert made.monitor(force_gc=True).in_use_bytes == 200 * MIB
    assert made.sampler.reclaims == 1


@pytest.mark.parametrize(("auto_gc", "reclaims"), [(True, 1), (False, 0)])
def test_monitor_reclaims_over_the_threshold(auto_gc: bool, reclaims: int) -> None:
    made = manager("900MiB", auto_gc=auto_gc, gc_threshold_pct=80)
    made.monitor()
    assert made.sampler.reclaims == reclaims


def test_reclaim_tells_what_came_back() -> None:
    assert manager(["500MiB", "450MiB"]).reclaim().freed_bytes == 50 * MIB


# ---- trend ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "direction"),
    [
        ([f"{100 + 10 * n}MiB" for n in range(10)], "rising"),
        ([f"{500 - 10 * n}MiB" for n in range(10)], "falling"),
        (["100MiB"] * 10, "steady"),
        ([100 * MIB + n % 2 * 1000 for n in range(10)], "steady"),
    ],
)
def test_trend(script: list[object], direction: str) -> None:
    made = manager(script)
    for _ in range(10):
        made.current_usage()
    trend = made.trend()
    assert trend.direction == direction
    assert (trend.readings, trend.span_s) == (10, 9.0)
    if direction in ("rising", "falling"):
        assert abs(trend.bytes_per_s) == pytest.approx(10 * MIB)


@pytest.mark.parametrize("readings", [0, 1, 2])
def test_a_trend_of_too_little_is_unknown_never_nan(readings: int) -> None:
    made = manager()
    for _ in range(readings):
        made.current_usage()
    trend = made.trend()
    assert (trend.direction, trend.bytes_per_s, trend.readings) == ("unknown", 0.0, readings)


def test_a_trend_over_no_time_is_unknown() -> None:
    made = MemoryManager(sampler=Sampler(probe=ScriptedProbe(), clock=lambda: 5.0))
    for _ in range(5):
        made.current_usage()
    assert made.trend().direction == "unknown"


# ---- batch size -------------------------------------------------------------------------------------------------


def test_a_batch_fills_the_target_and_no_more() -> None:
    made = manager(0)
    assert made.calculate_optimal_batch_size(10**9, bytes_per_item=MIB, target_utilization_pct=50) == 512


def test_a_batch_is_no_larger_than_what_there_is() -> None:
    assert manager().calculate_optimal_batch_size([1, 2, 3]) == 3
    assert manager().calculate_optimal_batch_size(7) == 7
    assert manager().calculate_optimal_batch_size([]) == 0
    assert manager().calculate_optimal_batch_size(0) == 0


def test_one_item_always_fits() -> None:
    assert manager("1000MiB").calculate_optimal_batch_size(10, bytes_per_item=1) == 1


def test_items_are_measured_deep_where_nothing_is_known() -> None:
    items = [{"text": "x" * MIB}] * 4000
    size = manager(0).calculate_optimal_batch_size(items)
    assert size == pytest.approx(0.7 * GIB / (3 * MIB), rel=0.01)


@given(st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 2 * GIB), st.floats(1, 100))
def test_a_batch_is_within_its_bounds(count: int, each: int, in_use: int, target_pct: float) -> None:
    size = manager(in_use).calculate_optimal_batch_size(count, bytes_per_item=each, target_utilization_pct=target_pct)
    assert min(1, count) <= size <= count
    if size > 1 and each:
        assert in_use + size * each <= GIB * target_pct / 100


def test_deep_sizes_see_containers_and_stop() -> None:
    shared = "s" * 1000
    assert _deep_size([shared, shared]) < 2 * sys.getsizeof(shared)
    assert _deep_size({"k": (1, {2, 3})}) > sys.getsizeof({}) + sys.getsizeof((1, 2))
    endless: list[object] = []
    endless.append(endless)
    assert _deep_size(endless) == sys.getsizeof(endless)
    assert _deep_size(list(range(10**5)), budget=10) < sys.getsizeof(list(range(10**5))) + 1000
