"""What a journal in a file suffers, and what it says then: `memflow.journal.sqlite`.

What every journal keeps to is in `test_conformance`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import memflow
from memflow.exceptions import (
    ConfigurationError,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalVersionError,
    JournalWriteError,
)
from memflow.journal.base import NOTHING, Commit, FailureRecord, RunIdentity, Selection, Settled
from memflow.journal.keys import make_key
from memflow.journal.sqlite import SqliteJournal

RUN = RunIdentity("jobs.embed", False)
KEYED = RunIdentity("jobs.embed", True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def fill(path: Path, items: int = 5000) -> None:
    journal = SqliteJournal(path)
    journal.open(RUN)
    for first in range(0, items, 100):
        journal.commit(Commit([(i, f"result {i}", None) for i in range(first, first + 100)]))
    journal.close(False)


def finished(path: Path) -> int:
    journal = SqliteJournal(path)
    count = journal.open(RUN).finished.count
    journal.close(False)
    return count


def in_child(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(memflow.__file__).parent.parent)}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=environment)


# ---- files ------------------------------------------------------------------------------------------------------


def test_nothing_lies_beside_a_closed_journal(path: Path) -> None:
    fill(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_an_empty_file_is_a_fresh_journal(path: Path) -> None:
    path.touch()
    assert finished(path) == 0


def test_a_path_with_odd_characters_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a?b%20c#d é"
    fill(path, 100)
    assert path.exists()
    assert finished(path) == 100


def test_rows_stay_few_where_no_results_are_kept(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.open(RUN)
    for first in range(0, 1000, 10):
        journal.commit(Commit([(i ^ 1, NOTHING, None) for i in range(first, first + 10)]))
    journal.commit(Commit([(5000, NOTHING, None)]))
    journal.close(False)
    db = sqlite3.connect(path)
    assert db.execute("SELECT * FROM finished").fetchall() == [(0, 1000), (5000, 1)]
    db.close()


def test_synchronous_is_a_choice_of_two(path: Path) -> None:
    journal = SqliteJournal(path, synchronous="FULL")
    journal.open(RUN)
    journal.commit(Commit([(0, NOTHING, None)]))
    journal.close(False)
    with pytest.raises(ConfigurationError, match="'OFF' is neither"):
        SqliteJournal(path, synchronous="OFF")  # type: ignore[arg-type]  # the mistake itself


@pytest.mark.parametrize("look", ["summary", "failures", "release"])
def test_looking_where_nothing_is_says_so_and_makes_nothing(path: Path, look: str) -> None:
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match="there is no such file"):
        journal.release(Selection.parse(["all"])) if look == "release" else list(getattr(journal, look)())
    assert not list(path.parent.iterdir())


def test_a_journal_is_shown_while_another_runs(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.open(RUN)
    journal.commit(Commit([(0, 1, None)], (), Settled(0, {"out": 3})))
    other = SqliteJournal(path)
    assert other.summary().finished == 1
    assert other.summary().settled == Settled(0, {"out": 3})
    assert list(other.results(0, 5)) == [(0, 1)]
    with pytest.raises(JournalLockedError):
        other.release(Selection.parse(["all"]))
    journal.commit(Commit([(1, 2, None)]))
    journal.close(False)
    assert finished(path) == 2


# ---- damage -----------------------------------------------------------------------------------------------------


def refused(path: Path) -> JournalError:
    """Open a journal that cannot be used; it must be left as it is."""
    before = path.read_bytes()
    with pytest.raises(JournalError) as caught:
        SqliteJournal(path).open(RUN)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return caught.value


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"no database, but long enough to look like one" * 100)
    error = refused(path)
    assert isinstance(error, JournalCorruptError)
    assert "file is not a database" in str(error)
    assert ".recover" in str(error)


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    assert "it is a database of something else" in str(refused(path))


def test_a_truncated_file_is_refused(path: Path) -> None:
    fill(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert isinstance(refused(path), JournalCorruptError)


def test_damaged_results_are_told_when_read(path: Path) -> None:
    fill(path, 100)
    db = sqlite3.connect(path)
    db.execute("UPDATE kept SET results = x'00'")
    db.commit()
    db.close()
    with pytest.raises(JournalCorruptError, match="its results"):
        list(SqliteJournal(path).results(0, 10))


def test_a_decode_that_raises_is_no_damage(path: Path) -> None:
    fill(path, 100)
    with pytest.raises(JournalError, match=r"decode= raised ZeroDivisionError: .*; give the decode= that") as caught:
        list(SqliteJournal(path, decode=lambda _: 1 // 0).results(0, 10))
    assert not isinstance(caught.value, JournalCorruptError)


def test_meta_data_that_makes_no_sense_is_told(path: Path) -> None:
    fill(path, 100)
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '[1' WHERE name = 'identity'")
    db.commit()
    db.close()
    assert "its table meta" in str(refused(path))


def test_a_newer_format_is_refused(path: Path) -> None:
    fill(path, 100)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    error = refused(path)
    assert isinstance(error, JournalVersionError)
    assert "written by a newer memflow (format 99, this one reads 1); upgrade" in str(error)


# ---- what cannot be written -------------------------------------------------------------------------------------


def limit_pages(journal: SqliteJournal, pages: int) -> None:
    """Stand in for a full disk: SQLite says the same, with the same code."""
    assert journal._db is not None
    journal._db.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize("keyed", [False, True])
def test_a_full_disk_loses_nothing_that_was_acknowledged(path: Path, keyed: bool) -> None:
    journal = SqliteJournal(path)
    journal.open(KEYED if keyed else RUN)
    entries = [(i, os.urandom(1000), make_key(i) if keyed else None) for i in range(100)]
    journal.commit(Commit(entries[:10]))
    limit_pages(journal, 1)
    with pytest.raises(JournalWriteError, match=r"the disk is full .* make room on the disk and resume"):
        journal.commit(Commit(entries[10:]))
    assert journal.summary().finished == 10
    limit_pages(journal, 1_000_000)
    journal.commit(Commit(entries[10:]))
    journal.close(False)
    assert SqliteJournal(path).summary().finished == 100


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.name == "nt" or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def committed(journal: SqliteJournal, position: int) -> bool:
    try:
        journal.commit(Commit([(position, os.urandom(1000), None)]))
    except JournalWriteError as error:
        return "the disk is full" not in str(error)
    return True


def test_a_disk_that_fills_up_loses_nothing_that_was_acknowledged(tiny_disk: Path) -> None:
    path = tiny_disk / "run.journal"
    journal = SqliteJournal(path)
    journal.open(RUN)
    acknowledged = [position for position in range(3000) if committed(journal, position)]
    assert 0 < len(acknowledged) < 3000
    assert [i for i, _ in journal.results(0, 3000)] == acknowledged
    try:
        journal.close(False)
    except JournalWriteError:
        pass
    subprocess.run(["mount", "-o", "remount,size=4m", str(tiny_disk)], check=True)
    assert finished(path) == len(acknowledged)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalWriteError, match="no lock can be taken beside it: No such file"):
        SqliteJournal(tmp_path / "no" / "run.journal").open(RUN)


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(JournalWriteError, match="unable to open database file"):
        SqliteJournal(tmp_path / "folder").open(RUN)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_path_with_a_null_byte_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalWriteError, match="null"):
        SqliteJournal(tmp_path / "a\0b").open(RUN)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Root writes everywhere, so be somebody else."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


def as_read_only(path: Path, *, folder: bool) -> None:
    """Fill a journal that nobody can write to; their folder may be reached."""
    fill(path, 100)
    path.chmod(0o444)
    path.parent.chmod(0o555 if folder else 0o777)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A journal's path in a folder that every user reaches."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        inner = Path(folder) / "inner"
        inner.mkdir()
        yield inner / "run.journal"
        inner.chmod(0o700)


@pytest.fixture
def read_only_folder(shared: Path) -> Path:
    as_read_only(shared, folder=True)
    return shared


@pytest.fixture
def read_only_file(shared: Path) -> Path:
    as_read_only(shared, folder=False)
    return shared


@pytest.mark.skipif(os.name == "nt", reason="folders are not read-only there")
def test_a_read_only_folder_is_told_and_its_journal_can_be_read(read_only_folder: Path, as_nobody: None) -> None:
    with pytest.raises(JournalWriteError, match="no lock can be taken beside it: Permission denied"):
        SqliteJournal(read_only_folder).open(RUN)
    assert SqliteJournal(read_only_folder).summary().finished == 100
    assert next(SqliteJournal(read_only_folder).results(0, 5)) == (0, "result 0")


def test_a_read_only_file_is_told(read_only_file: Path, as_nobody: None) -> None:
    with pytest.raises(JournalWriteError, match=r"it is read-only .* make the file and its folder writable"):
        SqliteJournal(read_only_file).open(RUN)


# ---- processes --------------------------------------------------------------------------------------------------

HOLD = """
    import sys
    from memflow.journal.base import RunIdentity
    from memflow.journal.sqlite import SqliteJournal
    journal = SqliteJournal(sys.argv[1])
    journal.open(RunIdentity("jobs.embed", False))
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_live_process_keeps_others_out_and_a_killed_one_does_not(path: Path) -> None:
    with in_child(HOLD, str(path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(JournalLockedError, match=f"process {child.pid} on") as caught:
            SqliteJournal(path).open(RUN)
        assert caught.value.pid == child.pid
        child.kill()
    assert finished(path) == 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": "x"}', json.dumps({"pid": 1, "host": "h", "started": 1e99})])
def test_a_lock_without_a_sound_note_is_a_lock(path: Path, note: str) -> None:
    journal = SqliteJournal(path)
    journal.open(RUN)
    path.with_name(path.name + "-lock").write_text(note)
    with pytest.raises(JournalLockedError, match="another process has it open"):
        SqliteJournal(path).open(RUN)
    journal.close(False)


def test_a_lock_file_left_behind_is_no_lock(path: Path) -> None:
    path.with_name(path.name + "-lock").write_text("{}")
    assert finished(path) == 0


FORK = """
    import os, sys, time
    from memflow.exceptions import JournalError
    from memflow.journal.base import NOTHING, Commit, RunIdentity
    from memflow.journal.sqlite import SqliteJournal
    journal = SqliteJournal(sys.argv[1])
    journal.open(RunIdentity("jobs.embed", False))
    child = os.fork()
    if child == 0:
        try:
            journal.commit(Commit([(1, NOTHING, None)]))
        except JournalError as error:
            print("child:", error, flush=True)
        sys.stdin.read()
        os._exit(0)
    journal.commit(Commit([(2, NOTHING, None)]))
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_may_not_use_it_and_does_not_hold_its_lock(path: Path) -> None:
    with in_child(FORK, str(path)) as parent:
        assert parent.stdout is not None
        assert "forked from it; use it only in the process that opened it" in parent.stdout.readline()
        assert parent.wait(30) == -signal.SIGKILL
        assert finished(path) == 1  # while the child lives
        assert parent.stdin is not None


COMMIT = """
    import sys
    from memflow.journal.base import NOTHING, Commit, RunIdentity, Settled
    from memflow.journal.keys import make_key
    from memflow.journal.sqlite import SqliteJournal
    from memflow.journal.writer import JournalWriter
    keyed = sys.argv[2] == "keyed"
    journal = SqliteJournal(sys.argv[1])
    opened = journal.open(RunIdentity("jobs.embed", keyed))
    writer = JournalWriter(journal, interval_s=0.001)
    position = int(sys.argv[3])
    while True:
        for _ in range(37):
            writer.finished((position, f"result {position}", make_key(position) if keyed else None))
            position += 1
        if not keyed and position % 5 == 0:
            writer.settle(Settled(position // 2, {"out": position}))
        writer.flush()
        print(position, flush=True)
"""


@pytest.mark.parametrize("mode", ["plain", "keyed"])
def test_what_was_acknowledged_survives_kills(path: Path, mode: str) -> None:
    identity = KEYED if mode == "keyed" else RUN
    acknowledged = 0
    for round_number in range(10):
        with in_child(COMMIT, str(path), mode, str(acknowledged)) as child:
            assert child.stdout is not None
            for _ in range(3 + 17 * round_number % 40):
                acknowledged = int(child.stdout.readline())
            child.kill()
            acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().splitlines(True)[:-1])])
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        journal = SqliteJournal(path)
        opened = journal.open(identity)
        if opened.digests is not None:
            assert all(make_key(i)[0] in opened.digests for i in range(acknowledged))
            assert all(journal.result(make_key(i)[0]) == f"result {i}" for i in range(0, acknowledged, 50))
        else:
            assert opened.finished.next_missing(0) >= acknowledged
            settled = opened.settled.items if opened.settled else 0
            kept = dict(journal.results(settled, acknowledged - 1))
            assert kept == {i: f"result {i}" for i in range(settled, acknowledged)}
        journal.close(False)


# ---- looking without a run --------------------------------------------------------------------------------------


def test_all_results_come_in_order_of_the_input_with_keys_or_without(tmp_path: Path) -> None:
    order = list(range(3000))
    random.Random(7).shuffle(order)
    for keyed in (False, True):
        journal = SqliteJournal(tmp_path / f"{keyed}.journal")
        journal.open(KEYED if keyed else RUN)
        for at in range(0, 3000, 50):
            part = order[at : at + 50]
            journal.commit(Commit([(i, f"result {i}", make_key(i) if keyed else None) for i in part]))
        journal.commit(Commit([(5000, NOTHING, make_key(5000) if keyed else None)]))
        expected = [(i, make_key(i)[0] if keyed else None, f"result {i}") for i in range(3000)]
        assert list(SqliteJournal(journal.path).all_results()) == list(journal.all_results()) == expected
        journal.close(False)
        assert list(SqliteJournal(journal.path).all_results()) == expected


def test_suspects_come_with_the_most_deaths_first(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.open(KEYED)
    journal.count_deaths([make_key("a"), make_key("b")])
    journal.count_deaths([make_key("b")])
    assert [(each.position, each.key_text, each.deaths) for each in SqliteJournal(path).suspects()] == [
        (None, "b", 2),
        (None, "a", 1),
    ]
    journal.close(False)


def test_a_failure_that_is_released_meanwhile_is_left_out(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.open(RUN)
    journal.commit(Commit(failures=[FailureRecord(i, None, "error", "E", "m") for i in range(100)]))
    failures = journal.failures()
    assert next(failures).position == 0
    journal.release(Selection.parse(["99"]))
    assert [each.position for each in failures] == list(range(1, 99))
    journal.close(False)


AS_NOBODY = """
import os, sys
from memflow.journal.sqlite import SqliteJournal
os.setuid(65534)
journal = SqliteJournal(sys.argv[1])
print(journal.summary().finished, len(list(journal.all_results())))
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become nobody")
def test_what_cannot_be_written_to_can_be_looked_at(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        os.chmod(folder, 0o755)
        path = Path(folder) / "run.journal"
        fill(path, 300)
        path.chmod(0o644)
        with in_child(AS_NOBODY, str(path)) as child:
            out, _ = child.communicate(timeout=60)
        assert out == "300 300\n"
        assert [each.name for each in Path(folder).iterdir()] == ["run.journal"]
