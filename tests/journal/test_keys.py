"""Keys of items: `memflow.journal.keys`."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from uuid import UUID

import pytest

from memflow.exceptions import ConfigurationError
from memflow.journal.keys import make_key

DIFFERENT = [
    *(1, 1.0, True, "1", b"1", None, "None", "True", -1, 10**6000, "", b"", 0.0, -0.0, float("inf"), "\ud800"),
    *((), (1,), ("1",), (1, 2), ((1,), 2), (1, (2,)), ("a", "b"), ("ab",), ("a:b",)),
    UUID(int=1),
]


def test_different_values_are_different_keys() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert make_key(one)[0] != make_key(other)[0], (one, other)


@pytest.mark.parametrize("value", DIFFERENT, ids=lambda value: repr(value)[:20] if value != 10**6000 else "large")
def test_the_same_value_is_the_same_key(value: object) -> None:
    digest, text = make_key(value)
    assert make_key(value) == (digest, text)
    assert len(digest) == 16
    assert len(text.encode()) <= 800


@pytest.mark.parametrize(
    ("value", "text"),
    [("a/b", "a/b"), (7, "7"), (("a", 1), "('a', 1)"), (UUID(int=1), str(UUID(int=1))), ("x" * 999, "x" * 200)],
)
def test_the_text_shows_the_value(value: object, text: str) -> None:
    assert make_key(value)[1] == text


@pytest.mark.parametrize("value", [[1], {"a": 1}, Path("a"), object(), (1, [2])])
def test_other_types_are_refused_by_name(value: object) -> None:
    with pytest.raises(
        ConfigurationError, match=r"key= returned a (builtins\.(list|dict|object)|pathlib.*Path); a key"
    ):
        make_key(value)
