"""The bench of leaking and clean programs: what it computes, its lists, and one quick run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def outcome(program="p", *events, leaks=True, items=10_000, error="", **truth):
    from benchmarks.leaks.score import Outcome, Truth

    return Outcome(program, 1, Truth(leaks=leaks, **truth), 200, items, tuple(events), error=error)


def event(batch, kind="suspected_leak", what="opened", leaked=0, suspects=(), message="", issue="1"):
    from benchmarks.leaks.score import Event

    return Event(batch, what, issue, kind, leaked, tuple(suspects), message)


def test_ratios_count_runs_and_a_ratio_without_a_case_is_none():
    from benchmarks.leaks.score import figures

    found = figures(
        [
            outcome("a", event(80, leaked=1_000), event(90, what="updated", leaked=2_000)),
            outcome("b", event(100, "leak", leaked=5_000)),
            outcome("c", event(50, "retention")),
            outcome("d", event(60), leaks=False, items=40_000),
            outcome("e", leaks=False, items=10_000),
            outcome("f", error="MemoryError"),
        ]
    )
    assert (found.runs, found.failed) == (5, 1)
    assert found.leaking == (2, 3)
    assert found.clean == (1, 2)
    assert found.precision == found.forgiving_precision == 2 / 3
    assert found.recall == 2 / 3
    assert found.false_per_100k_items == 2.0
    assert (found.delay_batches, found.delay_bytes) == (90, 3_000)

    nothing = figures([])
    assert nothing.precision is nothing.recall is nothing.false_per_100k_items is nothing.delay_batches is None


def test_a_late_leak_counts_by_itself_from_where_it_begins_and_what_came_before_is_false():
    from benchmarks.leaks.score import figures

    right = outcome("a", event(150, leaked=7), begins=0.5)
    early = outcome("b", event(40, issue="1"), event(60, what="resolved", issue="1"), begins=0.5)
    both = outcome("c", event(90, issue="1"), event(120, what="updated", issue="1", leaked=9), begins=0.5)
    assert (right.alarm.batch, right.false_alarms) == (150, 0)
    assert (early.alarm, early.false_alarms) == (None, 1)
    assert (both.alarm.batch, both.false_alarms) == (120, 1)

    found = figures([right, early, both])
    assert found.leaking == (0, 0)
    assert found.late == (2, 3)
    assert found.delay_batches == 35
    assert found.precision == 0.5


def test_a_suspicion_is_retracted_when_the_last_of_every_issue_took_it_back():
    back = [event(80), event(120, what="resolved")]
    assert outcome("a", *back, leaks=False).is_retracted
    assert not outcome("a", *back, event(130, issue="2"), leaks=False).is_retracted
    assert not outcome("a", event(80), leaks=False).is_retracted
    assert not outcome("a", leaks=False).is_retracted
    assert not outcome("a", event(80, "leak"), event(120, "leak", "resolved"), leaks=False).is_retracted
    assert outcome("a", *back, event(199, "retention", issue="3"), leaks=False).is_retracted


def test_a_suspicion_is_forgiven_only_where_it_is_allowed_and_taken_back():
    from benchmarks.leaks.score import figures

    back = [event(80), event(120, what="resolved")]
    runs = [
        outcome("leaks", event(80)),
        outcome("allowed", *back, leaks=False, may_suspect=True),
        outcome("stays", event(80), leaks=False, may_suspect=True),
        outcome("forbidden", *back, leaks=False),
    ]
    found = figures(runs)
    assert (found.clean, found.forgiven, found.retracted) == ((3, 3), 1, (2, 3))
    assert (found.precision, found.forgiving_precision) == (1 / 4, 1 / 3)
    assert found.false_alarms == 2


def test_the_culprit_is_looked_for_in_the_first_three_suspects_of_what_was_last_told():
    words = {"suspect_words": ("orders_cache",)}
    assert outcome("a", event(80), event(90, what="updated", suspects=["dict Orders_Cache"]), **words).names_culprit
    assert not outcome("a", event(80, suspects=["b", "c", "d", "orders_cache"]), **words).names_culprit
    assert not outcome("a", event(80, message="orders_cache"), **words).names_culprit
    assert outcome("a", **words).names_culprit is None
    assert outcome("a", event(80)).names_culprit is None


def test_a_leak_without_an_object_is_named_by_the_message():
    native = {"message_words": ("native",)}
    assert outcome("a", event(80, message="native memory grows"), **native).names_culprit
    assert not outcome("a", event(80, message="memory grows"), **native).names_culprit
    assert outcome("a", event(80, "cyclic_garbage"), message_words=("cyclic",)).names_culprit


def test_those_to_be_named_are_counted_without_an_alarm_too():
    from benchmarks.leaks.score import figures

    runs = [outcome("a", event(80, suspects=["cache"]), suspect_words=("cache",)), outcome("b", suspect_words=("c",))]
    assert figures([*runs, outcome("c", event(80))]).culprits == (1, 2)


def test_there_are_enough_programs_of_both_kinds_with_names_of_their_own():
    from benchmarks.leaks.clean import PROGRAMS as CLEAN
    from benchmarks.leaks.leaking import PROGRAMS as LEAKING
    from benchmarks.leaks.sets import ALL

    assert len(LEAKING) >= 24
    assert len(CLEAN) >= 24
    assert len(ALL) == len(LEAKING) + len(CLEAN)
    assert all(each.truth.leaks for each in LEAKING.values())
    assert not any(each.truth.leaks for each in CLEAN.values())
    assert sum(bool(each.truth.suspect_words) for each in LEAKING.values()) >= 18
    assert all(each.truth.suspect_words or each.truth.message_words for each in LEAKING.values())


def test_the_sets_are_disjoint_cover_everything_and_hold_both_kinds():
    from benchmarks.leaks.sets import ALL, HELD, TUNE, programs_of

    parts = [programs_of(name) for name in ("tune", "report", "held")]
    assert sum(map(len, parts)) == len(ALL)
    assert set().union(*parts) == set(ALL) == set(programs_of("all"))
    assert set(ALL) >= TUNE | HELD
    for part in parts:
        leaking = sum(each.truth.leaks for each in part.values())
        assert min(leaking, len(part) - leaking) >= 9


def test_two_programs_of_one_name_are_refused():
    from benchmarks.leaks.clean import PROGRAMS
    from benchmarks.leaks.program import by_name

    one = PROGRAMS["nothing_kept"]
    with pytest.raises(ValueError, match="same name"):
        by_name((one, one))


def test_rows_name_the_program_its_alarms_and_the_culprit():
    from benchmarks.leaks.__main__ import rows_of

    leak = dataclasses.replace(
        outcome("cache", event(80, leaked=2_000_000, suspects=["cache"]), suspect_words=("cache",)),
        leaked_bytes=4_000_000,
    )
    missed = outcome("cache", suspect_words=("cache",))
    assert rows_of([leak, missed]) == [("cache", "1/2", "80", "2.0", "2.0", "yes", "suspected_leak 1")]
    quiet = outcome("pool", event(80), event(100, what="resolved"), leaks=False)
    assert rows_of([quiet]) == [("pool", "1/1", "1/1", "80", "10000", "suspected_leak 1")]


def test_an_unknown_program_is_refused_with_those_that_exist(capsys):
    from benchmarks.leaks.__main__ import main

    with pytest.raises(SystemExit):
        main(["--programs", "nobody"])
    assert "there is no 'nobody'; choose from module_list" in capsys.readouterr().err


def test_the_same_seed_makes_the_same_noise_amounts():
    from benchmarks.leaks.noise import _amount

    first, second = Random("noise 1"), Random("noise 1")
    assert [_amount(first, 1.0) for _ in range(5)] == [_amount(second, 1.0) for _ in range(5)]


def test_a_quick_run_counts_batches_items_and_what_was_leaked(capfd):
    from benchmarks.leaks.__main__ import main

    assert main(["--programs", "module_list,growing_batches", "--seeds", "1", "--batches", "5", "--pace", "1"]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("machine ")
    assert "module_list" in printed
    assert "runs (failed)" in printed


def test_a_program_that_fails_is_told_with_its_error():
    from benchmarks.leaks.program import Program
    from benchmarks.leaks.runner import Task, run_once
    from benchmarks.leaks.score import Truth

    nobody = Program("nobody", lambda rng, items: None, Truth(leaks=True))
    found = run_once(Task(nobody, 1, 2, 0.0))
    assert "KeyError" in found.error
    assert found.items == 0
