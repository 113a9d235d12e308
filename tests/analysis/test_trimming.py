"""When trimming is tried for an issue of retention, and how it is told."""

import pytest

from memflow.analysis.detectors import Finding, IssueKind, Severity
from memflow.analysis.issues import IssueOpened, IssueResolved, IssueUpdated
from memflow.analysis.trimming import TrimTrial
from memflow.memory.readings import MemoryReading
from memflow.memory.reclaim import ReclaimResult
from tests.analysis.test_analyzer import Run

MB = 1_000_000
LIMIT = 1_000 * MB


class World:
    """A clock, and a heap that gives back what it is told to."""

    def __init__(self, *, gives=200 * MB, seconds=0.05):
        self.now_s, self.gives, self.seconds = 0.0, gives, seconds
        self.trims, self.told, self.failed, self.waiting, self.held = [], 0, 0, [], False
        self.trial = TrimTrial(self.trim, told=self.tell, failed=self.fail, clock=lambda: self.now_s, start=self.start)

    def trim(self):
        self.trims.append(self.now_s)
        if isinstance(self.gives, Exception):
            raise self.gives
        return None if self.gives is None else ReclaimResult(self.gives, 0, True, self.seconds)

    def tell(self):
        self.told += 1

    def fail(self):
        self.failed += 1

    def start(self, run):
        if self.held:
            self.waiting.append(run)
        else:
            run()

    def look(self, resident=300 * MB):
        evidence = {"resident_bytes": float(resident)}
        reading = MemoryReading(self.now_s, 600 * MB, 600 * MB, 620 * MB, LIMIT)
        return self.trial.look(Finding(IssueKind.RETENTION, Severity.INFO, evidence), reading)

    def look_for(self, seconds):
        for _ in range(int(seconds)):
            self.look()
            self.now_s += 1.0


def test_what_came_back_is_told_and_in_the_evidence():
    world = World()
    found = world.look()
    assert world.told == 1
    assert found.evidence["trim_gave_back_bytes"] == 200 * MB
    assert found.evidence["trim_took_ms"] == pytest.approx(50)
    assert found.evidence["trim_at_pct"] == pytest.approx(62)


def test_too_little_is_not_worth_it():
    world = World()
    assert "trims" not in world.look(resident=49 * MB).evidence
    assert world.trims == []


def test_where_nothing_can_be_trimmed_nothing_is_tried():
    world = World()
    world.trial._trim = None
    world.look_for(100)
    assert world.trims == []
    world.trial.use(world.trim)
    world.look()
    assert len(world.trims) == 1


def test_it_is_tried_at_intervals_while_it_pays_and_ever_less_often_while_it_does_not():
    paying, idle = World(), World(gives=10 * MB)
    paying.look_for(300)
    assert paying.trims == [30.0 * k for k in range(10)]
    idle.look_for(1000)
    assert idle.trims == [0.0, 60.0, 180.0, 420.0, 900.0]
    assert idle.trial.outcome.trims == 5


def test_a_trim_that_takes_long_rests_longer():
    world = World(seconds=1.0)
    world.look_for(400)
    assert world.trims == [0.0, 199.0, 398.0]


def test_one_at_a_time():
    world = World()
    world.held = True
    world.look()
    world.look()
    assert len(world.waiting) == 1
    world.waiting.pop()()
    assert len(world.trims) == 1


def test_what_comes_back_after_the_issue_is_over_is_no_news_to_the_next():
    world = World()
    world.held = True
    world.look()
    world.trial.forget()
    world.waiting.pop()()
    assert (world.told, world.trial.outcome) == (0, None)


def test_when_it_is_not_to_be_done_now_it_is_asked_again_soon():
    world = World(gives=None)
    world.look()
    world.look()
    assert len(world.trims) == 1
    world.now_s, world.gives = 1.0, 200 * MB
    world.look()
    assert world.told == 1


def test_what_fails_is_not_tried_again():
    world = World(gives=OSError("no"))
    world.look()
    world.now_s = 1000.0
    world.look()
    assert (world.failed, len(world.trims)) == (1, 1)


def test_no_room_for_a_thread_is_tried_again():
    world = World()

    def refuse(run):
        raise RuntimeError("can't start new thread")

    world.trial._start = refuse
    assert "trims" not in world.look().evidence
    world.trial._start = world.start
    assert "trims" in world.look().evidence


# ---- in an analyzer ---------------------------------------------------------------------------------------------


def retain(run, steps):
    for _ in range(steps):
        run.rss += 3 * MB
        run.native_free += 3 * MB
        run.step()


def run_with(trim, *, start=lambda run: run(), **settings):
    run = Run(**settings)
    trial = run.analyzer._tried.trial
    trial._trim, trial._start, trial._clock = trim, start, lambda: run.now_s
    return run


def test_an_issue_of_retention_is_opened_updated_by_what_came_back_and_resolved():
    threads = []
    run = run_with(lambda: ReclaimResult(280 * MB, 0, True, 0.057), start=threads.append, update_interval_s=10_000)
    retain(run, 110)
    (opened,) = [event for event in run.events if event.issue.kind is IssueKind.RETENTION]
    assert isinstance(opened, IssueOpened)
    assert "trims" not in opened.issue.evidence
    assert any("still held by the allocator" in each for each in opened.issue.recommendations)
    (trial,) = threads
    trial()
    updated = run.events[-1]
    assert isinstance(updated, IssueUpdated)
    assert updated.issue.id == opened.issue.id
    assert updated.issue.evidence["trim_gave_back_bytes"] == 280 * MB
    assert updated.issue.recommendations[0].startswith("trimming gave back 267 MiB of the ")
    run.rss -= 280 * MB
    for _ in range(120):
        run.step()
    assert isinstance(run.events[-1], IssueResolved)
    assert run.events[-1].reason.endswith("trimming gave back 267 MiB in 57 ms")
    assert run.analyzer._tried.trim is None


def test_a_trim_that_hardly_gives_back_leaves_the_issue_open_with_other_advice():
    run = run_with(lambda: ReclaimResult(2 * MB, 0, True, 0.16))
    retain(run, 130)
    (issue,) = [each for each in run.analyzer.open_issues if each.kind is IssueKind.RETENTION]
    assert "does not help here" in issue.recommendations[0]
    assert any("MALLOC_ARENA_MAX" in each for each in issue.recommendations)


def test_an_analyzer_that_was_given_no_means_tries_nothing():
    run = Run()
    retain(run, 130)
    (issue,) = [each for each in run.analyzer.open_issues if each.kind is IssueKind.RETENTION]
    assert "trims" not in issue.evidence
