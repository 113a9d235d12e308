"""The journal in a file and the one in memory agree, whatever is done with them in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memflow.exceptions import DuplicateKeyError
from memflow.journal.base import NOTHING, Commit, FailureRecord, Journal, RunIdentity, Selection, Settled
from memflow.journal.keys import make_key
from memflow.journal.memory import MemoryJournal
from memflow.journal.sqlite import SqliteJournal

POSITIONS = st.integers(0, 30)
RESULTS = st.sampled_from([NOTHING, None, 1, "x"])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("commit"),
            st.lists(st.tuples(POSITIONS, RESULTS), max_size=12, unique_by=lambda entry: entry[0]),
            st.lists(st.tuples(POSITIONS, st.sampled_from(["error", "poison"])), max_size=3),
            st.none() | POSITIONS,
        ),
        st.tuples(st.just("deaths"), st.lists(POSITIONS, unique=True, max_size=4)),
        st.tuples(st.just("release"), st.sampled_from(["all", "error", "poison", "3", "k3"])),
        st.tuples(st.just("reopen"), st.booleans()),
    ),
    max_size=12,
)


def perform(journal: Journal, step: Any, keyed: bool, delivered: list[int]) -> Any:
    """Do one step; what comes of it, in plain values."""
    if step[0] == "commit":
        return commit(journal, step, keyed, delivered)
    if step[0] == "deaths":
        return journal.count_deaths([make_key(f"k{i}") for i in step[1]] if keyed else step[1])
    if step[0] == "release":
        return journal.release(Selection.parse([step[1]]))
    journal.close(step[1])
    return seen(journal, keyed)


def commit(journal: Journal, step: Any, keyed: bool, delivered: list[int]) -> Any:
    _, finished, failures, settled = step
    if settled is not None:
        delivered.append(max([settled, *delivered]))
    entries = [(i, result, make_key(f"k{i % 25}") if keyed else None) for i, result in finished]
    records = [FailureRecord(i, make_key(f"k{i}") if keyed else None, kind, "E", "m") for i, kind in failures]
    try:
        journal.commit(Commit(entries, records, None if settled is None else Settled(delivered[-1])))
    except DuplicateKeyError as error:
        return error.key, error.first, error.second
    return None


def seen(journal: Journal, keyed: bool) -> Any:
    opened = journal.open(RunIdentity("op", keyed))
    digests = opened.digests
    keys = [i for i in range(31) if digests is not None and make_key(f"k{i}")[0] in digests]
    settled = opened.settled.items if opened.settled else 0
    summary = journal.summary()
    return (
        *(opened.fresh, opened.complete, list(opened.finished.ranges()), keys, dict(opened.failures)),
        *(dict(opened.deaths), settled, list(journal.failures()), list(journal.results(settled, 99))),
        [journal.result(make_key(f"k{i}")[0]) for i in range(31)],
        (summary.finished, summary.failed, summary.quarantined, summary.complete),
    )


@pytest.mark.parametrize("keyed", [False, True])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
@example(  # a failure that is told after delivery, of an item that shares a row with one that is not delivered
    steps=[("commit", [(0, None), (1, None)], [], 1), ("commit", [], [(0, "error")], None), ("release", "all")]
)
def test_both_journals_agree(keyed: bool, steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, memory = SqliteJournal(Path(folder) / "j"), MemoryJournal()
        delivered: tuple[list[int], list[int]] = ([], [])
        assert seen(file, keyed) == seen(memory, keyed)
        for step in [*steps, ("reopen", False)]:
            assert perform(file, step, keyed, delivered[0]) == perform(memory, step, keyed, delivered[1])
        file.close(True)
