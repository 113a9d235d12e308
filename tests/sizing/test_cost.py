"""What work costs in memory, from scripted windows. Real memory is `benchmarks.estimator`'s."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.sizing.cost import CostModel, MemoryCost

MIB = 1 << 20
BASE = 100 * MIB


class Heap:
    """Feeds a model one window a batch, as memory that is given back (or kept) would make them."""

    def __init__(self, *, retain=False, anchor=BASE):
        self.model = CostModel(anchor_bytes=anchor)
        self.rss = BASE
        self.floor = 0
        self.retain = retain
        self.now_s = 0.0
        self.finished = {}

    def batch(self, loads, used, calls=None):
        peak = max(BASE + self.floor + used, self.rss if self.retain else 0)
        self.now_s += 0.2
        self.model.observe(
            start_bytes=self.rss,
            peak_bytes=peak,
            end_bytes=peak if self.retain else BASE + self.floor,
            loads=loads,
            calls=calls if calls is not None else {},
            finished=dict(self.finished),
            now_s=self.now_s,
        )
        self.rss = peak if self.retain else BASE + self.floor
        for name, load in loads.items():
            self.finished[name] = self.finished.get(name, 0.0) + load

    def per_item(self, name="work"):
        return self.model.cost(name).bytes_per_weight


def test_nothing_is_known_before_the_first_window():
    assert CostModel().cost("work") is None
    assert CostModel().predict_bytes({"work": 5.0}, {}) == 0


@given(st.floats(0.05, 8), st.integers(1, 200), st.booleans())
@settings(max_examples=50)
def test_steady_items_are_learnt_whether_memory_is_kept_or_not(mib, items, retain):
    heap = Heap(retain=retain)
    for _ in range(5):
        heap.batch({"work": float(items)}, mib * MIB * items)
    assert heap.per_item() == pytest.approx(mib * MIB, rel=0.01)


def test_noise_of_a_third_stays_within_a_tenth():
    rng, heap = random.Random(3), Heap()
    for _ in range(20):
        heap.batch({"work": 32.0}, sum(MIB * rng.lognormvariate(-0.05, 0.33) for _ in range(32)))
    assert heap.per_item() == pytest.approx(MIB, rel=0.1)


@pytest.mark.parametrize("direction", [1, -1])
def test_ramps_are_followed_within_a_fifth(direction):
    heap = Heap()
    for batch in range(100):
        true = MIB * (1 + batch / 60 if direction > 0 else 2.8 - batch / 60)
        heap.batch({"work": 16.0}, 16 * true)
    assert heap.per_item() == pytest.approx(true, rel=0.2)


def test_items_that_grow_slowly_where_memory_is_kept_are_seen():
    heap = Heap(retain=True)
    for batch in range(300):
        true = MIB * (1 + batch / 200)
        heap.batch({"work": 16.0}, 16 * true)
    assert heap.per_item() == pytest.approx(true, rel=0.05)


def test_the_fixed_part_of_a_call_is_told_apart_when_sizes_vary():
    rng, heap = random.Random(1), Heap()
    for _ in range(30):
        items = rng.choice([4, 8, 16, 32])
        heap.batch({"work": 4.0 * items}, 4 * (20 * MIB + items * MIB), {"work": 4.0})
    cost = heap.model.cost("work")
    assert cost.bytes_per_weight == pytest.approx(MIB, rel=0.15)
    assert cost.predict_bytes(16.0) == pytest.approx(36 * MIB, rel=0.1)


def test_with_one_size_the_peak_at_that_size_is_what_is_known():
    heap = Heap()
    for _ in range(10):
        heap.batch({"work": 40.0}, 4 * 20 * MIB + 40 * MIB, {"work": 4.0})
    cost = heap.model.cost("work")
    assert cost.bytes_per_call == 0
    assert cost.predict_bytes(40.0, 4.0) == pytest.approx(120 * MIB, rel=0.01)


def test_two_operations_at_once_are_told_apart():
    rng, heap = random.Random(2), Heap()
    for _ in range(60):
        big, small = float(rng.choice([0, 8, 16, 24])), float(rng.choice([8, 16, 40]))
        heap.batch({"big": big, "small": small} if big else {"small": small}, (2 * big + 0.25 * small) * MIB)
    assert heap.per_item("big") == pytest.approx(2 * MIB, rel=0.15)
    assert heap.per_item("small") == pytest.approx(MIB / 4, rel=0.3)
    together = heap.model.predict_bytes({"big": 16.0, "small": 16.0}, {})
    assert together == pytest.approx(36 * MIB, rel=0.15)


def test_work_that_has_begun_and_not_allocated_lowers_nothing():
    heap = Heap()
    heap.batch({"work": 8.0}, 8 * MIB)
    for _ in range(3):
        heap.finished = {"work": 8.0}  # nothing ends
        heap.batch({"work": 16.0}, 0)
    assert heap.per_item() == pytest.approx(MIB)


def test_the_anchor_sinks_by_itself_and_moves_when_told():
    model = CostModel()
    for start in (BASE, BASE - MIB, BASE + MIB):
        model.observe(start_bytes=start, peak_bytes=start, end_bytes=start, loads={}, calls={}, finished={}, now_s=0.0)
    assert model.anchor_bytes == BASE - MIB
    model.move_anchor(BASE + 5 * MIB)
    assert model.anchor_bytes == BASE + 5 * MIB


def test_what_rises_while_nothing_of_ours_runs_is_not_ours():
    model = CostModel(anchor_bytes=BASE)
    model.observe(start_bytes=BASE, peak_bytes=9 * BASE, end_bytes=7 * BASE, loads={}, calls={}, finished={}, now_s=0.0)
    assert model.anchor_bytes == 7 * BASE


@pytest.mark.parametrize("per_batch", [0.1, 0.5])
def test_results_that_are_kept_are_not_taken_for_larger_items(per_batch):
    rng, heap = random.Random(4), Heap()
    for _ in range(200):
        heap.batch({"work": 16.0}, sum(MIB * rng.lognormvariate(-0.02, 0.2) for _ in range(16)))
        heap.floor += int(per_batch * 16 * MIB)
    assert heap.per_item() <= 3 * MIB  # 21 MiB or 101 MiB by the anchor alone
    assert heap.model.anchor_bytes >= BASE + 0.8 * heap.floor


def test_somebody_who_takes_much_at_once_is_found_out():
    heap = Heap()
    for batch in range(60):
        heap.floor = 650 * MIB if batch >= 20 else 0
        heap.batch({"work": 1.0}, 20 * MIB)
    assert heap.per_item() == pytest.approx(20 * MIB, rel=0.3)


def test_items_that_really_grow_do_not_move_the_anchor():
    heap = Heap()
    for batch in range(100):
        heap.batch({"work": 16.0}, 16 * MIB * (1 + batch / 30))
    assert heap.model.anchor_bytes == BASE


def test_windows_without_growth_are_counted_until_memory_grows():
    heap = Heap(retain=True)
    for _ in range(10):
        heap.batch({"work": 4.0}, 8 * MIB)
    assert heap.model.quiet_windows == 9
    heap.batch({"work": 8.0}, 16 * MIB)
    assert heap.model.quiet_windows == 0


def test_steady_work_needs_next_to_no_guard_and_heavy_tails_need_one_and_a_half_surprises():
    steady, tailed = Heap(), Heap()
    for batch in range(300):
        steady.batch({"work": 10.0}, 10 * MIB)
        tailed.batch({"work": 10.0}, 10 * MIB + (60 * MIB if batch % 20 == 0 else 0))
    assert steady.model.guard_bytes == 0
    assert 60 * MIB <= tailed.model.guard_bytes <= 90 * MIB


def test_one_outlier_in_hundreds_is_no_reason_for_a_guard():
    heap = Heap()
    for batch in range(300):
        heap.batch({"work": 10.0}, 10 * MIB + (2000 * MIB if batch == 150 else 0))
    assert heap.model.guard_bytes == 0


def test_memory_that_is_kept_while_load_falls_is_no_surprise():
    heap = Heap(retain=True)
    for batch in range(100):
        heap.batch({"work": 100.0 if batch % 2 else 10.0}, (100 if batch % 2 else 10) * MIB)
    assert heap.model.guard_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**9), st.floats(0.1, 1e6)), max_size=60))
def test_no_windows_make_a_negative_cost(windows):
    model = CostModel()
    for number, (start, more, load) in enumerate(windows):
        model.observe(
            start_bytes=start,
            peak_bytes=start + more,
            end_bytes=start,
            loads={"work": load},
            calls={"work": 2.0},
            finished={"work": number * load},
            now_s=number * 0.05,
        )
    cost = model.cost("work")
    assert cost is None or (cost.bytes_per_weight >= 0 and cost.bytes_per_call >= 0)
    assert model.guard_bytes >= 0


def test_a_prediction_adds_weight_and_calls():
    assert MemoryCost(3.0, 10.0, 1).predict_bytes(5.0, 2.0) == 35
