"""The analyzer over virtual time: which scripted runs become issues, and how those live."""

import gc
import math
import random
import sys
import threading
import weakref
from itertools import pairwise

import anyio
import pytest

from memflow.analysis import (
    EventsDropped,
    HeapAnalyzer,
    IssueKind,
    IssueOpened,
    IssueResolved,
    IssueUpdated,
    Severity,
)
from memflow.analysis.detectors import GROWTH_KINDS
from memflow.memory.pressure import PressureLevel
from memflow.memory.readings import AllocatorReading, MemoryLimit, MemoryReading, MemoryWindow
from memflow.memory.signals import ProcessSignals
from memflow.memory.state import MemoryState
from memflow.settings import HeapAnalyzerSettings

LIMIT = 1_000_000_000
BASE = 100_000_000


class Run:
    """A run in virtual time: each step closes a window, and the events that come of it are kept."""

    def __init__(self, *, native=True, **settings):
        self.state = MemoryState()
        self.state.limit = MemoryLimit(LIMIT, "the test's own limit", "setting")
        self.blocks, self.native_live, self.rss = 100_000, 5_000_000, BASE
        self.native_free = 0
        self.kept = (0.0, 0.0)
        self.descriptors = self.tasks = 10
        self.native = native
        self.state.allocator = self.allocator
        settings.setdefault("find_suspects", False)  # real objects have no place in a script
        self.analyzer = HeapAnalyzer(HeapAnalyzerSettings(**settings), state=self.state)
        self.analyzer._growth._count = lambda: ProcessSignals(self.descriptors, 1, self.tasks)
        self.analyzer._growth._cost_clock = lambda: 0.0  # real cost must not bend virtual time
        self.events = []
        self.analyzer._hub.publish = self.events.append
        self.now_s = 1000.0
        self.items = 0
        self.limit = LIMIT
        self.rng = random.Random(7)

    def allocator(self):
        if self.native:
            return AllocatorReading(self.blocks, self.native_live, self.native_free)
        return AllocatorReading(self.blocks, None, None)

    def step(self, *, in_use=None, seconds=0.1, items=50, operation="embed", loads=None, drained=False):
        self.now_s += seconds
        self.items += items
        rss = int(self.rss)
        reading = MemoryReading(self.now_s, rss, rss, rss if in_use is None else in_use, self.limit)
        loads = {operation: 8.0} if loads is None else loads
        window = MemoryWindow(rss, reading, loads, {operation: self.items}, drained, self.kept)
        self.state.accept(window, PressureLevel.NORMAL)
        return window

    def grow(self, steps, blocks, *, per_block=100, noise=200, **kw):
        """Let blocks follow a function of the step; RSS follows them, and never falls."""
        start, first = self.blocks, self.rss
        for k in range(steps):
            self.blocks = int(start + blocks(k) + abs(self.rng.gauss(0, noise)))
            self.rss = max(self.rss, first + per_block * blocks(k))
            self.step(**kw)

    def use(self, pct, seconds, *, every_s=0.1, **kw):
        for _ in range(round(seconds / every_s)):
            self.step(in_use=round(LIMIT * pct / 100), seconds=every_s, **kw)

    def told(self, kind=None):
        return [(type(event), event.issue.id) for event in self.events if kind is None or event.issue.kind is kind]


# ---- growth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("native", [True, False])
def test_a_steady_leak_is_found_at_the_right_rate(native):
    run = Run(native=native)
    run.grow(150, lambda k: 200 * k)  # 200 blocks of 100 bytes each 0.1 s: 12 MB/min, 400 bytes an item
    assert run.told() == [(IssueOpened, "suspected_leak-embed-1")]
    issue = run.events[0].issue
    assert issue.evidence["growth_mb_per_min"] == pytest.approx(12, rel=0.2)
    assert issue.evidence["growth_bytes_per_item"] == pytest.approx(400, rel=0.2)
    assert issue.operation == "embed"
    assert issue.severity is Severity.WARNING
    assert "suspected" in issue.message
    assert issue.opened_at_s - 1000 < 12  # 85 samples, and what noise adds


