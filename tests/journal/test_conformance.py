"""What every journal keeps to: `memflow.journal.base.Journal`, in memory and in a file."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memflow.exceptions import (
    DuplicateKeyError,
    JournalError,
    JournalExistsError,
    JournalLockedError,
    JournalMismatchError,
    ResultNotStorableError,
)
from memflow.journal.base import (
    NOTHING,
    Commit,
    FailureRecord,
    Finished,
    Journal,
    Opened,
    RunIdentity,
    Selection,
    Settled,
)
from memflow.journal.keys import make_key
from memflow.journal.memory import MemoryJournal
from memflow.journal.sqlite import SqliteJournal

RUN = RunIdentity("jobs.embed", False, {"path": "in.jsonl", "size": 10})
KEYED = RunIdentity("jobs.embed", True)
Make = Callable[..., Journal]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Make a journal; a second one is another look at the same, where that can be."""
    journals: list[Journal] = []

    def build(**options: Any) -> Journal:
        if request.param == "sqlite":
            journals.append(SqliteJournal(tmp_path / "run.journal", **options))
        elif not journals:
            journals.append(MemoryJournal(**options))
        return journals[-1]

    yield build
    for journal in journals:
        journal.close(False)


def reopened(make: Make, journal: Journal, identity: RunIdentity = RUN, *, complete: bool = False) -> Opened:
    journal.close(complete)
    return make().open(identity)


def done(*positions: int, result: Any = NOTHING) -> Commit:
    return Commit([(position, result, None) for position in positions])


def keyed(**results: Any) -> Commit:
    return Commit([Finished(i, result, make_key(name)) for i, (name, result) in enumerate(results.items())])


def failure(position: int, kind: Any = "error", key: str | None = None) -> FailureRecord:
    return FailureRecord(position, make_key(key) if key else None, kind, "ValueError", "no \ud800!", 2, b"{}")


# ---- opening ----------------------------------------------------------------------------------------------------


def test_a_fresh_journal_holds_nothing(make: Make) -> None:
    opened = make().open(RUN)
    assert opened.fresh
    assert not opened.complete
    assert (opened.finished.count, opened.digests, opened.failures, opened.deaths) == (0, None, {}, {})
    assert opened.settled is None


