"""The journal's values: `memflow.journal.base`."""

from __future__ import annotations

import pytest

from memflow.exceptions import ConfigurationError
from memflow.journal.base import NOTHING, FailureRecord, Finished, RunIdentity, Selection, differences
from memflow.journal.keys import make_key

RECORDED = RunIdentity("a.b", False, {"path": "in", "size": 3})


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (RECORDED, []),
        (RunIdentity("a.b", False), []),
        (RunIdentity("a.b", False, {"path": "in", "lines": 9}), []),
        (RunIdentity("a.c", False), ["operation: the journal has 'a.b', this run 'a.c'"]),
        (RunIdentity("a.b", True, {"size": 4}), ["keyed: the journal has False, this run True",
                                                 "size: the journal has 3, this run 4"]),
    ],
)  # fmt: skip
def test_only_what_both_runs_know_is_compared(now: RunIdentity, says: list[str]) -> None:
    assert differences(RECORDED, now) == says


def test_nothing_is_no_result_and_a_finished_item_is_a_plain_tuple() -> None:
    assert Finished(3) == (3, NOTHING, None)
    assert repr(NOTHING) == "NOTHING"
    assert NOTHING is not None


def test_a_failure_is_known_by_its_key_where_there_is_one() -> None:
    key = make_key("k")
    assert FailureRecord(3, key, "error", "E", "m").item == key[0]
    assert FailureRecord(3, key, "error", "E", "m").key_text == "k"
    assert FailureRecord(3, None, "error", "E", "m").item == 3
    assert FailureRecord(3, None, "error", "E", "m").key_text is None


def test_words_select_failures() -> None:
    chosen = Selection.parse(["poison", "7", "key:all", "12a"])
    assert chosen == Selection(frozenset({"poison"}), frozenset({7}), frozenset({"all", "12a"}))
    assert Selection.parse(["all"]).kinds == {"error", "poison"}
    with pytest.raises(ConfigurationError, match="nothing is selected"):
        Selection.parse([])