def test_a_native_leak_is_found_at_the_right_rate():
    run = Run()
    for _ in range(150):
        run.native_live += 30_000
        run.rss += 30_000
        run.step()
    assert run.told() == [(IssueOpened, "suspected_leak-embed-1")]
    assert run.events[0].issue.evidence["growth_mb_per_min"] == pytest.approx(18, rel=0.2)
    assert any("C library" in each for each in run.events[0].issue.recommendations)


CLEAN = {
    "noise": lambda k: 0,
    "a warm-up that levels off": lambda k: 200_000 * (1 - math.exp(-k / 30)),
    "a sawtooth": lambda k: 60_000 * (k % 25) / 25,
    "one step": lambda k: 80_000 if k > 60 else 0,
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_programs_are_never_suspected(name):
    run = Run()
    run.grow(1_500, CLEAN[name])
    assert run.events == []


def test_a_plateau_of_retention_is_never_suspected():
    """RSS rises and stays, while what is live stays what it was: the allocator keeps what was freed."""
    run = Run()
    for k in range(600):
        run.rss = BASE + min(k, 200) * 1_500_000
        run.native_free = min(k, 200) * 1_500_000
        run.blocks = 100_000 + run.rng.randrange(500)
        run.step()
    assert run.told(IssueKind.SUSPECTED_LEAK) == []


def test_rss_that_rises_alone_is_advice_on_request_and_no_issue():
    run = Run()
    for _ in range(150):
        run.rss += 300_000
        run.step()
    report = run.analyzer.analyze()
    assert run.events == []
    assert report.issues == ()
    assert any("RSS rises by 180.0 MB/min while live memory does not" in each for each in report.recommendations)


def test_batches_that_grow_are_no_leak():
    run = Run()
    for k in range(400):
        run.blocks = 100_000 + 300 * k
        run.rss = BASE + 30_000 * k
        run.step(loads={"embed": 10.0 + k})
    assert run.told(IssueKind.SUSPECTED_LEAK) == []


def test_a_bounded_cache_is_suspected_while_it_fills_and_taken_back():
    run = Run(update_interval_s=5)
    run.grow(700, lambda k: 200 * min(k, 300))
    kinds = [kind for kind, _ in run.told()]
    assert kinds[0] is IssueOpened
    assert kinds[-1] is IssueResolved
    assert kinds.count(IssueOpened) == 1
    assert "growth has stopped" in run.events[-1].reason
    assert run.analyzer.open_issues == ()


def test_a_leak_that_begins_late_is_found():
    run = Run()
    run.grow(3_000, lambda k: 0)
    run.grow(1_500, lambda k: 400 * k)
    assert run.told()[:1] == [(IssueOpened, "suspected_leak-embed-1")]


def test_a_leak_below_the_threshold_is_not_worth_a_word():
    run = Run(leak_threshold_rate=20)
    run.grow(300, lambda k: 200 * k)
    assert run.events == []


def test_a_leak_stays_one_issue_and_is_updated_at_intervals():
    run = Run(update_interval_s=10)
    run.grow(450, lambda k: 200 * k)
    told = run.told()
    assert {name for _, name in told} == {"suspected_leak-embed-1"}
    assert [kind for kind, _ in told] == [IssueOpened] + [IssueUpdated] * (len(told) - 1)
    times_s = [event.issue.updated_at_s for event in run.events]
    assert all(later - earlier >= 10 for earlier, later in pairwise(times_s))


def test_a_suspicion_that_goes_on_ten_times_as_long_is_a_leak_and_is_told_at_once():
    run = Run(update_interval_s=10_000)
    run.grow(1_300, lambda k: 200 * k)
    assert run.told() == [(IssueOpened, "suspected_leak-embed-1"), (IssueUpdated, "suspected_leak-embed-1")]
    first, last = (event.issue for event in run.events)
    assert (first.kind, last.kind) == (IssueKind.SUSPECTED_LEAK, IssueKind.LEAK)
    assert last.updated_at_s - first.opened_at_s >= 10 * first.evidence["seen_s"]
    assert "a leak: it has gone on" in last.message
    assert run.analyzer.open_issues == (last,)


@pytest.mark.parametrize("name", ["descriptors", "tasks"])
def test_what_is_never_closed_or_never_ends_is_found_whatever_it_weighs(name):
    run = Run()
    for k in range(150):
        setattr(run, name, 10 + k)
        run.step()
    (told,) = run.events
    assert told.issue.evidence[f"{name}_per_item"] == pytest.approx(1 / 50, rel=0.05)
    assert told.issue.severity is Severity.WARNING
    assert any("do not end" in each or "close files" in each for each in told.issue.recommendations)


def test_tasks_that_follow_the_work_in_flight_are_no_leak():
    run = Run()
    for k in range(400):
        run.tasks = 10 + k
        run.step(loads={"embed": float(k)})
    assert run.events == []


def test_results_that_grow_are_no_leak_where_there_is_rest_between_calls():
    """Results of one call are live until it returns, and only then is nothing in flight."""
    run = Run(leak_threshold_rate=0.1)
    for k in range(300):
        size = 20 * (10 + k)
        run.blocks += size
        run.native_live += 50 * size
        run.step(seconds=0.045)
        run.blocks -= size
        run.native_live -= 50 * size
        run.step(seconds=0.01, items=0, drained=True)
    assert run.events == []


def test_the_limit_is_forecast_with_an_interval_once_it_is_minutes_away():
    run = Run()
    run.limit = 200_000_000
    run.grow(200, lambda k: 200 * k)
    (opened,) = [
        event for event in run.events if event.issue.kind is IssueKind.OOM_FORECAST and type(event) is IssueOpened
    ]
    evidence = opened.issue.evidence
    assert evidence["earliest_minutes"] <= evidence["minutes_to_limit"] <= evidence["latest_minutes"]
    assert evidence["minutes_to_limit"] == pytest.approx(evidence["headroom_bytes"] / 12e6, rel=0.1)
    run.grow(300, lambda k: 0)
    assert IssueKind.OOM_FORECAST not in [issue.kind for issue in run.analyzer.open_issues]


def test_growth_outside_this_process_is_not_blamed_on_it():
    run = Run()
    for k in range(300):
        run.step(in_use=BASE + 2_000_000 * k)
    kinds = {event.issue.kind for event in run.events}
    assert IssueKind.UNMANAGED_GROWTH in kinds
    assert not kinds & GROWTH_KINDS


def test_severity_rises_as_the_limit_comes_near_and_is_told_at_once():
    run = Run(update_interval_s=10_000)
    run.limit = 240_000_000
    run.grow(1_300, lambda k: 200 * k)  # 12 MB/min: from 11.5 minutes before the limit to 9.5
    growth = [event for event in run.events if event.issue.kind in GROWTH_KINDS]
    assert [(type(event), event.issue.severity) for event in growth] == [
        (IssueOpened, Severity.WARNING),
        (IssueUpdated, Severity.WARNING),  # no longer a suspicion
        (IssueUpdated, Severity.CRITICAL),
    ]


def work_beside(run, steps, leaks, rates):
    """Let operations run beside each other: `rates` are items a step, of which `leaks` gain so many blocks each."""
    done = dict(getattr(run, "done", {}))
    for k in range(steps):
        for name, rate in rates.items():
            items = rate(k)
            done[name] = done.get(name, 0) + items
            run.blocks += leaks.get(name, 0) * items
            run.rss += 100 * leaks.get(name, 0) * items
        run.now_s += 0.1
        reading = MemoryReading(run.now_s, run.rss, run.rss, run.rss, LIMIT)
        window = MemoryWindow(run.rss, reading, dict.fromkeys(rates, 1.0), dict(done), False)
        run.state.accept(window, PressureLevel.NORMAL)
    run.done = done


def test_with_two_operations_alike_nobody_is_blamed():
    run = Run()
    work_beside(run, 200, {"a": 30}, {"a": lambda k: 10, "b": lambda k: 10})
    assert {name for _, name in run.told()} == {"suspected_leak-1"}
    issue = run.events[0].issue
    assert issue.operation is None
    assert set(issue.candidates) == {"a", "b"}
    assert issue.evidence["operation_sureness"] < 0.6
    assert "in one of a, b (nobody can tell which)" in issue.message
    assert any("to tell which of a, b it is, run them one at a time" in each for each in issue.recommendations)


def test_of_two_operations_with_rates_of_their_own_the_one_that_leaks_is_named():
    run = Run()
    work_beside(run, 200, {"leaky": 8}, {"leaky": lambda k: 20 + 15 * (k // 10 % 2), "clean": lambda k: 5 + k % 40})
    issue = run.events[0].issue
    evidence = issue.evidence
    assert (issue.id, issue.operation, issue.candidates) == ("suspected_leak-leaky-1", "leaky", ())
    assert evidence["operation_sureness"] >= 0.95
    assert evidence["growth_bytes_per_item"] == pytest.approx(800, rel=0.2)
    assert evidence["blocks_per_item"] == pytest.approx(8, rel=0.2)
    assert evidence["growth_mb_per_hour"] == pytest.approx(60 * evidence["growth_mb_per_min"], rel=0.2)
    assert evidence["operation_items"] < 0.65 * evidence["seen_items"]
    assert f"an item of leaky) in operation leaky (sure: {evidence['operation_sureness']:.2f}) over" in issue.message


def test_who_it_is_may_become_known_later_and_it_stays_one_issue():
    run = Run(update_interval_s=10_000)
    work_beside(run, 150, {"a": 10}, {"a": lambda k: 30, "b": lambda k: 30})
    work_beside(run, 150, {"a": 10}, {"a": lambda k: 30 if k % 30 < 15 else 10, "b": lambda k: 30})
    first, *others = (event.issue for event in run.events if event.issue.kind in GROWTH_KINDS)
    assert (first.operation, set(first.candidates)) == (None, {"a", "b"})
    assert [(each.operation, each.candidates) for each in others] == [("a", ())]
    assert {name for _, name in run.told()} == {"suspected_leak-1"}
    assert run.analyzer.open_issues[0].operation == "a"


def test_growth_of_the_only_operation_is_its_own_for_certain():
    run = Run()
    run.grow(150, lambda k: 200 * k)
    issue = run.events[0].issue
    assert issue.operation == "embed"
    assert (issue.evidence["operation_sureness"], issue.evidence["operation_share"]) == (1.0, 1.0)
    assert "operation_items" not in issue.evidence
    assert "sure" not in issue.message


def test_suspects_that_come_later_change_no_number_of_whose_it_is():
    run = Run(update_interval_s=0.001)
    work_beside(run, 200, {"leaky": 8}, {"leaky": lambda k: 20 + 15 * (k // 10 % 2), "clean": lambda k: 5 + k % 40})
    before = run.analyzer.open_issues[0]
    run.analyzer._now_s = run.now_s + 1
    run.analyzer._suspects_came()
    after = run.analyzer.open_issues[0]
    assert after.updated_at_s > before.updated_at_s
    assert after.evidence == before.evidence


# ---- use ------------------------------------------------------------------------------------------------------


def test_high_use_is_told_once_it_lasted():
    run = Run(sustained_s=1.0)
    run.use(90, 0.9)
    assert run.events == []
    run.use(90, 1.0)
    assert run.told() == [(IssueOpened, "high_utilization-embed-1")]
    issue = run.events[0].issue
    assert issue.evidence["utilization_pct"] == 90
    assert issue.evidence["high_for_s"] >= 1.0
    assert "858 MiB of 954 MiB (90.0 %)" in issue.message


def test_a_brief_spike_is_not_told():
    run = Run(sustained_s=1.0)
    for _ in range(10):
        run.use(90, 0.5)
        run.use(50, 0.1)
    assert run.events == []


def test_near_the_limit_is_told_at_once():
    run = Run()
    run.use(50, 1)
    run.step(in_use=960_000_000, seconds=0.001)
    assert run.told() == [(IssueOpened, "near_limit-embed-1")]
    assert run.events[0].issue.severity is Severity.CRITICAL


def test_use_that_falls_a_little_keeps_the_issue_and_use_that_falls_clear_ends_it():
    run = Run(sustained_s=1.0, update_interval_s=1000)
    run.use(90, 2)
    run.use(82, 5)  # below the threshold, within the hysteresis
    assert [kind for kind, _ in run.told()] == [IssueOpened]
    run.use(79, 0.5)
    run.use(82, 0.5)
    run.use(79, 0.5)
    assert [kind for kind, _ in run.told()] == [IssueOpened]
    run.use(79, 1)
    assert [kind for kind, _ in run.told()] == [IssueOpened, IssueResolved]
    assert run.events[-1].reason == "use fell to 79.0 % of the limit, below 80 %"


def test_a_garbage_collection_cycle_does_not_flap():
    run = Run(sustained_s=1.0, update_interval_s=1000)
    for _ in range(20):
        run.use(92, 1.5)
        run.use(70, 0.5)
    assert [kind for kind, _ in run.told()] == [IssueOpened]


def test_when_the_work_is_over_an_issue_ends_with_the_last_reading():
    """Nothing is read while nothing is in flight, so that no later reading would end it."""
    run = Run()
    run.use(97, 2)
    run.step(in_use=200_000_000, drained=True)
    assert {name for kind, name in run.told() if kind is IssueResolved} == {
        "near_limit-embed-1",
        "high_utilization-embed-1",
    }


def test_updates_of_use_are_rate_limited():
    run = Run(update_interval_s=10, near_limit_threshold=99)
    run.use(90, 31)
    assert [kind for kind, _ in run.told()] == [IssueOpened, IssueUpdated, IssueUpdated]


def test_recommendations_carry_numbers():
    run = Run()
    run.native_free = 300_000_000
    run.rss = 900_000_000
    run.use(97, 0.1)
    run.analyzer.analyze()
    advice = " | ".join(run.analyzer.analyze().recommendations)
    assert "free 66.8 MiB, or raise the limit from 954 MiB to 1 GiB, to get under 90 %" in advice
    assert "286 MiB are freed but still held by the allocator" in advice


def test_use_by_others_is_named():
    run = Run()
    run.use(97, 0.1)
    advice = " | ".join(run.events[0].issue.recommendations)
    assert "830 MiB of it are outside this process's 95.4 MiB" in advice


def test_a_limit_that_is_lowered_below_use_is_near():
    run = Run()
    run.step(in_use=500_000_000)
    run.limit = 400_000_000
    run.step(in_use=500_000_000)
    assert run.told() == [(IssueOpened, "near_limit-embed-1")]


# ---- on request -----------------------------------------------------------------------------------------------


def test_analyze_works_with_no_history_and_says_so():
    run = Run()
    run.step()
    report = run.analyzer.analyze()
    assert report.issues == ()
    assert report.history_samples == 1
    assert any("there are 1 samples over 0.0 s, and it takes 57 over 3 s" in each for each in report.notes)
    assert str(report).startswith("no memory issue\n- ")


def test_analyze_tells_what_is_wrong_now_and_opens_nothing():
    run = Run()
    run.step(in_use=900_000_000)
    report = run.analyzer.analyze()
    assert [issue.id for issue in report.issues] == ["high_utilization-now"]
    assert run.events == []
    assert run.analyzer.open_issues == ()


def test_analyze_includes_open_issues_once():
    run = Run()
    run.use(97, 3)
    report = run.analyzer.analyze()
    assert [issue.id for issue in report.issues] == ["near_limit-embed-1", "high_utilization-embed-1"]
    assert len(set(report.recommendations)) == len(report.recommendations)
    assert str(report).splitlines()[0].startswith("CRITICAL near_limit-embed-1: ")


def test_statistics_are_those_of_the_latest_reading():
    run = Run()
    run.rss = 300_000_000
    run.step()
    run.rss = 200_000_000
    run.step(in_use=250_000_000)
    found = run.analyzer.memory_statistics()
    assert (found.limit_bytes, found.limit_source) == (LIMIT, "the test's own limit")
    assert (found.in_use_bytes, found.available_bytes, found.utilization_pct) == (250_000_000, 750_000_000, 25.0)
    assert (found.rss_bytes, found.peak_rss_bytes) == (200_000_000, 300_000_000)
    assert (found.allocator_blocks, found.native_live_bytes, found.native_free_bytes) == (100_000, 5_000_000, 0)
    assert found.gc_enabled is gc.isenabled()
    assert len(found.gc_counts) == 3


def test_without_any_reading_memory_is_read_for_real():
    found = HeapAnalyzer().memory_statistics()
    assert 0 < found.rss_bytes < found.limit_bytes
    assert found.limit_source
    assert HeapAnalyzer().analyze().history_samples == 0


def test_a_refresh_comes_before_each_request():
    run = Run()
    run.analyzer._refresh = lambda: run.step(in_use=960_000_000)
    assert [issue.kind for issue in run.analyzer.analyze().issues][:1] == [IssueKind.NEAR_LIMIT]
    assert run.analyzer.memory_statistics().in_use_bytes == 960_000_000


# ---- robustness -----------------------------------------------------------------------------------------------


def test_memory_is_bounded_whatever_the_length_of_the_run():
    run = Run()
    room = run.analyzer._growth.room_bytes
    for _ in range(2_000):
        run.step(seconds=0.05)
    gc.collect()
    before = sys.getallocatedblocks()
    run.state.history = type(run.state.history)(16)  # the state's own history is another test's
    for _ in range(98_000):
        run.step(seconds=0.05, items=1)
    gc.collect()
    assert run.analyzer._growth.room_bytes == room
    assert run.analyzer._growth.samples <= 240
    assert sys.getallocatedblocks() - before < 2_000
    assert run.events == []


def test_a_window_that_comes_twice_counts_once():
    run = Run()
    for _ in range(10):
        window = run.step()
        run.analyzer.observe(window)
    assert run.analyzer._growth.samples == 10


def test_a_fault_in_here_reaches_nobody_and_is_told(caplog):
    run = Run()
    run.analyzer._growth._read_allocator = lambda: 1 / 0
    for _ in range(5):
        run.step()
    assert caplog.text.count("ZeroDivisionError") == 1
    assert any("5 analyses failed" in each for each in run.analyzer.analyze().notes)


def test_a_clock_that_is_set_back_begins_anew():
    run = Run()
    run.use(90, 2)
    for _ in range(50):
        run.step()
    run.now_s -= 500
    run.step(in_use=900_000_000)
    assert run.analyzer._growth.samples == 1
    run.use(50, 3)
    assert [kind for kind, _ in run.told()] == [IssueOpened, IssueResolved]


def test_a_heap_that_is_read_no_more_does_not_leave_old_samples_in_judgement():
    run = Run()
    for _ in range(80):
        run.native_live += 50_000
        run.step()
    run.native = False
    run.step()
    assert "native_bytes" not in run.analyzer._growth.window(run.state.reading).live
    assert any("C library does not tell" in each for each in run.analyzer.analyze().notes)


def test_expensive_readings_are_taken_less_often():
    run = Run()
    ticks = iter(range(10**6))
    run.analyzer._growth._cost_clock = lambda: next(ticks) * 0.05  # 50 ms of processor time each
    for _ in range(200):
        run.step(seconds=0.05)  # 10 s at one per cent
    assert run.analyzer._growth.samples <= 3


def test_growth_that_was_told_for_a_while_is_watched_at_its_usual_cost(monkeypatch):
    run = Run()
    watch, ticks, taken = run.analyzer._growth, iter(range(10**6)), []
    watch._cost_clock = lambda: next(ticks) * 0.0005
    add = watch._add
    monkeypatch.setattr(watch, "_add", lambda *given: (taken.append(given), add(*given)))
    counts = []
    for _ in range(80):
        before = len(taken)
        for _ in range(20):
            run.native_live += 50_000
            run.step(seconds=0.05)
        counts.append((bool(run.analyzer.open_issues), len(taken) - before))
    wary = [count for is_open, count in counts if is_open][:20]
    usual = [count for _, count in counts][-20:]
    assert min(wary) > 1.5 * max(usual) > 0


def test_nothing_is_sampled_between_batches_but_now_and_then():
    run = Run()
    for _ in range(100):
        run.step(items=0)
    assert 20 <= run.analyzer._growth.samples <= 22


def test_an_analyzer_that_nobody_holds_goes_away():
    state = MemoryState()
    gone = weakref.ref(HeapAnalyzer(state=state))
    gc.collect()
    assert gone() is None


def test_one_that_does_not_watch_is_fed_by_hand():
    state = MemoryState()
    analyzer = HeapAnalyzer(state=state, watch=False)
    reading = MemoryReading(1.0, 1, 1, 99, 100)
    window = MemoryWindow(1, reading, {}, {}, True)
    state.accept(window, PressureLevel.NORMAL)
    assert analyzer.open_issues == ()
    analyzer.observe(window)
    assert [issue.id for issue in analyzer.open_issues] == ["near_limit-1"]


def test_debug_logs_every_verdict(caplog):
    caplog.set_level("DEBUG", logger="memflow.analysis")
    run = Run(debug=True)
    run.use(97, 0.1)
    assert "opened CRITICAL near_limit-embed-1" in caplog.text


# ---- the channel ----------------------------------------------------------------------------------------------


def run_on(backend, main):
    async def bounded():
        with anyio.fail_after(60):
            await main()

    anyio.run(bounded, backend=backend)


def subscribable(**settings):
    run = Run(**settings)
    del run.analyzer._hub.publish  # deliver for real
    return run


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_issue_is_told_through_its_life_and_the_end_after_closing(backend):
    run = subscribable(update_interval_s=1000)

    async def main():
        async with run.analyzer.issues() as issues:
            run.use(97, 0.1)
            run.use(50, 2)
            run.analyzer.close()
            run.analyzer.close()
            events = [event async for event in issues]
        assert [type(event) for event in events] == [IssueOpened, IssueResolved]
        assert {event.issue.id for event in events} == {"near_limit-embed-1"}

    run_on(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_who_comes_late_is_told_what_is_open(backend):
    run = subscribable()
    run.use(97, 2)

    async def main():
        async with run.analyzer.issues() as issues:
            assert [(await anext(issues)).issue.kind for _ in range(2)] == ["near_limit", "high_utilization"]
            run.analyzer.close()
            assert [event async for event in issues] == []

    run_on(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_full_channel_tells_its_loss(backend):
    run = subscribable(channel_size=2)

    async def main():
        async with run.analyzer.issues() as issues:
            for _ in range(3):
                run.step(in_use=970_000_000)
                run.step(in_use=100_000_000, drained=True)
            run.analyzer.close()
            events = [event async for event in issues]
        assert [type(event) for event in events] == [EventsDropped, IssueOpened, IssueResolved]
        assert (events[0].count, events[0].issue) == (4, None)
        assert events[1].issue.id == "near_limit-embed-3"
        assert run.analyzer.events_dropped == 4

    run_on(backend, main)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_issues_found_in_another_thread_reach_a_waiting_subscriber(backend):
    run = subscribable()

    async def main():
        async with run.analyzer.issues() as issues:
            thread = threading.Thread(target=run.use, args=(97, 0.1))
            thread.start()
            assert (await anext(issues)).issue.kind is IssueKind.NEAR_LIMIT
            await anyio.to_thread.run_sync(thread.join)

    run_on(backend, main)


def test_a_closed_analyzer_watches_no_more():
    run = Run()
    run.analyzer.close()
    run.use(97, 1)
    run.analyzer.observe(run.step(in_use=970_000_000))
    assert run.events == []
