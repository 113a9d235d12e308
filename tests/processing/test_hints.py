"""Size hints: `memflow.processing.hints`."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.exceptions import SizeHintError
from memflow.processing.hints import weigh


@pytest.mark.parametrize(
    "value", [0, 7, 1.5, True, Decimal("2.5"), Fraction(1, 3), numpy.int64(9), numpy.float32(0.5), 2**70]
)
def test_numbers_are_sizes(value: Any) -> None:
    assert weigh(lambda item: value, ["x"], 0) == [float(value)]


class Odd:
    def __float__(self) -> float:
        raise RuntimeError("no number")


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.001,
        math.nan,
        math.inf,
        -math.inf,
        None,
        "12",
        b"12",
        [],
        {},
        1j,
        object(),
        10**400,
        Decimal("sNaN"),
        Odd(),
    ],
)
def test_nonsense_is_refused_and_the_item_named(value: Any) -> None:
    with pytest.raises(SizeHintError, match="for item 12") as caught:
        weigh(lambda item: value if item == "bad" else 1, ["fine", "fine", "bad"], 10)
    assert caught.value.index == 12
    assert "return 0 where the size is unknown" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_hint_that_raises_is_named_with_its_cause() -> None:
    with pytest.raises(SizeHintError, match=r"raised KeyError: 'size' for item 0") as caught:
        weigh(lambda item: item["size"], [{}], 0)
    assert isinstance(caught.value.__cause__, KeyError)


@given(st.lists(st.floats(0, 1e300)), st.integers(0, 1000))
def test_each_item_is_weighed_in_order(sizes: list[float], start: int) -> None:
    assert weigh(lambda item: item, sizes, start) == sizes
