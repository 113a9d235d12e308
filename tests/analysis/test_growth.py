"""The detector of suspected leaks: what fires, what never does, and at what rate."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.analysis.detectors import IssueKind, Severity, Thresholds
from memflow.analysis.growth import (
    growth,
    has_begun,
    may_have_begun,
    results_piling_up,
    still_growing,
    unexplained_mb_per_min,
)
from memflow.analysis.lows import KEPT_DOUBT, MIN_ROWS, GrowthWindow, span_s
from memflow.analysis.trend import Series

THRESHOLDS = Thresholds()
BASE = 50_000_000


def series(values, *, step_s=0.25, items_each=50, loads=None):
    n = len(values)
    return Series(
        items=[float(items_each * k) for k in range(n)],
        times_s=[step_s * k for k in range(n)],
        in_flight=loads if loads is not None else [0.0] * n,
        values=values,
    )


def window(blocks, native=None, rss=None, *, headroom=1e9, loads=None, items_each=50):
    live = {"blocks": series(blocks, loads=loads, items_each=items_each)}
    if native is not None:
        live["native_bytes"] = series(native, loads=loads, items_each=items_each)
    if rss is None:
        rss = [BASE + 64 * each for each in blocks]
    return GrowthWindow(live, series(rss, loads=loads, items_each=items_each), headroom)


def curve(shape, n=120, noise=300.0, seed=0):
    """Blocks along a shape, with noise that only adds (memory is allocated for a while and freed)."""
    rng = random.Random(seed)
    return [100_000 + shape(k) + abs(rng.gauss(0, noise)) for k in range(n)]


LEAKS = {
    "steady": lambda k: 500 * k,
    "after a warm-up": lambda k: 600 * k + 20_000 * (1 - math.exp(-k / 8)),
    "one batch in seven": lambda k: 3_500 * (k // 7),
    "under a sawtooth": lambda k: 800 * k + 6_000 * (k % 9) / 9,
    "that speeds up": lambda k: 4 * k * k,
}
CLEAN = {
    "nothing": lambda k: 0,
    "a warm-up": lambda k: 100_000 * (1 - math.exp(-k / 20)),
    "a slow warm-up": lambda k: 100_000 * (1 - math.exp(-k / 40)),
    "one step": lambda k: 60_000 if k > 40 else 0,
    "a late step": lambda k: 60_000 if k > 110 else 0,
    "steps that end": lambda k: 20_000 * sum(k > at for at in (5, 20, 40, 70)),
    "a sawtooth": lambda k: 60_000 * (k % 20) / 20,
    "a wave": lambda k: 30_000 * math.sin(k / 4),
    "falling": lambda k: -500 * k,
    "a cache that is full": lambda k: 1_000 * min(k, 60),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found(name, seed):
    found = growth(window(curve(LEAKS[name], n=200, seed=seed)), THRESHOLDS)
    assert found is not None
    assert found.kind is IssueKind.SUSPECTED_LEAK


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CLEAN)
def test_clean_programs_are_not(name, seed):
    for n in (72, 100, 120, 200):
        assert growth(window(curve(CLEAN[name], n=n, seed=seed)), THRESHOLDS) is None


def test_rate_and_cost_of_an_item_are_told():
    # 500 blocks of 64 bytes a step of 0.25 s and 50 items: 7.68 MB/min, 640 bytes an item.
    found = growth(window(curve(LEAKS["steady"])), THRESHOLDS)
    assert found is not None
    assert found.evidence["growth_mb_per_min"] == pytest.approx(7.68, rel=0.05)
    assert found.evidence["growth_bytes_per_item"] == pytest.approx(640, rel=0.05)
    assert found.evidence["blocks_per_item"] == pytest.approx(10, rel=0.05)
    assert found.evidence["minutes_to_limit"] == pytest.approx(1000 / 7.68, rel=0.05)


def test_rss_gives_the_rate_where_blocks_are_large():
    blocks = curve(LEAKS["steady"])
    found = growth(window(blocks, rss=[BASE + 400 * each for each in blocks]), THRESHOLDS)
    assert found is not None
    assert found.evidence["growth_mb_per_min"] == pytest.approx(48, rel=0.05)


def test_a_leak_into_memory_that_was_freed_before_is_found_though_rss_is_flat():
    found = growth(window(curve(LEAKS["steady"]), rss=[float(BASE)] * 120), THRESHOLDS)
    assert found is not None
    assert found.evidence["rss_growth_mb_per_min"] == 0.0


def test_native_growth_is_found_without_any_in_python_objects():
    flat, native = curve(CLEAN["nothing"]), [1e6 + 40_000 * k for k in range(120)]
    found = growth(window(flat, native=native, rss=[BASE + each for each in native]), THRESHOLDS)
    assert found is not None
    assert found.evidence["growth_mb_per_min"] == pytest.approx(9.6, rel=0.05)
    assert "blocks_per_min" not in found.evidence


def test_growth_of_rss_alone_never_fires():
    """Retention: freed, kept by the allocator."""
    flat = curve(CLEAN["nothing"])
    seen = window(flat, native=[1e6] * 120, rss=[BASE + 200_000.0 * k for k in range(120)])
    assert growth(seen, THRESHOLDS) is None
    assert unexplained_mb_per_min(seen) == pytest.approx(48, rel=0.05)


def test_rss_that_live_memory_explains_is_no_retention():
    assert unexplained_mb_per_min(window(curve(LEAKS["steady"]))) == 0.0


def test_work_in_flight_is_no_growth():
    loads = [float(k * 37 % 100) for k in range(120)]
    assert growth(window([100_000 + 900 * load for load in loads], loads=loads), THRESHOLDS) is None
    rising = [float(10 * k) for k in range(120)]
    assert growth(window([100_000 + 900 * load for load in rising], loads=rising), THRESHOLDS) is None


def test_a_leak_below_varying_load_is_found():
    loads = [float(k * 37 % 100) for k in range(120)]
    blocks = [100_000 + 900 * load + 500 * k for k, load in enumerate(loads)]
    assert growth(window(blocks, loads=loads), THRESHOLDS) is not None


def test_growth_along_time_where_no_item_ends():
    found = growth(window(curve(LEAKS["steady"]), items_each=0), THRESHOLDS)
    assert found is not None
    assert "growth_bytes_per_item" not in found.evidence


@pytest.mark.parametrize("n", [0, 1, MIN_ROWS - 1])
def test_too_few_samples_give_no_finding(n):
    seen = window(curve(LEAKS["steady"], n=n))
    assert growth(seen, THRESHOLDS) is None
    assert still_growing(seen, THRESHOLDS, {}) is None
    assert unexplained_mb_per_min(seen) == 0.0


def test_too_short_a_time_gives_no_finding():
    seen = window(curve(LEAKS["steady"]))
    assert growth(seen, Thresholds(min_window_s=span_s(seen) + 1)) is None


def test_a_rate_below_the_threshold_is_not_reported():
    seen = window(curve(LEAKS["steady"]))
    assert growth(seen, Thresholds(growth_mb_per_min=7.0)) is not None
    assert growth(seen, Thresholds(growth_mb_per_min=8.5)) is None


def test_severity_rises_with_the_nearness_of_the_limit():
    seen = [growth(window(curve(LEAKS["steady"]), headroom=room), THRESHOLDS) for room in (1e12, 1e9, 5e7, -1.0)]
    found = [each.severity for each in seen if each is not None]
    assert found == [Severity.INFO, Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL]


def test_growth_that_goes_on_and_growth_that_has_stopped():
    assert still_growing(window(curve(LEAKS["steady"])), THRESHOLDS, {}) is not None
    assert still_growing(window(curve(lambda k: 500 * min(k, 100), n=200)), THRESHOLDS, {}) is None
    slower = curve(lambda k: 500 * min(k, 100) + 60 * max(0, k - 100), n=200)
    assert still_growing(window(slower), THRESHOLDS, {}) is None


@pytest.mark.parametrize("name", sorted(LEAKS))
def test_growth_has_begun_long_before_it_is_judged(name):
    values = curve(LEAKS[name], n=200)
    begun = [n for n in range(MIN_ROWS // 2, 200) if has_begun(window(values[:n]))]
    told = [n for n in range(MIN_ROWS, 200) if growth(window(values[:n]), THRESHOLDS) is not None]
    assert begun[0] < told[0] - 12


@pytest.mark.parametrize("name", sorted(LEAKS))
def test_growth_may_have_begun_before_it_has(name):
    values = curve(LEAKS[name], n=200)
    counts = range(MIN_ROWS // 2, 200)
    may = next(n for n in counts if may_have_begun(window(values[:n])))
    assert may <= next(n for n in counts if has_begun(window(values[:n])))
    loads = [float(min(400, 16 * k)) for k in range(200)]
    explained = window([100_000.0 + 40 * load for load in loads], loads=loads)
    assert not may_have_begun(explained)


@pytest.mark.parametrize("weight", [0, 1, 40])
def test_a_call_that_has_begun_is_no_growth_that_has_begun(weight):
    """Work in flight climbs for some samples and stays; what it takes is explained by it or not."""
    loads = [float(min(400, 16 * k)) for k in range(120)]
    values = [100_000 + weight * load + 25 * min(k, 18) * 10 for k, load in enumerate(loads)]
    assert not any(has_begun(window(values[:n], loads=loads[:n])) for n in range(MIN_ROWS // 2, 120))


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_and_goes_is_hardly_ever_growth_that_has_begun(seed):
    rng = random.Random(seed)
    native = [5e6 + rng.choice((0, 4e7, 8e7)) + rng.random() * 4e7 for _ in range(200)]
    begun = [has_begun(window([100_000.0] * n, native[:n])) for n in range(MIN_ROWS // 2, 200)]
    assert sum(begun) <= 12


def test_results_that_are_counted_raise_what_must_have_been_gained():
    blocks = curve(lambda k: 500 * k, noise=30)
    seen = window(blocks)
    assert growth(seen, THRESHOLDS) is not None
    assert has_begun(seen)
    beside = replace(seen, kept_gains={"blocks": 60_000 / KEPT_DOUBT})
    assert growth(beside, THRESHOLDS) is None
    assert not has_begun(beside)
    assert growth(replace(seen, kept_gains={"blocks": 25_000 / KEPT_DOUBT}), THRESHOLDS) is not None


def test_results_piling_up_are_told_with_their_rate():
    kept = {"blocks": series([600.0 * k for k in range(120)]), "native_bytes": series([0.0] * 120)}
    found = results_piling_up(kept, 1e9, THRESHOLDS)
    assert found is not None
    assert found.kind is IssueKind.RESULTS_PILING_UP
    assert found.evidence["growth_mb_per_min"] == pytest.approx(600 * 64 * 4 * 60 / 1e6, rel=0.01)
    assert results_piling_up(kept, 1e9, Thresholds(growth_mb_per_min=10)) is None
    done = {name: series([*each.values[:60], *[each.values[59]] * 60]) for name, each in kept.items()}
    assert results_piling_up(done, 1e9, THRESHOLDS) is None


def held_for_a_while(rng, n):
    """Amounts that come and go, some samples each: what goes on around a program, as a row of samples sees it."""
    held, values = [], []
    for _ in range(n):
        while held and (len(held) >= 5 or rng.random() < 0.3):
            held.pop(rng.randrange(len(held)))
        held.append(rng.choice((0, 0, 0, rng.randrange(16_000), rng.randrange(16_000))))
        values.append(100_000 + sum(held))
    return values


@pytest.mark.parametrize("seed", range(10))
def test_growth_is_told_from_what_is_held_for_a_while(seed):
    noise, sharp = held_for_a_while(random.Random(seed), 200), Thresholds(growth_mb_per_min=1e-9)
    assert all(growth(window(noise[:n]), sharp) is None for n in range(MIN_ROWS, 200, 4))
    leak = [each + 400 * k for k, each in enumerate(noise)]
    assert any(growth(window(leak[:n]), sharp) is not None for n in range(MIN_ROWS, 200, 4))


SHARP = Thresholds(growth_mb_per_min=1e-9)


def first_end(values):
    """Where an issue is opened, and where it is taken back, at the third look in a row that finds nothing."""
    found = ((n, growth(window(values[:n]), SHARP)) for n in range(MIN_ROWS, len(values), 4))
    opened, finding = next(each for each in found if each[1] is not None)
    missed = 0
    for n in range(opened, len(values), 4):
        missed = 0 if still_growing(window(values[:n]), SHARP, finding.evidence) else missed + 1
        if missed == 3:
            return opened, n
    return opened, None


def test_an_issue_stays_open_through_noise_as_long_as_growth_goes_on():
    noise = [held_for_a_while(random.Random(seed), 240) for seed in range(30)]
    ends = [first_end([each + 500 * k for k, each in enumerate(every)]) for every in noise]
    assert sum(end is not None for _, end in ends) <= 3


@pytest.mark.parametrize("seed", range(30))
def test_an_issue_is_taken_back_once_growth_has_ended(seed):
    noise = held_for_a_while(random.Random(seed), 300)
    opened, end = first_end([each + 500 * min(k, 140) for k, each in enumerate(noise)])
    assert opened <= 140
    assert end is not None


def test_few_lows_tell_only_growth_that_is_plain():
    """The same growth, with two of five lows out of order: so few lows could be so by chance, and more could not."""

    def judged(more, n):
        values = [100_000.0 + 2_000 * (k // 4) + more * (k // 4 % 5 in (1, 3)) for k in range(n)]
        return growth(window(values), Thresholds(growth_mb_per_min=1e-9)) is not None

    assert judged(0, MIN_ROWS)
    assert not judged(8_000, MIN_ROWS)
    assert judged(8_000, 2 * MIN_ROWS)


def test_what_is_given_back_after_the_start_hides_no_leak():
    """The order of all lows is unsure then, that of those behind the warm-up is not."""
    values = [each + 60_000 * (k < MIN_ROWS // 4) for k, each in enumerate(curve(LEAKS["steady"], n=72))]
    assert growth(window(values), THRESHOLDS) is not None


def test_growth_goes_on_though_the_order_of_the_newest_lows_is_unsure():
    """Two large amounts in the last third, for longer than a floor: its order says little, its pace is the same."""
    values = curve(LEAKS["steady"], n=144)
    for start in (104, 120):
        values[start : start + 4] = [each + 20_000 for each in values[start : start + 4]]
    assert growth(window(values), THRESHOLDS) is not None


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(LEAKS | CLEAN)), st.floats(0.01, 100), st.integers(0, 100))
def test_scale_changes_the_rate_and_nothing_else(name, factor, seed):
    """More of the same: what was found is found again at the larger scale, `factor` times as fast."""
    blocks = curve((LEAKS | CLEAN)[name], seed=seed)
    sharp = Thresholds(growth_mb_per_min=1e-9)
    first = growth(window(blocks), sharp)
    again = growth(window([each * factor for each in blocks]), sharp)
    if first is not None and factor >= 1:
        assert again is not None
        assert again.evidence["live_growth_mb_per_min"] == pytest.approx(
            factor * first.evidence["live_growth_mb_per_min"], rel=1e-6
        )
    if first is None and factor <= 1:
        assert again is None


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 1e12), min_size=MIN_ROWS, max_size=240),
    st.lists(st.floats(0, 1e6), min_size=240, max_size=240),
)
def test_any_numbers_give_finite_evidence(blocks, loads):
    seen = window(blocks, loads=loads[: len(blocks)])
    for found in (growth(seen, THRESHOLDS), still_growing(seen, THRESHOLDS, {})):
        if found is not None:
            assert all(math.isfinite(each) for each in found.evidence.values())
            assert found.evidence["growth_mb_per_min"] > 0
    assert math.isfinite(unexplained_mb_per_min(seen))
