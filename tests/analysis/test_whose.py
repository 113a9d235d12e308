"""Whose growth it is, from look to look: a name neither comes too soon nor goes too soon, and has its numbers."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis import whose as module
from memflow.analysis.attribution import SURE, UNSURE, Attribution
from memflow.analysis.whose import Whose

EVIDENCE = {
    "growth_mb_per_min": 6.0,
    "gained_bytes": 3_000_000.0,
    "seen_s": 30.0,
    "seen_items": 3_000.0,
    "blocks_per_min": 60_000.0,
    "blocks_per_item": 10.0,
    "growth_bytes_per_item": 1_000.0,
}


def attribution(operation="a", sureness=0.97, *, share=0.8, items=1_000.0, is_alone=False):
    return Attribution(operation, sureness, share, items, ("a", "b", None), is_alone=is_alone)


@pytest.fixture
def looks(monkeypatch):
    """Look with what is given as the answer, and return who is named."""
    whose = Whose()

    def look(found):
        monkeypatch.setattr(module, "attribute", lambda *_: found)
        whose.look({}, EVIDENCE)
        return whose.operation

    return SimpleNamespace(look=look, whose=whose)


def test_a_name_comes_when_sure_and_goes_when_doubtful(looks):
    told = [looks.look(attribution(sureness=each)) for each in (0.9, SURE, 0.85, UNSURE, 0.79, 0.9, 0.99)]
    assert told == [None, "a", "a", "a", None, None, "a"]


def test_another_takes_the_name_only_when_sure(looks):
    assert looks.look(attribution("a", 0.97)) == "a"
    assert looks.look(attribution("b", 0.9)) is None
    assert looks.look(attribution("b", 0.96)) == "b"
    assert looks.look(None) is None


def test_those_that_are_counted_together_have_no_name(looks):
    assert looks.look(attribution(None, 0.99)) is None
    assert looks.whose.candidates == ("a", "b")


def test_candidates_are_there_while_nobody_is_named(looks):
    assert looks.whose.candidates == ()
    looks.look(attribution(sureness=0.5))
    assert looks.whose.candidates == ("a", "b")
    looks.look(attribution(sureness=0.99))
    assert looks.whose.candidates == ()
    looks.whose.forget()
    assert (looks.whose.operation, looks.whose.found, looks.whose.candidates) == (None, None, ())


def test_whoever_is_named_has_what_falls_to_one_item_and_one_hour(looks):
    looks.look(attribution())
    assert looks.whose.evidence(EVIDENCE) == EVIDENCE | {
        "growth_mb_per_hour": 0.8 * 360,
        "operation_sureness": 0.97,
        "operation_share": 0.8,
        "operation_items": 1_000.0,
        "blocks_per_item": pytest.approx(0.8 * 30_000 / 1_000),
        "growth_bytes_per_item": pytest.approx(0.8 * 3_000_000 / 1_000),
    }


def test_while_nobody_is_named_numbers_are_those_of_all_items(looks):
    looks.look(attribution(sureness=0.5))
    expected = EVIDENCE | {"growth_mb_per_hour": 360.0, "operation_sureness": 0.5, "operation_share": 0.8}
    assert looks.whose.evidence(EVIDENCE) == expected


def test_one_that_finished_nothing_has_nothing_an_item(looks):
    looks.look(attribution(items=0.0))
    told = looks.whose.evidence(EVIDENCE)
    assert not [name for name in told if name.endswith("_per_item")]
    assert told["growth_mb_per_hour"] == pytest.approx(288)


def test_growth_along_time_gets_nothing_an_item(looks):
    along_time = {name: value for name, value in EVIDENCE.items() if not name.endswith("_per_item")}
    looks.look(attribution())
    assert not [name for name in looks.whose.evidence(along_time) if name.endswith("_per_item")]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 1)), max_size=50))
def test_whoever_is_named_is_the_likeliest_and_not_doubtful(steps):
    whose = Whose()
    with pytest.MonkeyPatch.context() as patch:
        for operation, sureness in steps:
            found = attribution(operation, sureness)
            patch.setattr(module, "attribute", lambda *_, found=found: found)
            whose.look({}, EVIDENCE)
            if whose.operation is not None:
                assert whose.operation == operation
                assert sureness >= UNSURE
            assert (whose.operation is not None) or sureness < SURE
