"""`memflow journal export`: `memflow.cli.journal_export`."""

from __future__ import annotations

import json

import pytest

from memflow.journal.base import Commit, Settled
from memflow.journal.keys import make_key
from tests.cli.conftest import Shell
from tests.cli.journals import failed, make_journal, open_journal


def test_failures_are_written_with_their_inputs(shell: Shell) -> None:
    failures = [failed(3, "poison", data=None), failed(1, data=b'{"id": 1}'), failed(2, data=b"null")]
    make_journal(shell.folder / "run.journal", *failures)
    done = shell.memflow("journal", "export", "run.journal")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert (done.status, done.err) == (0, "memflow: 3 failures written\n")
    assert [line["position"] for line in lines] == [1, 2, 3]
    assert list(lines[0]) == ["position", "key", "kind", "error_type", "message", "attempts", "input"]
    assert (lines[0]["input"], lines[1]["input"]) == ({"id": 1}, None)
    assert "input" not in lines[2]
    assert shell.memflow("journal", "export", "run.journal", "--failures").out == done.out


def test_results_are_written_in_order_of_the_input(shell: Shell) -> None:
    results = [(each, {"id": each}) for each in (5, 0, 3, 1, 1000, 4, 2)]
    make_journal(shell.folder / "run.journal", failed(6), results=[*results, (7, None)])
    done = shell.memflow("journal", "export", "run.journal", "--results", "--output", "out.jsonl")
    assert (done.status, done.out, done.err) == (0, "", "memflow: 7 results written\n")
    assert shell.read() == [{"position": each, "result": {"id": each}} for each in (0, 1, 2, 3, 4, 5, 1000)]


def test_results_of_a_run_with_keys_name_their_digests(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal", keyed=True, results=[(each, each * 2) for each in (2, 0, 1)])
    shell.memflow("journal", "export", "run.journal", "--results", "--output", "out.jsonl")
    assert shell.read() == [
        {"position": each, "key_digest": make_key(f"k{each}")[0].hex(), "result": each * 2} for each in range(3)
    ]


def test_a_result_without_json_is_written_as_its_repr_and_told(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal", results=[(0, b"\xff"), (1, 5)])
    done = shell.memflow("journal", "export", "run.journal", "--results")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"position": 0, "result_repr": "b'\\xff'"},
        {"position": 1, "result": 5},
    ]
    assert done.status == 1
    assert "JSON has no form for 1 of them" in done.err


def test_what_was_delivered_is_told_and_a_run_may_have_it_open(shell: Shell) -> None:
    journal = open_journal(shell.folder / "run.journal", results=[(0, "a"), (1, "b")])
    journal.commit(Commit(settled=Settled(1)))
    done = shell.memflow("journal", "export", "run.journal", "--results")
    assert done.out == '{"position":1,"result":"b"}\n'
    assert "results of the first 1 item were delivered, and are kept no longer" in done.err
    journal.close(True)


def test_files_are_replaced_only_when_asked(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal", failed(1))
    (shell.folder / "out.jsonl").write_text("precious")
    refused = shell.memflow("journal", "export", "run.journal", "--output", "out.jsonl")
    assert refused.status == 2
    assert "out.jsonl exists; give --overwrite" in refused.err
    assert (shell.folder / "out.jsonl").read_text() == "precious"
    assert shell.memflow("journal", "export", "run.journal", "--output", "out.jsonl", "--overwrite").status == 0
    assert [line["position"] for line in shell.read()] == [1]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["run.journal", "--failures", "--results"], 2, "--failures and --results exclude each other"),
        (["none", "--output", "out.jsonl"], 2, "none doesn't exist"),
        (["jobs.py", "--output", "out.jsonl"], 1, "file is not a database"),
    ],
)
def test_what_cannot_work_makes_no_file(shell: Shell, words: list[str], status: int, told: str) -> None:
    make_journal(shell.folder / "run.journal", failed(1))
    done = shell.memflow("journal", "export", *words)
    assert (done.status, done.out) == (status, "")
    assert told in done.err
    assert not (shell.folder / "out.jsonl").exists()
    assert not (shell.folder / "none").exists()


def test_many_large_failures_go_through_page_by_page(shell: Shell) -> None:
    inputs = [b'"' + str(each).encode() * 1000 + b'"' for each in range(200)]
    make_journal(shell.folder / "run.journal", *(failed(each, data=data) for each, data in enumerate(inputs)))
    done = shell.memflow("journal", "export", "run.journal")
    assert [json.loads(line)["input"] for line in done.out.splitlines()] == [json.loads(each) for each in inputs]
