"""`memflow journal show`: `memflow.cli.journal_show`, `journal_survey`, `journal_text`, and `journal_command`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from memflow.journal.base import Commit, Settled
from memflow.journal.flight import FlightRecorder
from memflow.journal.keys import make_key
from tests.cli.conftest import Shell
from tests.cli.journals import failed, make_journal, open_journal


def shown(shell: Shell, *words: str) -> dict[str, str]:
    """The rows of the text by label; what stands below a row belongs to it."""
    done = shell.memflow("journal", "show", "run.journal", *words)
    assert (done.status, done.err) == (0, "")
    rows: dict[str, str] = {}
    label = ""
    for line in done.out.splitlines():
        label = label if line.startswith(" ") else line.split()[0]
        rows[label] = rows.get(label, "") + line.removeprefix(label).strip() + "\n"
    return rows


def test_a_journal_is_shown(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal", failed(1), failed(3, "poison"), results=[(0, "a"), (2, None)])
    rows = shown(shell)
    assert rows["run"].startswith("jobs.embed, items by position; made 2")
    assert rows["input"] == "path = in.jsonl, size = 10\n"
    assert rows["open"] == "by nobody\n"
    assert [rows[each] for each in ("state", "finished", "failed", "quarantined")] == [
        "not complete\n",
        "2 items\n",
        "1 item\n",
        "1 item\n",
    ]
    assert "item 1: ValueError: 1 is odd (2 attempts)" in rows["failures"]
    assert "item 3: ValueError: 3 is odd (quarantined)" in rows["failures"]
    assert "memflow journal release run.journal all" in rows["next"]
    assert "memflow journal export run.journal --failures" in rows["next"]
    assert "it goes on where it was" in rows["next"]


def test_json_says_the_same_for_programs(shell: Shell) -> None:
    path = shell.folder / "run.journal"
    make_journal(path, failed(1, key="größe"), keyed=True, results=[(0, None)])
    data = json.loads(shell.memflow("journal", "show", str(path), "--json").out)
    assert data["path"] == str(path)
    assert (data["operation"], data["keyed"], data["complete"]) == ("jobs.embed", True, False)
    assert (data["finished"], data["failed"], data["quarantined"]) == (1, 1, 0)
    (failure,) = data["failures"]
    assert (failure["position"], failure["key"], failure["attempts"]) == (1, "größe", 2)
    assert (data["open"], data["flight"], data["flight_last"], data["suspects"]) == (None, None, None, [])


def test_a_complete_run_leaves_nothing_to_do(shell: Shell) -> None:
    journal = open_journal(shell.folder / "run.journal", results=[(0, None)])
    journal.commit(Commit(settled=Settled(1, {"out.jsonl": 1234})))
    journal.close(True)
    rows = shown(shell)
    assert rows["state"] == "complete\n"
    assert rows["delivered"] == "1 item, out.jsonl at 1,234 bytes\n"
    assert "next" not in rows


def test_twenty_failures_are_shown_unless_all_are_asked_for(shell: Shell) -> None:
    make_journal(shell.folder / "run.journal", *(failed(each) for each in range(25)))
    rows = shown(shell)
    assert "the first 20 of 25 (all with --all)" in rows["failures"]
    assert rows["failures"].count("is odd") == 20
    rows = shown(shell, "--all")
    assert rows["failures"].count("is odd") == 25
    assert "--all" not in rows["failures"]


def test_a_run_that_has_it_open_is_named_and_not_held_up(shell: Shell) -> None:
    path = shell.folder / "run.journal"
    journal = open_journal(path, failed(7), results=[(0, None)])
    with FlightRecorder(shell.folder / "run.journal-flight", operation="embed", keyed=False) as recorder:
        recorder.start(4, 5)
        rows = shown(shell)
        assert rows["open"].startswith(f"by process {os.getpid()} on ")
        assert rows["flight"] == "run.journal-flight: of the run that has it open; 2 items in flight\n"
        assert rows["finished"] == "1 item\n"
        assert "release" not in rows["next"]
        journal.commit(Commit([(1, None, None)]))
        assert shown(shell)["finished"] == "2 items\n"
    assert (shell.folder / "run.journal-wal").exists()
    journal.close(True)


DIES = """
import os, signal
from pathlib import Path
from memflow.journal.base import Commit, NOTHING, RunIdentity
from memflow.journal.flight import FlightRecorder
from memflow.journal.sqlite import SqliteJournal
journal = SqliteJournal("run.journal")
journal.open(RunIdentity("jobs.embed", False))
journal.commit(Commit([(0, NOTHING, None)]))
FlightRecorder(Path("run.journal-flight"), operation="embed").start(4, 4)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_that_died_is_told_of_with_what_to_call(shell: Shell) -> None:
    subprocess.run([sys.executable, "-c", DIES], cwd=shell.folder, env=shell.environment(), check=False)
    rows = shown(shell)
    assert "which opened it at 2" in rows["open"]
    assert rows["open"].endswith("ended without closing it\n")
    assert rows["flight"].endswith("which died; 1 item in flight, counted as suspects at the next resume\n")
    assert "memflow autopsy run.journal" in rows["next"]
    assert "it goes on where it was" in rows["next"]


def test_suspects_and_the_record_of_an_earlier_death_are_shown(shell: Shell) -> None:
    journal = open_journal(shell.folder / "run.journal", keyed=True)
    journal.count_deaths([make_key("a"), make_key("b")])
    journal.count_deaths([make_key("b")])
    journal.close(False)
    FlightRecorder(shell.folder / "run.journal-flight-last", operation="embed").close()
    rows = shown(shell)
    assert rows["suspects"].splitlines()[1:] == ["key 'b': 2 deaths", "key 'a': 1 death"]
    assert "memflow autopsy run.journal-flight-last" in rows["next"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "journal needs a command; they are show, release and export, see memflow journal --help"),
        (["sow"], "there is no command journal 'sow'; did you mean show?"),
        (["show"], "the following arguments are required: PATH; see memflow journal show --help"),
        (["show", "none"], "none doesn't exist; name the journal, the path that --journal or journal= was given"),
        (["show", "."], ". is a folder"),
        (["show", "x-flight"], "x-flight stands beside a journal and is none itself; name x"),
        (["show", "jobs.py", "--jsn"], "unknown option --jsn; did you mean --json?"),
        (["show", "jobs.py", "more"], "unexpected argument 'more'"),
    ],
)
def test_what_cannot_work_is_refused_and_makes_no_file(shell: Shell, words: list[str], told: str) -> None:
    FlightRecorder(shell.folder / "x-flight", operation="embed").close()
    before = sorted(shell.folder.iterdir())
    done = shell.memflow("journal", *words)
    assert (done.status, done.out) == (2, "")
    assert told in done.err
    assert sorted(shell.folder.iterdir()) == before


def test_a_file_of_something_else_is_left_as_it_is(shell: Shell) -> None:
    before = (shell.folder / "jobs.py").read_bytes()
    done = shell.memflow("journal", "show", "jobs.py")
    assert (done.status, done.out) == (1, "")
    assert "file is not a database" in done.err
    assert (shell.folder / "jobs.py").read_bytes() == before


def test_help_names_the_commands(shell: Shell) -> None:
    done = shell.memflow("journal", "--help")
    assert done.status == 0
    assert all(f"\n  {command} PATH" in done.out for command in ("show", "release", "export"))
    assert "usage: memflow journal release [OPTIONS] PATH all|" in shell.memflow("journal", "release", "--help").out
