"""Who has a journal open: `memflow.journal.lock`; that only one run has it is in `test_conformance`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from memflow.journal.lock import HeldLock, read_holder


def rewrite(path: Path, **changes: object) -> None:
    lock = path.with_name(path.name + "-lock")
    lock.write_text(json.dumps({**json.loads(lock.read_bytes()), **changes}))


def test_the_holder_is_told_without_taking_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    assert read_holder(path) is None
    lock = HeldLock(path)
    holder = read_holder(path)
    assert holder is not None
    assert (holder.pid, holder.alive) == (os.getpid(), True)
    lock.release()
    assert read_holder(path) is None
    HeldLock(path).release()


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        ({"process": "1"}, False),  # its number was given to another process since
        ({"boot": "earlier"}, False),
        ({"pid": 2**30}, False),
        ({"process": ""}, False),
        ({"host": "another"}, None),
    ],
)
def test_one_that_is_gone_is_told_from_one_that_lives(tmp_path: Path, changes: dict[str, object], alive: bool) -> None:
    lock = HeldLock(tmp_path / "run.journal")
    rewrite(tmp_path / "run.journal", **changes)
    holder = read_holder(tmp_path / "run.journal")
    assert holder is not None
    assert holder.alive is alive
    lock.release()


@pytest.mark.parametrize("note", [b"", b"[1]", b'{"pid": "x"}', b"\xff"])
def test_a_note_that_says_nothing_names_nobody(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "run.journal-lock").write_bytes(note)
    assert read_holder(tmp_path / "run.journal") is None
