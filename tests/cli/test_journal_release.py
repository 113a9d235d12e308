"""`memflow journal release`: `memflow.cli.journal_release`."""

from __future__ import annotations

import os

import pytest

from memflow.journal.sqlite import SqliteJournal
from tests.cli.conftest import Shell
from tests.cli.journals import RUN, failed, make_journal, open_journal


def left(shell: Shell) -> list[int]:
    return [each.position for each in SqliteJournal(shell.folder / "run.journal").failures()]


@pytest.mark.parametrize(
    ("words", "count", "stay"),
    [
        (["all"], "3 items; they run", []),
        (["error"], "2 items; they run", [5]),
        (["poison"], "1 item; it runs", [1, 3]),
        (["3", "5"], "2 items; they run", [1]),
    ],
)
def test_what_is_named_runs_again(shell: Shell, words: list[str], count: str, stay: list[int]) -> None:
    make_journal(shell.folder / "run.journal", failed(1), failed(3), failed(5, "poison"), results=[(0, None)])
    done = shell.memflow("journal", "release", "run.journal", *words)
    assert (done.status, done.out, done.err) == (0, f"released {count} again at the next resume\n", "")
    assert left(shell) == stay
    journal = SqliteJournal(shell.folder / "run.journal")
    opened = journal.open(RUN)
    assert [each for each in (1, 3, 5) if each in opened.finished] == stay
    journal.close(False)


def test_keys_are_named_in_words(shell: Shell) -> None:
    failures = [failed(1, key="a b"), failed(3, key="7"), failed(4, key="all")]
    make_journal(shell.folder / "run.journal", *failures, keyed=True)
    done = shell.memflow("journal", "release", "run.journal", "a b", "key:7")
    assert (done.status, done.out) == (0, "released 2 items; they run again at the next resume\n")
    assert left(shell) == [4]


def test_nothing_to_release_is_no_failure(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal")
    done = shell.memflow("journal", "release", "run.journal", "all")
    assert (done.status, done.out) == (0, "released 0 items\n")


def test_who_is_named_and_had_not_failed_is_told(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal", failed(1), results=[(2, None)])
    done = shell.memflow("journal", "release", "run.journal", "1", "2", "erorr")
    assert (done.status, done.out) == (1, "released 1 item; it runs again at the next resume\n")
    assert "2 names no item that failed; memflow journal show run.journal lists" in done.err
    assert "erorr names no item that failed" in done.err


def test_a_run_that_has_it_open_is_named(shell: Shell) -> None:
    journal = open_journal(shell.folder / "run.journal", failed(1))
    done = shell.memflow("journal", "release", "run.journal", "all")
    assert (done.status, done.out) == (1, "")
    assert f"process {os.getpid()} on " in done.err
    journal.close(False)
    assert left(shell) == [1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run.journal"], "say what to release: all, error, poison, positions, or keys"),
        (["none", "all"], "none doesn't exist"),
        ([], "the following arguments are required: PATH"),
    ],
)
def test_what_cannot_work_is_refused(shell: Shell, words: list[str], told: str) -> None:
    make_journal(shell.folder / "run.journal", failed(1))
    done = shell.memflow("journal", "release", *words)
    assert (done.status, done.out) == (2, "")
    assert told in done.err
    assert left(shell) == [1]
    assert not (shell.folder / "none").exists()


def test_what_a_run_has_written_as_failed_stays_so_and_how_to_run_it_is_told(shell: Shell) -> None:
    shell.write_ids(8)
    words = ["run", "jobs:fail_odd", "--input", "in.jsonl", "--output", "out.jsonl", "--failures", "failures.jsonl"]
    assert shell.memflow(*words, "--journal", "run.journal").status == 1
    shown = shell.memflow("journal", "show", "run.journal")
    assert "journal release" not in shown.out
    done = shell.memflow("journal", "release", "run.journal", "all")
    assert done.status == 0
    assert "released 0 items" in done.out
    assert "4 items stay failures: they stand in the files that the run wrote" in done.out
    export, again = done.out.splitlines()[-2:]
    assert shell.memflow(*export.split()[1:]).status == 0
    rerun = shell.memflow(*again.replace("TARGET", "jobs:double").split()[1:], "--output", "again_out.jsonl")
    assert rerun.status == 0, rerun.err
    assert [each["id"] for each in shell.read("again_out.jsonl")] == [1, 3, 5, 7]
