"""Whether less work at once brought use down."""

from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.detectors import Finding, IssueKind, Severity
from memflow.analysis.issues import IssueResolved, IssueUpdated
from memflow.analysis.relief import CUT_PCT, Relief, left_in_flight_pct, less_work
from tests.analysis.test_analyzer import Run


def use(in_use, kind=IssueKind.HIGH_UTILIZATION):
    return Finding(kind, Severity.WARNING, {"in_use_bytes": float(in_use), "limit_bytes": 1000.0})


def test_the_first_look_is_what_the_others_are_compared_with():
    relief = Relief()
    assert relief.look(use(900), {"embed": 40.0}).evidence["in_flight_left_pct"] == 100
    now = relief.look(use(800), {"embed": 10.0}).evidence
    assert (now["in_use_at_first_bytes"], now["in_flight_left_pct"]) == (900, 25)
    assert relief.look(use(990, IssueKind.NEAR_LIMIT), {"embed": 10.0}).evidence["in_use_at_first_bytes"] == 990
    relief.forget(IssueKind.HIGH_UTILIZATION)
    assert relief.look(use(870), {"embed": 10.0}).evidence["in_use_at_first_bytes"] == 870


def test_other_kinds_and_what_cannot_be_compared_stay_as_they_are():
    relief = Relief()
    leak = Finding(IssueKind.LEAK, Severity.INFO, {})
    assert relief.look(leak, {"embed": 1.0}) is leak
    idle = use(900)
    assert relief.look(idle, {}) is idle
    relief.look(use(900, IssueKind.NEAR_LIMIT), {"embed": 4.0})
    other = use(900, IssueKind.NEAR_LIMIT)
    assert relief.look(other, {"index": 2.0}) is other


def test_of_several_operations_the_one_of_which_most_is_left_counts():
    assert left_in_flight_pct({"a": 10.0, "b": 4.0}, {"a": 1.0, "b": 3.0}) == 75
    assert left_in_flight_pct({"a": 10.0, "b": 4.0}, {"a": 1.0}) == 10
    assert left_in_flight_pct({"a": 10.0}, {}) == 0


def evidence(fell, left_pct):
    return {
        "in_use_bytes": 900.0 - fell,
        "in_use_at_first_bytes": 900.0,
        "limit_bytes": 1000.0,
        "in_flight_left_pct": left_pct,
    }


def test_less_work_helped_where_use_fell_with_it():
    assert less_work(evidence(fell=200, left_pct=50)) == "helped"
    assert less_work(evidence(fell=5, left_pct=50)) == "did not help"
    assert less_work(evidence(fell=-50, left_pct=50)) == "did not help"


@given(st.floats(-1000, 1000), st.floats(0, 500))
def test_it_is_judged_only_where_it_was_tried(fell, left_pct):
    judged = less_work(evidence(fell, left_pct))
    assert (judged is not None) == (0 < left_pct <= CUT_PCT)
    assert less_work({"in_use_bytes": 1.0}) is None


# ---- in an analyzer ---------------------------------------------------------------------------------------------


def test_an_issue_of_use_is_written_anew_by_what_less_work_did():
    run = Run(update_interval_s=5)
    run.rss = 890_000_000
    run.use(90, 3, loads={"embed": 40.0})
    run.use(90, 9, loads={"embed": 10.0})
    still = run.events[-1].issue
    assert isinstance(run.events[-1], IssueUpdated)
    assert any("embed at once will not help" in each for each in still.recommendations)
    assert still.evidence["in_flight_left_pct"] == 25
    run.use(60, 3, loads={"embed": 10.0})
    assert isinstance(run.events[-1], IssueResolved)
    assert run.events[-1].reason.endswith("use fell by 286 MiB once the work in flight was cut to 25 %")


def test_work_that_has_ended_says_nothing_about_less_of_it():
    run = Run()
    run.use(90, 3, loads={"embed": 40.0})
    run.step(in_use=300_000_000, loads={"embed": 40.0}, drained=True)
    assert isinstance(run.events[-1], IssueResolved)
    assert run.events[-1].reason.endswith("below 80 %")
