"""Which results are stored, and that loading runs nothing: `memflow.journal.codec`."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import ipaddress
import os
import pathlib
import pickle
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.journal.codec import STORED_CLASSES, Codec, DecodeFailed, NotLoadable, NotStorable


class Point(NamedTuple):
    x: int


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


CODEC = Codec()
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5)
PLAIN = [None, True, 0, 10**50, 1.5, "", "é", b"x", (1, (2,)), [[]], {"a": {1: None}}]
CLASSES: list[Any] = [
    *(bytearray(b"x"), 1j, {1, 2}, frozenset({3}), range(3), slice(1, 2)),
    *(collections.Counter("aab"), collections.OrderedDict(b=1, a=2), collections.deque([1], 3)),
    *(MOMENT, MOMENT.replace(tzinfo=datetime.UTC), MOMENT.date(), MOMENT.time(), datetime.timedelta(3, 4, 5)),
    datetime.timezone(datetime.timedelta(hours=2)),
    *(decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=5), uuid.uuid1()),
    *(ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("::1")),
    *(ipaddress.ip_network("1.2.3.0/24"), ipaddress.ip_network("::/64")),
    *(pathlib.PurePosixPath("/a/b"), pathlib.PureWindowsPath("c:/a")),
]


def same(value: Any) -> Any:
    return CODEC.load(CODEC.dump([value]))[0]


@pytest.mark.parametrize("value", PLAIN + CLASSES, ids=lambda value: type(value).__name__)
def test_stored_values_come_back_as_they_were(value: Any) -> None:
    back = same(value)
    assert back == value
    assert type(back) is type(value)


def test_every_class_of_the_list_is_tried_here() -> None:
    assert {type(value) for value in CLASSES} | {zoneinfo.ZoneInfo} == set(STORED_CLASSES)


def test_a_time_zone_comes_back() -> None:
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zones on this machine")
    assert same(MOMENT.replace(tzinfo=zone)).tzinfo is zone


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.decimals(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values=st.lists(plain))
def test_lists_of_results_come_back(values: list[Any]) -> None:
    assert repr(CODEC.load(CODEC.dump(values))) == repr(values)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "builtins.object"),
        (ValueError("x"), "builtins.ValueError"),
        (len, "builtins.builtin_function_or_method"),
        (os.system, "builtins.builtin_function_or_method"),
        (int, "builtins.int"),
        (Point(1), "Point"),
        (Colour.RED, "Colour"),
        (Text("x"), "Text"),
        (collections.defaultdict(list), "collections.defaultdict"),
        (pathlib.Path("x"), "Path"),
        ([{"deep": (object(),)}], "builtins.object"),
        (lambda: 1, "builtins.function"),
    ],
)
def test_anything_else_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(NotStorable) as caught:
        CODEC.dump([1, value])
    assert name in caught.value.type_name


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    try:
        with pytest.raises(NotStorable, match="nested too deeply"):
            CODEC.dump([value])
    finally:
        while value:  # freeing it in one go would nest as deeply
            value = value[0]


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo loaded",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pickle.dumps([Evil()]), "system, which is not loaded"),
        (pickle.dumps([eval]), "builtins.eval, which is not loaded"),
        (pickle.dumps(5), "it holds a int"),
        (b"", "EOFError"),
        (b"garbage", "Error"),
        (pickle.dumps([1, 2, 3])[:-4], "Error|EOF"),
    ],
)
def test_loading_runs_nothing_and_says_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(NotLoadable, match=says):
        CODEC.load(data)


def test_a_path_s_module_of_another_python_is_known() -> None:
    for home in (b"\x0epathlib._local", b"\x07pathlib"):
        data = b"\x80\x04]\x8c" + home + b"\x8c\rPurePosixPath\x93\x8c\x02/a\x85Ra."
        assert CODEC.load(data) == [pathlib.PurePosixPath("/a")]


def test_converters_that_raise_are_told() -> None:
    with pytest.raises(NotStorable, match="encode= raised ZeroDivisionError"):
        Codec(encode=lambda _: 1 // 0).dump([1])
    with pytest.raises(DecodeFailed, match="decode= raised ZeroDivisionError"):
        Codec(decode=lambda _: 1 // 0).load(CODEC.dump([1]))
