"""What work costs in memory, from scripted windows. Real memory is `benchmarks.estimator`'s."""

import itertools
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
        self.step_s = 0.2
        self.finished = {}

    def batch(self, loads, used, calls=None, **more):
        peak = max(BASE + self.floor + used, self.rss if self.retain else 0)
        self.now_s += self.step_s
        self.model.observe(
            start_bytes=self.rss,
            peak_bytes=peak,
            end_bytes=peak if self.retain else BASE + self.floor,
            loads=loads,
            calls=calls if calls is not None else {},
            finished=dict(self.finished),
            now_s=self.now_s,
            **more,
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


def test_a_guard_against_what_is_foretold_by_now_is_given_up():
    heap = Heap()
    for _ in range(15):
        heap.batch({"work": 10.0}, 10 * MIB)
    heap.batch({"work": 10.0}, 30 * MIB)
    assert heap.model.guard_bytes > 20 * MIB  # once judged, a surprise
    for _ in range(16):
        heap.batch({"work": 10.0}, 30 * MIB)
    assert heap.per_item() == pytest.approx(3 * MIB)
    assert heap.model.guard_bytes == 0


def test_a_guard_is_kept_against_what_comes_as_a_surprise_still():
    heap = Heap()
    for batch in range(64):
        heap.batch({"work": 10.0}, 10 * MIB + (60 * MIB if batch in (15, 40) else 0))
    assert heap.per_item() < 3 * MIB
    assert heap.model.guard_bytes > 60 * MIB


@pytest.mark.parametrize("batched", [True, False])
def test_a_step_of_batches_takes_the_guard_with_it_at_once(batched):
    heap, more = Heap(), {"batched": ("work",)} if batched else {}
    for _ in range(15):
        heap.batch({"work": 10.0}, 10 * MIB, **more)
    for _ in range(2):
        heap.batch({"work": 10.0}, 30 * MIB, **more)
    assert (heap.model.guard_bytes == 0) == batched
    assert (heap.per_item() == pytest.approx(3 * MIB)) == batched


def varied(heap, batches, mib=1.0, sizes=(4, 8, 16, 32), **more):
    """Batches of all sizes, of which 4 are in flight: 20 MiB a call, and so much an item."""
    rng = random.Random(1)
    for _ in range(batches):
        items = rng.choice(sizes)
        heap.batch({"work": 4.0 * items}, 4 * (20 + items * mib) * MIB, {"work": 4.0}, **more)


def test_a_step_of_batches_makes_the_fit_forget():
    single, many = Heap(), Heap()
    for heap, more in ((single, {}), (many, {"batched": ("work",)})):
        varied(heap, 30, sizes=(16, 32), **more)
        assert heap.model.cost("work").bytes_per_call > 10 * MIB
        heap.step_s = 0.001  # long before the next fit
        varied(heap, 2, 6.0, sizes=(16,), **more)
        heap.step_s = 0.2
    truth = (20 + 16 * 6) * MIB
    assert many.model.cost("work").predict_bytes(16.0) == pytest.approx(truth, rel=0.01)
    assert single.model.cost("work").predict_bytes(16.0) < 0.8 * truth
    varied(many, 30, 6.0, batched=("work",))  # and then it learns anew
    assert many.model.cost("work").bytes_per_weight == pytest.approx(6 * MIB, rel=0.15)
    assert many.model.cost("work").predict_bytes(16.0) == pytest.approx(truth, rel=0.1)


def test_what_was_cut_short_by_the_limit_tells_nothing_of_calls_against_their_weight():
    kept, mistaken = Heap(), Heap()
    for heap, cut_short in ((kept, True), (mistaken, False)):
        varied(heap, 20)
        rows = len(heap.model._rows)
        for items in (24, 32, 40, 48) * 5:  # each would have taken more
            heap.batch({"work": 4.0 * items}, 160 * MIB, {"work": 4.0}, cut_short=cut_short)
        assert (len(heap.model._rows) == rows) == cut_short
    cost = kept.model.cost("work")
    assert cost.bytes_per_weight == pytest.approx(MIB, rel=0.15)
    assert cost.predict_bytes(16.0) == pytest.approx(36 * MIB, rel=0.1)
    assert mistaken.model.cost("work").bytes_per_weight < 0.9 * MIB


def test_few_windows_of_one_operation_are_not_fitted():
    heap = Heap()
    for number, items in enumerate((4, 8, 16, 32, 4, 16)):
        assert not heap.model._fitted
        heap.batch({"work": 4.0 * items}, 4 * (20 + items) * MIB, {"work": 4.0})
        assert (number == 5) == bool(heap.model._fitted)
    assert heap.model.cost("work").bytes_per_call > 0


def test_few_windows_of_two_operations_are():
    heap = Heap()
    for big, small in ((8.0, 8.0), (16.0, 8.0), (8.0, 40.0)):
        heap.batch({"big": big, "small": small}, (2 * big + 0.25 * small) * MIB)
    assert heap.per_item("big") == pytest.approx(2 * MIB, rel=0.15)


def test_memory_that_is_kept_while_load_falls_is_no_surprise():
    heap = Heap(retain=True)
    for batch in range(100):
        heap.batch({"work": 100.0 if batch % 2 else 10.0}, (100 if batch % 2 else 10) * MIB)
    assert heap.model.guard_bytes == 0


windows_seen = st.tuples(
    st.integers(0, 10**10), st.integers(0, 10**9), st.floats(0.1, 1e6), st.booleans(), st.booleans()
)


@given(st.lists(windows_seen, max_size=60))
def test_no_windows_make_a_negative_cost(windows):
    model = CostModel()
    for number, (start, more, load, batched, cut_short) in enumerate(windows):
        model.observe(
            start_bytes=start,
            peak_bytes=start + more,
            end_bytes=start,
            loads={"work": load},
            calls={"work": 2.0},
            finished={"work": number * load},
            now_s=number * 0.05,
            batched=("work",) if batched else (),
            cut_short=cut_short,
        )
    cost = model.cost("work")
    assert cost is None or (cost.bytes_per_weight >= 0 and cost.bytes_per_call >= 0)
    assert model.guard_bytes >= 0


def test_a_prediction_adds_weight_and_calls():
    assert MemoryCost(3.0, 10.0, 1).predict_bytes(5.0, 2.0) == 35


def quiet_rounds(model, used, load, *, rounds, start=0.0):
    """Windows in which nothing grows while everything in flight is replaced, again and again."""
    for n in range(4 * rounds):
        model.observe(
            start_bytes=BASE + used,
            peak_bytes=BASE + used,
            end_bytes=BASE + used,
            loads={"work": float(load)},
            calls={"work": 1.0},
            finished={"work": start + load * (n + 1) / 4},
            now_s=100 + n / 100,
        )


def fitted_model():
    """20 MiB a call and 1 MiB an item, fitted from calls of different sizes."""
    heap = Heap()
    for n in range(40):
        items = 10 + 30 * (n % 4)
        heap.batch({"work": float(items)}, (20 + items) * MIB, {"work": 1.0})
    assert heap.model.cost("work").bytes_per_call > 5 * MIB
    return heap.model


def test_windows_without_growth_overrule_a_fit_that_nothing_feeds():
    model = fitted_model()
    quiet_rounds(model, 40 * MIB, 100, rounds=8, start=1e6)  # items have become a third of what they were
    assert model.cost("work").predict_bytes(100, 1) == pytest.approx(40 * MIB, rel=0.05)


def test_windows_that_agree_with_a_fit_leave_it_alone():
    model = fitted_model()
    quiet_rounds(model, 118 * MIB, 100, rounds=1, start=1e6)  # late enough for a fit to the last rows, too
    before = model.cost("work")
    quiet_rounds(model, 118 * MIB, 100, rounds=8, start=2e6)
    assert model.cost("work") == before


def test_fits_to_many_rows_are_rarer_until_a_step_makes_them_few(monkeypatch):
    fits = []
    fit = CostModel._fit
    monkeypatch.setattr(CostModel, "_fit", lambda model, now_s: (fits.append(now_s), fit(model, now_s)))
    heap = Heap()
    heap.step_s = 0.05
    for n in range(200):
        heap.batch({"work": float(10 + 30 * (n % 4))}, (30 + 30 * (n % 4)) * MIB, {"work": 1.0})
    gaps = [later - earlier for earlier, later in itertools.pairwise(fits)]
    assert gaps[0] == pytest.approx(0.1)
    assert gaps[-1] == pytest.approx(0.8)  # 64 rows
    for n in range(20):
        heap.batch({"work": float(10 + 30 * (n % 4))}, 4 * (30 + 30 * (n % 4)) * MIB, {"work": 1.0})
    assert fits[-1] - fits[-2] == pytest.approx(0.1)  # few rows again
    assert fits[-1] > heap.now_s - 0.15
