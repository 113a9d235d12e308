"""What open growth is called, and who is named: from what an inquiry has found."""

import gc

import pytest

from memflow.analysis.collecting import Collection
from memflow.analysis.detectors import IssueKind
from memflow.analysis.issues import IssueOpened, IssueResolved, IssueUpdated
from memflow.analysis.suspect import Suspect
from tests.analysis.test_analyzer import Run

CACHE = Suspect("container", "module attribute app.cache (dict)", "", 900, 400, 1.0, 160_000)
RESULTS = Suspect(
    "container", "list of dict", "attribute _kept of memflow.processing.delivery.Delivery", 9, 4, 1.0, 1_600
)

SITE = Suspect("allocation site", "app.py:10 in load", "called by app.py:90 in main", 40, 20, 1.0, 8_000)


class Answers:
    """An inquiry that has found what it is given."""

    notes = ()

    def __init__(self, *suspects, collected=None):
        self.suspects, self.collected, self.asked = suspects, collected, []

    def begin(self, items):
        self.asked.append(("begin", items))

    def look(self, items, *, may_collect=False):
        self.asked.append(("look", items))

    def forget(self):
        self.suspects, self.collected = (), None


def run_with(*suspects, collected=None, **settings):
    run = Run(**settings)
    run.analyzer._inquiry = run.analyzer._growth.inquiry = Answers(*suspects, collected=collected)
    return run


def leak(run, steps=150):
    run.grow(steps, lambda k: 200 * k)  # 400 bytes an item


def test_who_was_found_is_on_the_issue_and_in_its_words():
    run = run_with(CACHE)
    leak(run)
    issue = run.events[0].issue
    assert issue.suspects == (CACHE,)
    assert "first suspect: module attribute app.cache (dict) grows by 1 entries an item" in issue.message
    assert issue.recommendations[1] == f"look at {CACHE}"


def test_it_is_asked_from_where_something_has_begun_until_growth_is_over():
    run = run_with(CACHE)
    leak(run)
    kinds = [kind for kind, _ in run.analyzer._inquiry.asked]
    assert kinds[0] == "begin"
    assert "look" in kinds
    run.grow(300, lambda k: 0)
    assert isinstance(run.events[-1], IssueResolved)
    assert run.analyzer._inquiry.suspects == ()


def test_nothing_is_asked_while_nothing_grows():
    run = run_with()
    run.grow(300, lambda k: 0)
    assert run.analyzer._inquiry.asked == []


def test_who_is_found_later_is_told_at_once():
    run = run_with(update_interval_s=10_000)
    leak(run)
    assert len(run.events) == 1
    run.analyzer._inquiry.suspects = (CACHE,)
    run.analyzer._suspects_came()
    run.analyzer._suspects_came()
    assert [type(event) for event in run.events] == [IssueOpened, IssueUpdated]
    assert run.events[1].issue.suspects == (CACHE,)
    assert run.analyzer.open_issues[0].suspects == (CACHE,)


def test_results_that_are_collected_are_no_leak():
    run = run_with(RESULTS)
    leak(run)
    assert run.events[0].issue.id == "results_piling_up-embed-1"
    assert run.analyzer.open_issues[0].kind is IssueKind.RESULTS_PILING_UP
    assert any("stream()" in each for each in run.analyzer.open_issues[0].recommendations)


def collect(run, steps, *, leak=0, told=1.0, blocks=200):
    """Results of 4 blocks and 400 bytes an item are collected; so much of them is counted, and so much else leaks."""
    for _ in range(steps):
        kept_blocks, kept_bytes = run.kept
        run.kept = kept_blocks + told * blocks, kept_bytes + told * 20_000
        run.blocks += blocks + leak + run.rng.randrange(20)
        run.native_live += 20_000
        run.rss += 100 * (blocks + leak) + 20_000
        run.step()
        run.blocks -= 10


@pytest.mark.parametrize("told", [0.85, 1.0, 1.15])
def test_results_that_are_counted_are_told_as_what_they_are_and_nobody_looks(told):
    run = run_with()
    collect(run, 150, told=told)
    assert [(type(event), event.issue.kind) for event in run.events] == [(IssueOpened, IssueKind.RESULTS_PILING_UP)]
    issue = run.events[0].issue
    assert issue.evidence["native_bytes_per_item"] == pytest.approx(400 * told, rel=0.01)
    # 200 blocks of 64 bytes, and 20 kB, each 0.1 s
    assert issue.evidence["growth_mb_per_min"] == pytest.approx(told * 19.7, rel=0.01)
    assert any("stream()" in each for each in issue.recommendations)
    assert run.analyzer._inquiry.asked == []
    run.kept = 0.0, 0.0  # the caller has them, and lets them go
    run.blocks, run.native_live = 100_000, 5_000_000
    run.grow(100, lambda k: 0)
    assert [type(event) for event in run.events if not isinstance(event, IssueUpdated)] == [IssueOpened, IssueResolved]


