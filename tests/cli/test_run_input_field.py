"""`memflow run --input-field`: failures as the input of a later run."""

from __future__ import annotations

import pytest

from memflow.journal.base import Commit, FailureRecord
from tests.cli.conftest import Shell
from tests.cli.journals import open_journal


def test_what_failed_is_the_input_of_a_later_run(shell: Shell) -> None:
    shell.write_ids(6)
    first = shell.memflow(
        *("run", "jobs:fail_odd", "--input", "in.jsonl", "--output", "out.jsonl", "--failures", "failed.jsonl")
    )
    assert first.status == 1
    again = shell.memflow(
        *("run", "jobs:double", "--input", "failed.jsonl", "--input-field", "input", "--output", "again.jsonl")
    )
    assert again.status == 0, again.err
    assert shell.read("again.jsonl") == [{"id": each, "twice": 2 * each} for each in (1, 3, 5)]


def test_what_a_journal_exports_is_the_input_of_a_later_run(shell: Shell) -> None:
    journal = open_journal(shell.folder / "run.journal")
    failures = [FailureRecord(each, None, "error", "E", "m", 1, b'{"id": %d}' % each) for each in (2, 9)]
    journal.commit(Commit(failures=[*failures, FailureRecord(10, None, "poison", "E", "m", 3)]))
    journal.close(False)
    shell.memflow("journal", "export", "run.journal", "--failures", "--output", "failed.jsonl")
    run = ("run", "jobs:double", "--input", "failed.jsonl", "--input-field", "input", "--output", "again.jsonl")
    stopped = shell.memflow(*run)
    assert stopped.status == 1
    assert "failed.jsonl" in stopped.err
    assert "it has no field 'input'; its fields are 'position', 'key', 'kind'" in stopped.err
    done = shell.memflow(*run, "--overwrite", "--on-bad-record", "skip")
    assert done.status == 1  # for the one whose input was not kept
    assert "1 bad record skipped" in done.err
    assert shell.read("again.jsonl") == [{"id": each, "twice": 2 * each} for each in (2, 9)]


@pytest.mark.parametrize("words", [["--files", "*.py"], ["--source", "jobs:numbers"]])
def test_only_records_have_fields(shell: Shell, words: list[str]) -> None:
    done = shell.memflow("run", "jobs:echo", *words, "--input-field", "input")
    assert (done.status, done.out) == (2, "")
    assert "--input-field picks a field of the records of --input, and --input was not given" in done.err
