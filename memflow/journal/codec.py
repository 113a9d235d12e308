"""Which results are stored, and how: pickles that name nothing but plain values and a few standard classes.

Covers dumping and loading of lists of results. A pickle can call anything when it is loaded; these are loaded by an
unpickler that finds the classes of a fixed list and nothing else, so that a journal from elsewhere is data, not code.
Not covered: what else a user wants stored, which `encode` and `decode` turn into such values.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import ipaddress
import pathlib
import pickle
import uuid
import zoneinfo
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["STORED_CLASSES", "Codec", "DecodeFailed", "NotLoadable", "NotStorable"]

_Convert = Callable[[Any], Any]

STORED_CLASSES: tuple[type, ...] = (
    bytearray,
    complex,
    range,
    set,
    frozenset,
    slice,
    collections.Counter,
    collections.OrderedDict,
    collections.deque,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    fractions.Fraction,
    ipaddress.IPv4Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Address,
    ipaddress.IPv6Network,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    uuid.UUID,
    zoneinfo.ZoneInfo,
)
"""What is stored besides None, bool, int, float, str, bytes, tuple, list and dict; their subclasses are not."""

_KNOWN = frozenset(STORED_CLASSES)
_PROTOCOL = 5
_MAX_BYTES = 900_000_000
"""SQLite's limit for one value is 1,000,000,000."""


class NotStorable(Exception):
    """A value is not stored; names its type, or says what else is wrong with it."""

    def __init__(self, type_name: str, problem: str = "") -> None:
        self.type_name = type_name
        self.problem = problem
        super().__init__(problem or type_name)


class NotLoadable(ValueError):
    """What was read is no list of results; says why."""


class DecodeFailed(ValueError):
    """`decode` raised; the results are as they were stored."""


class Codec:
    """Turns results into bytes and back.

    Args:
        encode: turns a result into something storable, before it is stored.
        decode: turns it back.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(self, encode: _Convert | None = None, decode: _Convert | None = None) -> None:
        self._encode = encode
        self._decode = decode

    def dump(self, results: Sequence[Any]) -> bytes:
        """Turn a list of results into bytes.

        Raises:
            NotStorable: one of them is not stored; `dump` them one by one to find which.
        """
        encode = self._encode
        try:
            values = list(results) if encode is None else [encode(each) for each in results]
        except Exception as error:
            raise NotStorable("", f"could not be encoded: encode= raised {type(error).__name__}: {error}") from error
        data = _dump(values)
        if len(data) > _MAX_BYTES:
            raise NotStorable("", f"takes {len(data)} bytes, and at most {_MAX_BYTES} are stored")
        return data

    def load(self, data: bytes) -> list[Any]:
        """Turn bytes into the list of results that they were.

        Raises:
            NotLoadable: they are damaged, or name a class that is not on the list.
            DecodeFailed: `decode` raised.
        """
        values = _load(data)
        if self._decode is None:
            return values
        try:
            return [self._decode(each) for each in values]
        except Exception as error:
            raise DecodeFailed(f"decode= raised {type(error).__name__}: {error}") from error


def _dump(values: list[Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, _PROTOCOL).dump(values)
    except RecursionError as error:
        raise NotStorable("", "is nested too deeply to be stored") from error
    return buffer.getvalue()


def _load(data: bytes) -> list[Any]:
    try:
        values = _Unpickler(io.BytesIO(data)).load()
    except NotLoadable:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise NotLoadable(f"{type(error).__name__}: {error}") from error
    if type(values) is not list:
        raise NotLoadable(f"it holds a {type(values).__name__}")
    return values


class _Pickler(pickle.Pickler):
    """Writes the classes of the list and nothing else; what is built in never comes here, so that it stays fast."""

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is zoneinfo.ZoneInfo and value.key is not None:
            return zoneinfo.ZoneInfo, (value.key,)  # by itself it would be found through `getattr`
        if kind in _KNOWN or (isinstance(value, type) and value in _KNOWN):
            return NotImplemented
        named = value if isinstance(value, type) else kind
        raise NotStorable(f"{named.__module__}.{named.__qualname__}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _LOADED.get((module, name))
        if found is None:
            raise NotLoadable(f"it names {module}.{name}, which is not loaded")
        return found


_LOADED: dict[tuple[str, str], type] = {(each.__module__, each.__qualname__): each for each in STORED_CLASSES}
# Python 3.13 calls the paths' module pathlib._local, others pathlib; a journal may be read by another one.
_LOADED |= {
    (home, each.__name__): each
    for home in ("pathlib", "pathlib._local")
    for each in (pathlib.PurePosixPath, pathlib.PureWindowsPath)
}
