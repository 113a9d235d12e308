"""What is kept between two looks."""

import itertools
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.detectors import Finding, IssueKind, Severity, Thresholds
from memflow.analysis.growth_watch import SAMPLES_IN_A_ROW, GrowthWatch
from memflow.analysis.lows import MIN_ROWS
from memflow.analysis.watch import UseWatch
from memflow.memory.readings import AllocatorReading, MemoryReading, MemoryWindow


def reading(now_s, pct):
    return MemoryReading(now_s, 1, 1, round(pct * 100), 10_000)


def looks(watch, steps):
    """Feed (seconds, per cent) pairs; return when each kind of issue began and ended."""
    now_s, is_open, changes = 0.0, set(), []
    for seconds, pct in steps:
        now_s += seconds
        for change in watch.look(reading(now_s, pct), drained=False):
            if isinstance(change, Finding) and change.kind not in is_open:
                is_open.add(change.kind)
                changes.append((now_s, change.kind, "open"))
            elif not isinstance(change, Finding):
                is_open.remove(change)
                changes.append((now_s, change, "over"))
    return changes


readings = st.lists(st.tuples(st.floats(0.001, 0.5), st.floats(0, 110)), max_size=200)


@given(readings)
def test_issues_of_use_never_flap(steps):
    """Each is open or over for at least `sustained_s` before that changes, whatever use does."""
    changes = looks(UseWatch(Thresholds(sustained_s=1.0)), steps)
    for kind in (IssueKind.NEAR_LIMIT, IssueKind.HIGH_UTILIZATION):
        mine = [(now_s, what) for now_s, each, what in changes if each is kind]
        assert [what for _, what in mine] == (["open", "over"] * len(mine))[: len(mine)]
        opened = [(now_s, after_s) for (now_s, what), (after_s, _) in pairwise(mine) if what == "open"]
        assert all(after_s - now_s >= 1.0 for now_s, after_s in opened)


@given(readings)
def test_a_watch_is_at_rest_when_use_is_low_and_nothing_is_open(steps):
    watch = UseWatch(Thresholds())
    whats = [what for _, _, what in looks(watch, steps)]
    is_high = bool(steps) and reading(0, steps[-1][1]).utilization_pct >= 85
    assert watch.busy == (is_high or whats.count("open") > whats.count("over"))


def test_high_use_counts_from_its_first_reading_however_far_apart_they_are():
    assert looks(UseWatch(Thresholds(sustained_s=1.0)), [(1, 90), (0.6, 90), (0.6, 90)])[0][0] == 2.2


def watch_of(blocks=lambda: 1_000):
    return GrowthWatch(Thresholds(), lambda: AllocatorReading(blocks(), None, None), cost_clock=lambda: 0.0)


def window(now_s, items_done, loads=None, drained=False):
    return MemoryWindow(1, MemoryReading(now_s, 1, 1, 1, 10_000), loads or {}, items_done, drained)


def test_a_sample_is_taken_when_items_were_finished_and_now_and_then():
    watch = watch_of()
    for now_s, items in ((0.0, 1), (0.1, 1), (0.2, 2), (0.3, 2), (0.6, 2)):
        watch.sample(window(now_s, {"a": items}))
    assert list(watch.window(reading(2, 1)).rss.times_s) == [0.0, 0.2]
    watch.sample(window(0.75, {"a": 2}))
    assert watch.samples == 3


def test_rest_is_sampled_though_nothing_was_finished_since_and_soon_after_the_last_sample():
    watch = watch_of()
    busy, at_rest = window(0.0, {"a": 1}), window(0.006, {"a": 1}, drained=True)
    watch.sample(busy)
    assert not watch.is_due(window(0.004, {"a": 1}, drained=True))
    assert not watch.is_due(window(0.006, {"a": 1}))
    assert watch.is_due(at_rest)
    watch.sample(at_rest)
    watch.sample(window(0.03, {"a": 1}, drained=True))  # no news
    assert list(watch.window(reading(2, 1)).rss.times_s) == [0.0, 0.006]


def test_what_is_in_flight_counts_as_none_once_it_is_drained():
    watch = watch_of()
    watch.sample(window(0.0, {"a": 1}, {"a": 3.0, "b": 4.0}))
    watch.sample(window(1.0, {"a": 2}, {"a": 3.0}, drained=True))
    assert list(watch.window(reading(2, 1)).rss.in_flight) == [7.0, 0.0]


@pytest.mark.parametrize("seen", [(), (3, 4, 9, 10, 30, 31), tuple(range(20, 20 + SAMPLES_IN_A_ROW - 1))])
def test_looks_must_agree_over_some_samples_whatever_earlier_ones_said(seen, monkeypatch):
    """Looks that agreed before, and then did not, count for nothing."""
    evidence = {"seen_items": 1.0, "seen_s": 1.0, "growth_mb_per_min": 1.0}
    finding, look = Finding(IssueKind.SUSPECTED_LEAK, Severity.INFO, evidence), itertools.count()

    def scripted(*_):
        number = next(look)
        return finding if number in seen or number >= 40 else None

    monkeypatch.setattr("memflow.analysis.growth_watch.growth", scripted)
    watch, opened = watch_of(), []
    for k in range(MIN_ROWS + 60):
        changes = watch.sample(window(float(k), {"a": k}))
        if any(getattr(each, "kind", None) is IssueKind.SUSPECTED_LEAK for each in changes):
            opened.append(k - MIN_ROWS + 1)
    assert opened[0] == 40 + SAMPLES_IN_A_ROW - 1


@pytest.mark.parametrize("seed", range(5))
def test_whose_growth_is_changes_nothing_of_when_it_is_found(seed):
    """The same run, once with one operation and once with several, opens and ends at the same samples."""

    def changes(names):
        rng, done, blocks, told = random.Random(seed), dict.fromkeys(names, 0), 100_000, []
        watch = watch_of(lambda: blocks)
        for k in range(400):
            items = rng.randrange(500)
            done[names[k % len(names)]] += items
            blocks += 10 * items if k < 200 else 0
            told.append([getattr(each, "kind", each) for each in watch.sample(window(float(k), dict(done)))])
        return told

    alone = changes(["one"])
    assert any(IssueKind.SUSPECTED_LEAK in each for each in alone)
    assert alone == changes(["a", "b", "c"]) == changes([f"o{n}" for n in range(20)])
