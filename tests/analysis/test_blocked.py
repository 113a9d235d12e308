"""How often loops were blocked, for how long, and where."""

from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.blocked import BlockBook, excused_s
from memflow.analysis.detectors import IssueKind, Severity


def book(blocked_s=1.0, calm_s=3.0):
    return BlockBook(blocked_s=blocked_s, calm_s=calm_s)


def test_a_silence_counts_from_its_threshold_on():
    kept = book()
    assert kept.silent("a", 0.99, "f") is None
    assert not kept.is_open
    found = kept.silent("a", 1.2, "f")
    assert (found.kind, found.severity) == (IssueKind.EVENT_LOOP_BLOCKED, Severity.WARNING)
    assert found.evidence == {"blocked_s": 1.2, "times": 1, "total_blocked_s": 1.2, "longest_blocked_s": 1.2}
    assert kept.is_blocked
    assert kept.latest_place == "f"


def test_a_loop_that_answers_counts_once_with_its_whole_silence():
    kept = book()
    kept.silent("a", 1.2, "f")
    kept.silent("a", 1.4, "f")
    assert kept.answered("a", 1.5, 10.0).evidence["total_blocked_s"] == 1.5
    assert not kept.is_blocked
    assert kept.answered("a", 0.0, 11.0) is None
    again = kept.answered("a", 2.5, 12.0)  # told only once it was over
    assert again.evidence == {"blocked_s": 2.5, "times": 2, "total_blocked_s": 4.0, "longest_blocked_s": 2.5}
    assert kept.latest_place == ""
    assert kept.usual_place == "f"


def test_it_is_over_when_all_have_been_well_for_a_while():
    kept = book()
    assert kept.end(0.0) is None
    kept.silent("a", 1.2, "f")
    kept.answered("b", 1.1, 10.0)
    assert kept.end(100.0) is None  # one is blocked still
    kept.answered("a", 91.0, 100.0)
    assert kept.end(102.9) is None
    assert kept.end(103.0).evidence["times"] == 2
    assert not kept.is_open
    assert kept.usual_place == ""
    assert kept.end(200.0) is None


def test_it_is_over_at_once_where_nobody_is_watched_any_more():
    kept = book()
    kept.answered("a", 1.1, 10.0)
    assert kept.end(10.0, at_once=True) is not None
    assert kept.end(10.0, at_once=True) is None


def test_the_place_that_was_seen_most_often_is_the_usual_one_and_they_do_not_pile_up():
    kept = book()
    for k in range(1000):
        kept.silent("a", 2.0, f"f{k}")
        kept.silent("a", 2.0, "g" if k else "")
    kept.silent("a", 2.0, "f0")
    kept.silent("a", 2.0, "f0")
    assert kept.usual_place == "g"
    assert len(kept._places) <= 32


silences = st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5), st.booleans()), max_size=60)


@given(silences)
def test_the_numbers_agree_with_each_other_and_an_open_issue_ends(steps):
    kept, total, times = book(), 0.0, 0
    for now_s, (loop, seconds, has_answered) in enumerate(steps):
        found = kept.answered(loop, seconds, float(now_s)) if has_answered else kept.silent(loop, seconds, "f")
        if has_answered and seconds >= 1.0:
            total, times = total + seconds, times + 1
        if found is not None:
            assert 1.0 <= found.evidence["blocked_s"] <= found.evidence["longest_blocked_s"]
            assert found.evidence["longest_blocked_s"] <= found.evidence["total_blocked_s"] + 1e-9
    for loop in "ab":
        kept.answered(loop, 0.0, 100.0)
    ended = kept.end(1000.0)
    assert (ended is not None) == (times > 0)
    if ended is not None:
        assert ended.evidence["times"] == times
        assert abs(ended.evidence["total_blocked_s"] - total) < 1e-9
    assert not kept.is_open


def test_a_watcher_that_was_held_up_with_the_whole_process_blames_no_loop():
    assert excused_s(0.15, 0.0, 0.1) == 0
    assert excused_s(60.0, 0.01, 0.1) == 59.9  # stopped, say
    assert excused_s(6.0, 5.9, 0.1) == 0  # somebody has computed, and held the interpreter


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.02, 0.1))
def test_what_is_excused_is_never_more_than_the_step(step_s, cpu_s, interval_s):
    assert 0 <= excused_s(step_s, cpu_s, interval_s) <= step_s