def test_a_leak_beside_results_that_are_counted_is_a_leak():
    run = run_with(CACHE)
    collect(run, 150, leak=120)
    assert {event.issue.kind for event in run.events} == {IssueKind.RESULTS_PILING_UP, IssueKind.SUSPECTED_LEAK}
    leak_ = next(each for each in run.analyzer.open_issues if each.kind is IssueKind.SUSPECTED_LEAK)
    assert leak_.evidence["blocks_per_item"] == pytest.approx(120 / 50, rel=0.05)
    assert leak_.evidence["growth_mb_per_min"] == pytest.approx(11.5, rel=0.1)  # and not what the results take
    assert leak_.suspects == (CACHE,)


def test_results_that_the_caller_keeps_call_after_call_are_a_leak():
    run = run_with(CACHE)
    for _ in range(12):
        collect(run, 12)
        run.kept = 0.0, 0.0
        run.step(drained=True)
    assert [event.issue.kind for event in run.events if isinstance(event, IssueOpened)] == [IssueKind.SUSPECTED_LEAK]


def test_nobody_is_named_for_native_memory_who_does_not_weigh_it():
    run = run_with(CACHE)
    for _ in range(170):
        run.native_live += 300_000  # 6,000 bytes an item; the cache holds 400
        run.rss += 300_000
        run.step()
    issue = run.analyzer.open_issues[0]
    assert issue.suspects == ()
    assert any("the C library's heap does" in each for each in issue.recommendations)


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_what_collecting_finds_is_cyclic_garbage_until_the_collector_runs():
    run = run_with(update_interval_s=10_000)
    leak(run)
    run.analyzer._inquiry.collected = Collection(25_000, 12_000_000, 130.4)
    run.analyzer._suspects_came()
    issue = run.analyzer.open_issues[0]
    assert issue.kind is IssueKind.CYCLIC_GARBAGE
    assert issue.evidence["collected_objects"] == 25_000
    assert issue.evidence["collected_bytes"] == 12_000_000
    assert any("25,000 objects and freed about 11.4 MiB in 130 ms" in each for each in issue.recommendations)
    run.grow(300, lambda k: 0)  # collecting once has ended it for a while
    assert run.analyzer.open_issues[0].kind is IssueKind.CYCLIC_GARBAGE
    gc.enable()
    run.grow(100, lambda k: 0)
    assert run.analyzer.open_issues == ()
    assert run.events[-1].reason.startswith("the garbage collector is on again")


@pytest.mark.usefixtures("no_collector")
def test_a_leak_with_the_collector_off_is_still_a_leak():
    run = run_with(CACHE, collected=Collection(40, 2_560, 1.0))
    leak(run)
    assert run.analyzer.open_issues[0].kind is IssueKind.SUSPECTED_LEAK


def test_the_place_in_the_code_is_told_behind_the_holders_however_many_there_are():
    holders = [Suspect("container", f"list {number}", "", 900, 400, 1.0, 160_000) for number in range(4)]
    run = run_with(*holders, SITE)
    leak(run)
    issue = run.events[0].issue
    assert issue.suspects == (*holders, SITE)
    looks = [each for each in issue.recommendations if each.startswith("look at")]
    assert looks == [f"look at {each}" for each in (*holders[:3], SITE)]


def test_a_place_alone_says_what_kind_of_growth_it_is_too():
    run = run_with(SITE)
    leak(run)
    issue = run.events[0].issue
    assert f"first suspect: {SITE}" in issue.message
    assert any(each.startswith("look for what embed keeps") for each in issue.recommendations)
    assert f"look at {SITE}" in issue.recommendations


def test_a_place_is_told_where_native_memory_grows_alone_and_light_holders_are_not():
    run = run_with(Suspect("container", "list of int", "", 9, 4, 1.0, 64), SITE, native=True)
    for _ in range(150):
        run.native_live += 20_000
        run.rss += 20_000
        run.step()
    issue = run.events[0].issue
    assert "blocks_per_min" not in issue.evidence
    assert issue.suspects == (SITE,)
    assert any("the C library's heap does" in each for each in issue.recommendations)


def test_a_place_that_comes_later_is_told_at_once():
    run = run_with(CACHE, update_interval_s=1_000)
    leak(run)
    before = len(run.events)
    run.analyzer._inquiry.suspects = (CACHE, SITE)
    run.analyzer._suspects_came()
    run.analyzer._suspects_came()
    assert len(run.events) == before + 1
    assert run.events[-1].issue.suspects == (CACHE, SITE)
