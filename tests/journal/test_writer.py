"""The thread that commits: `memflow.journal.writer`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memflow.exceptions import DuplicateKeyError, JournalError, JournalWriteError, ResultNotStorableError
from memflow.journal.base import NOTHING, Commit, FailureRecord, RunIdentity, Settled
from memflow.journal.keys import make_key
from memflow.journal.memory import MemoryJournal
from memflow.journal.writer import JournalWriter


class Recording(MemoryJournal):
    """Remembers its commits, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []
        self.fails = False

    def commit(self, commit: Commit) -> None:
        if self.fails:
            raise JournalWriteError("x", "the disk is full", "make room")
        super().commit(commit)
        self.commits.append(commit)


def opened(keyed: bool = False) -> Recording:
    journal = Recording()
    journal.open(RunIdentity("op", keyed))
    return journal


def failure(position: int) -> FailureRecord:
    return FailureRecord(position, None, "error", "ValueError", "no")


def test_what_is_flushed_is_recorded() -> None:
    journal = opened()
    writer = JournalWriter(journal, interval_s=30.0)
    for i in range(100):
        writer.finished((i, i, None))
    writer.failed(failure(100))
    writer.flush()
    assert writer.waiting == 0
    assert journal.summary().finished == 100
    assert journal.summary().failed == 1
    writer.close(True)
    assert journal.summary().complete


def test_batches_are_recorded_as_their_items() -> None:
    journal = opened()
    writer = JournalWriter(journal, interval_s=30.0, most_waiting=4)
    writer.finished((9, "alone", None))
    writer.finished_all(range(3), (None, "", [2]))
    assert writer.waiting == 4
    assert not writer.crowded
    writer.finished_all([5, 7])
    assert writer.crowded
    writer.flush()
    assert writer.waiting == 0
    assert not writer.crowded
    assert list(journal.results(0, 9)) == [(0, None), (1, ""), (2, [2]), (9, "alone")]
    assert journal.summary().finished == 6
    writer.close(False)


def test_batches_with_keys_and_large_ones_are_recorded_in_groups() -> None:
    journal = opened(keyed=True)
    writer = JournalWriter(journal, interval_s=30.0)
    for at in range(0, 25_000, 1_000):
        positions = range(at, at + 1_000)
        writer.finished_all(positions, [n % 7 for n in positions], [make_key(n) for n in positions])
    writer.flush()
    assert journal.summary().finished == 25_000
    assert [len(each.finished) for each in journal.commits] == [10_000, 10_000, 5_000]
    assert journal.result(make_key(24_999)[0]) == 24_999 % 7
    writer.close(False)


def test_it_records_by_itself() -> None:
    recorded = threading.Event()

    class Telling(Recording):
        def commit(self, commit: Commit) -> None:
            super().commit(commit)
            recorded.set()

    journal = Telling()
    journal.open(RunIdentity("op", False))
    writer = JournalWriter(journal)
    writer.finished((0, NOTHING, None))
    assert recorded.wait(30)
    writer.close(False)


def test_what_is_settled_is_recorded_with_what_came_before_and_the_latest_stands() -> None:
    journal = opened()
    writer = JournalWriter(journal, interval_s=30.0)
    writer.settle(Settled(0))
    for i in range(25_000):
        writer.finished((i, NOTHING, None))
    writer.settle(Settled(20_000))
    writer.flush()
    writer.close(True)
    assert journal.summary().settled == Settled(20_000)
    last = next(i for i, commit in enumerate(journal.commits) if commit.settled == Settled(20_000))
    assert sum(len(commit.finished) for commit in journal.commits[: last + 1]) == 25_000


def test_closing_records_what_waits() -> None:
    journal = opened()
    writer = JournalWriter(journal, interval_s=30.0)
    writer.finished((0, NOTHING, None))
    writer.failed(failure(1))
    writer.close(False)
    assert (journal.summary().finished, journal.summary().failed) == (1, 1)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [((5, 1, make_key("3")), DuplicateKeyError), ((5, object(), make_key("x")), ResultNotStorableError)],
)
def test_one_bad_item_costs_no_other_and_ends_the_writing(entry: Any, kind: type[JournalError]) -> None:
    journal = opened(keyed=True)
    writer = JournalWriter(journal, interval_s=30.0)
    for i in range(5):
        writer.finished((i, i, make_key(str(i))))
    writer.finished(entry)
    writer.finished((6, 6, make_key("6")))
    with pytest.raises(kind):
        writer.flush()
    assert isinstance(writer.error, kind)
    assert journal.summary().finished == 6
    with pytest.raises(kind):
        writer.failed(failure(7))
    with pytest.raises(kind):
        writer.close(True)
    assert not journal.summary().complete


def test_what_could_not_be_recorded_still_waits() -> None:
    journal = opened()
    journal.fails = True
    writer = JournalWriter(journal, interval_s=30.0)
    for i in range(10):
        writer.finished((i, i, None))
    writer.settle(Settled(3))
    with pytest.raises(JournalWriteError):
        writer.flush()
    writer.finished((10, 10, None))
    assert writer.waiting == 11
    for call in (writer.flush, lambda: writer.settle(Settled(4)), lambda: writer.close(True)):
        with pytest.raises(JournalWriteError):
            call()
    assert journal.summary().finished == 0
    assert not journal.summary().complete


def test_after_closing_nothing_is_taken() -> None:
    writer = JournalWriter(opened())
    writer.close(True)
    for call in (writer.flush, lambda: writer.settle(Settled(4)), lambda: writer.failed(failure(1))):
        with pytest.raises(JournalError, match="it is closed"):
            call()


def test_it_says_when_too_much_waits() -> None:
    journal = opened()
    inside, go = threading.Event(), threading.Event()

    class Slow(Recording):
        def commit(self, commit: Commit) -> None:
            inside.set()
            assert go.wait(30)
            super().commit(commit)

    journal = Slow()
    journal.open(RunIdentity("op", False))
    writer = JournalWriter(journal, interval_s=0.001, most_waiting=10)
    writer.finished((0, NOTHING, None))
    assert inside.wait(30)
    for i in range(1, 11):
        writer.finished((i, NOTHING, None))
    assert not writer.crowded
    writer.finished((11, NOTHING, None))
    assert writer.crowded
    go.set()
    writer.flush()
    assert not writer.crowded
    writer.close(True)


def test_many_threads_flush_at_once() -> None:
    journal = opened()
    writer = JournalWriter(journal)
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for i in range(first, first + 50):
                writer.finished((i, NOTHING, None))
                writer.flush()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i * 50,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    writer.close(True)
    assert not errors
    assert journal.summary().finished == 200