def test_what_was_finished_is_there_when_opened_again(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(done(0, 1, 2))
    journal.commit(done(5, 4, 9))
    opened = reopened(make, journal)
    assert not opened.fresh
    assert list(opened.finished.ranges()) == [(0, 3), (4, 6), (9, 10)]


@pytest.mark.parametrize("complete", [True, False])
def test_whether_it_was_complete_is_kept(make: Make, complete: bool) -> None:
    journal = make()
    journal.open(RUN)
    assert reopened(make, journal, complete=complete).complete is complete


def test_going_on_makes_it_incomplete(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.close(True)
    journal.open(RUN)
    journal.commit(done(1))
    assert not journal.summary().complete


def test_a_run_is_not_resumed_unasked(make: Make) -> None:
    journal = make()
    journal.open(RUN, resume=False)
    journal.close(False)
    with pytest.raises(JournalExistsError, match="resume that run"):
        make().open(RUN, resume=False)
    assert not make().open(RUN).fresh


def test_another_run_is_refused_with_what_differs(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.close(False)
    other = RunIdentity("jobs.other", True, {"path": "else.jsonl", "lines": 3})
    with pytest.raises(JournalMismatchError) as caught:
        make().open(other)
    assert caught.value.differences == (
        "operation: the journal has 'jobs.embed', this run 'jobs.other'",
        "keyed: the journal has False, this run True",
        "path: the journal has 'in.jsonl', this run 'else.jsonl'",
    )
    assert not make().open(RUN).fresh


def test_two_runs_at_once_are_refused(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    with pytest.raises(JournalLockedError, match=r"process \d+ on .+ has had it open since 2"):
        make().open(RUN)
    journal.commit(done(1))
    assert 1 in reopened(make, journal).finished


def test_closing_twice_does_nothing_and_writing_then_is_an_error(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.close(True)
    journal.close(False)
    with pytest.raises(JournalError, match="it is not open"):
        journal.commit(done(1))
    assert journal.summary().complete


# ---- finished items and results ---------------------------------------------------------------------------------

FALSY = [None, 0, "", False, [], {}, 0.0, b""]


def test_falsy_results_are_results(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(i, result, None) for i, result in enumerate(FALSY)]))
    journal.commit(done(len(FALSY)))
    journal.close(False)
    found = list(journal.results(0, 100))
    assert found == list(enumerate(FALSY))
    assert [type(result) for _, result in found] == [type(result) for result in FALSY]


def test_results_come_in_order_whatever_the_order_of_finishing(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    order = list(range(3000))
    random.Random(4).shuffle(order)
    for at in range(0, 3000, 170):
        journal.commit(Commit([(i, f"r{i}", None) for i in order[at : at + 170]]))
    assert list(journal.results(0, 2999)) == [(i, f"r{i}") for i in range(3000)]
    assert list(journal.results(70, 90)) == [(i, f"r{i}") for i in range(70, 91)]
    assert list(journal.results(3000, 4000)) == []


def test_large_results_are_kept(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    large = [bytes([i]) * 700_000 for i in range(6)]
    journal.commit(Commit([(i, each, None) for i, each in enumerate(large)]))
    journal.commit(Commit([(i + 6, each, None) for i, each in enumerate(large)]))
    assert [result for _, result in journal.results(0, 11)] == large * 2


def test_what_is_finished_first_stays(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(i, "first", None) for i in (1, 2, 3)]))
    journal.commit(Commit([(i, "second", None) for i in (0, 2, 2, 4)], [failure(1)]))
    assert list(journal.results(0, 9)) == [(0, "second"), *((i, "first") for i in (1, 2, 3)), (4, "second")]
    assert not list(journal.failures())


def test_a_result_that_is_not_stored_costs_no_other(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    with pytest.raises(ResultNotStorableError, match=r"the result of item 2 holds a builtins\.object, which") as caught:
        journal.commit(Commit([(i, object() if i == 2 else i, None) for i in range(5)], [failure(7)], Settled(0)))
    assert caught.value.position == 2
    assert [i for i, _ in journal.results(0, 9)] == [0, 1, 3, 4]
    assert 2 not in reopened(make, journal).finished
    assert [each.position for each in journal.failures()] == [7]


def test_encode_and_decode_are_between(make: Make) -> None:
    journal = make(encode=lambda result: [result.real, result.imag], decode=lambda pair: complex(*pair))
    journal.open(RUN)
    journal.commit(done(0, 1, result=1 + 2j))
    assert list(journal.results(0, 1)) == [(0, 1 + 2j), (1, 1 + 2j)]
    with pytest.raises(ResultNotStorableError, match="could not be encoded: encode= raised AttributeError"):
        journal.commit(done(2, result="text"))


# ---- keys -------------------------------------------------------------------------------------------------------


def test_keys_are_kept_with_their_results(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    journal.commit(keyed(a=None, b=[1], c=NOTHING))
    opened = reopened(make, journal, KEYED)
    assert opened.digests is not None
    assert [make_key(name)[0] in opened.digests for name in "abcd"] == [True, True, True, False]
    assert opened.finished.count == 0


def test_results_are_found_by_key_now_and_after(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    journal.commit(keyed(a=None, b=[1], c=NOTHING))
    for _ in range(2):
        assert [journal.result(make_key(name)[0]) for name in "abcd"] == [None, [1], NOTHING, NOTHING]
        journal.close(False)
        journal.open(KEYED)
    assert list(journal.results(0, 9)) == []


def test_a_key_that_comes_twice_is_named_and_costs_no_other(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    journal.commit(Commit([(3, NOTHING, make_key("a"))]))
    with pytest.raises(DuplicateKeyError, match="items 3 and 9 have the same key 'a'") as caught:
        journal.commit(Commit([(8, 1, make_key("b")), (9, 1, make_key("a")), (10, 1, make_key("c"))]))
    assert (caught.value.key, caught.value.first, caught.value.second) == ("a", 3, 9)
    with pytest.raises(DuplicateKeyError, match="items 11 and 12"):
        journal.commit(Commit([(11, 1, make_key("d")), (12, 2, make_key("d"))]))
    assert [journal.result(make_key(name)[0]) for name in "abcd"] == [NOTHING, 1, 1, 1]


def test_a_key_of_an_earlier_run_is_a_duplicate_at_another_position_only(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    journal.commit(keyed(a=1, b=2))
    journal.close(False)
    journal.open(KEYED)
    journal.commit(keyed(a=3, b=4))
    with pytest.raises(DuplicateKeyError, match="items 1 and 7"):
        journal.commit(Commit([(7, 5, make_key("b"))]))
    assert journal.result(make_key("b")[0]) == 2


# ---- failures, deaths, release ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "k"])
def test_failures_are_final_and_told(make: Make, key: str | None) -> None:
    identity = KEYED if key else RUN
    journal = make()
    journal.open(identity)
    record = failure(4, key=key)
    journal.commit(Commit([], [record]))
    opened = reopened(make, journal, identity)
    (item,) = opened.failures
    assert item == record.item
    assert (opened.failures[item].attempts, opened.failures[item].input) == (2, b"{}")
    assert opened.failures[item].key_text == key
    done: Any = opened.digests if opened.digests is not None else opened.finished
    assert item in done


def test_failures_come_in_order_of_position(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([], [failure(9), failure(2, "poison")]))
    journal.commit(Commit([], [failure(5)]))
    assert [(each.position, each.kind) for each in journal.failures()] == [(2, "poison"), (5, "error"), (9, "error")]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["all"], []),
        (["error"], [4]),
        (["poison"], [1, 2]),
        (["1", "4"], [2]),
        (["7"], [1, 2, 4]),
    ],
)
def test_released_failures_run_again(make: Make, words: list[str], left: list[int]) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(i, NOTHING, None) for i in (0, 3, 5)], [failure(1), failure(2), failure(4, "poison")]))
    journal.close(True)
    assert journal.release(Selection.parse(words)) == 3 - len(left)
    assert [each.position for each in journal.failures()] == left
    opened = journal.open(RUN)
    assert [i for i in range(6) if i in opened.finished] == sorted({0, 3, 5, *left})
    assert opened.complete is (len(left) == 3)


def test_keys_are_released_by_their_text(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    journal.commit(Commit([], [failure(0, key="all"), failure(1, key="b" * 300)]))
    assert journal.release(Selection.parse(["key:all"])) == 1
    assert journal.release(Selection.parse(["b" * 300])) == 1
    journal.commit(Commit([(0, 5, make_key("all"))]))
    assert journal.result(make_key("all")[0]) == 5


def test_an_item_released_behind_what_is_settled_runs_again_and_once(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(i, NOTHING, None) for i in range(10) if i != 4], [failure(4)], Settled(10)))
    journal.release(Selection.parse(["all"]))
    journal.commit(Commit([(i, NOTHING, None) for i in range(10, 20)], (), Settled(15)))
    journal.close(False)
    opened = journal.open(RUN)
    assert list(opened.finished.ranges()) == [(0, 4), (5, 20)]
    journal.commit(done(4))
    journal.commit(Commit((), (), Settled(20)))
    journal.close(False)
    assert list(journal.open(RUN).finished.ranges()) == [(0, 20)]


def test_deaths_add_up_until_the_item_is_over(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    assert journal.count_deaths([3, 4]) == {3: 1, 4: 1}
    assert reopened(make, journal).deaths == {3: 1, 4: 1}


def test_deaths_are_counted_and_forgotten(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.count_deaths([3, 4, 5])
    journal.count_deaths([3, 4])
    assert journal.count_deaths([3]) == {3: 3}
    journal.commit(Commit([(5, NOTHING, None)], [failure(3, "poison")]))
    journal.close(False)
    assert journal.open(RUN).deaths == {4: 2}


def test_deaths_of_keys_are_by_digest(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    key = make_key("a")
    assert journal.count_deaths([key]) == {key[0]: 1}
    assert journal.count_deaths([key, make_key("b")])[key[0]] == 2


# ---- what is settled, and figures -------------------------------------------------------------------------------


def test_a_failure_that_is_told_after_its_item_was_delivered_is_recorded_once(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit(settled=Settled(5)))
    late = FailureRecord(3, None, "poison", "Poison", "it kills", 3)
    journal.commit(Commit(failures=[late]))
    journal.commit(Commit(failures=[FailureRecord(3, None, "error", "ValueError", "again", 1)]))
    opened = reopened(make, journal)
    assert opened.failures == {3: late}
    assert list(opened.finished.ranges()) == [(0, 5)]


def test_what_is_settled_is_finished_and_its_results_go(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    for first in range(0, 3000, 1000):
        journal.commit(Commit([(i, i, None) for i in range(first, first + 1000)]))
    journal.commit(Commit([], [], Settled(2500, {"out.jsonl": 12}, {"shape": "x"})))
    assert next(iter(journal.results(0, 3000)))[0] >= 2000
    assert list(journal.results(2500, 3000)) == [(i, i) for i in range(2500, 3000)]
    journal.close(False)
    opened = journal.open(RUN)
    assert opened.settled == Settled(2500, {"out.jsonl": 12}, {"shape": "x"})
    assert list(opened.finished.ranges()) == [(0, 3000)]


def test_settling_counts_what_it_names_as_finished(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(50, NOTHING, None)], [], Settled(20)))
    journal.commit(Commit([], [], Settled(30)))
    journal.close(False)
    assert list(journal.open(RUN).finished.ranges()) == [(0, 30), (50, 51)]


def test_a_summary_counts(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(i, 1, None) for i in range(8)], [failure(8), failure(9, "poison")], Settled(3)))
    for _ in range(2):
        summary = journal.summary()
        assert summary.identity == RUN
        assert (summary.finished, summary.failed, summary.quarantined) == (8, 1, 1)
        assert summary.settled == Settled(3)
        assert summary.created_s > 1e9
        journal.close(True)
    assert journal.summary().complete


def test_a_summary_counts_keys(make: Make) -> None:
    journal = make()
    journal.open(KEYED)
    journal.commit(keyed(a=1, b=NOTHING))
    journal.commit(Commit([], [failure(5, key="c")]))
    assert (journal.summary().finished, journal.summary().failed) == (2, 1)


def test_results_are_read_while_others_are_committed(make: Make) -> None:
    journal = make()
    journal.open(RUN)
    journal.commit(Commit([(i, i, None) for i in range(500)]))
    errors: list[BaseException] = []

    def commit() -> None:
        try:
            for i in range(500, 700):
                journal.commit(done(i, result=i))
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=commit)
    writer.start()
    found = [list(journal.results(0, 499)) for _ in range(20)]
    writer.join()
    assert not errors
    assert all(each == [(i, i) for i in range(500)] for each in found)
    assert len(list(journal.results(0, 999))) == 700
