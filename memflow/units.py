"""Bytes and text: sizes that people write, and sizes that people read.

Covers parsing (`parse_bytes`, `MemorySize`) and printing (`format_bytes`). Which limit a share such as `80%` is
taken of is decided in `memflow.memory.limit`; which setting takes a size, in `memflow.settings`.

Units, in any case: `KiB MiB GiB TiB PiB` and `Ki Mi Gi Ti Pi` are powers of 1024; `KB MB GB TB PB` are powers
of 1000. A single letter (`512M`, `1.5G`) is a power of 1024, as Docker, systemd and the JVM read it. Kubernetes
reads a single letter as a power of 1000 (and `m` as a thousandth): write `Mi` or `MB` where both will read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["MemorySize", "format_bytes", "parse_bytes"]

_LETTERS = "KMGTP"
_BINARY = {letter: 1024**power for power, letter in enumerate(_LETTERS, 1)}
_DECIMAL = {letter: 1000**power for power, letter in enumerate(_LETTERS, 1)}
_FACTORS = {
    "": 1,
    "B": 1,
    **{letter + end: size for letter, size in _BINARY.items() for end in ("", "I", "IB")},
    **{letter + "B": size for letter, size in _DECIMAL.items()},
}
# Longer than any size needs; it keeps a pasted file out of the error message and out of int().
_NUMBER = re.compile(r"([0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24})\s*([A-Za-z]{0,3}|%)")
_MOST_BYTES = 2**63 - 1
_FORMS = "write a number of bytes (536870912), a size (512MB, 512MiB, 512Mi, 1.5G) or a share (80%)"


def format_bytes(n: int) -> str:
    """Print a number of bytes for people, in powers of 1024.

    Args:
        n: Bytes; may be negative.

    Returns:
        At most four significant digits and a unit, such as `1.5 GiB`, `812 KiB` or `-3 MiB`.

    Example:
        >>> format_bytes(1610612736)
        '1.5 GiB'
    """
    size, unit = float(abs(n)), "B"
    for letter in _LETTERS:
        if _round(size) < 1024:
            break
        size, unit = size / 1024, f"{letter}iB"
    return f"{'-' if n < 0 else ''}{_round(size):g} {unit}"


def _round(size: float) -> float:
    """Round to one decimal below 100 and to none above, as `format_bytes` shows it."""
    return round(size, 1 if size < 100 else 0)


def parse_bytes(text: str) -> int:
    """Read a size, such as `512MiB`, `512MB`, `512Mi`, `1.5G` or `4096`.

    Args:
        text: A number and a unit, in any case, with or without a space between; no unit means bytes.

    Returns:
        Bytes; a fraction of a byte is rounded down.

    Raises:
        ValueError: For anything else, a share (`80%`) included; the message lists the accepted forms.

    Example:
        >>> parse_bytes("512MiB")
        536870912
    """
    number, unit = _split(text)
    if unit == "%":
        raise ValueError(f"{text!r} is a share, and a size in bytes is needed here; write 512MB, 512MiB, 512Mi or 1.5G")
    factor = _FACTORS.get(unit.upper())
    if factor is None:
        raise ValueError(f"unknown unit {unit!r} in {text!r}; {_FORMS}")
    if factor == 1 and number.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes; {_FORMS}")
    return _check_bytes(int(number * factor))


def _split(text: str) -> tuple[Fraction, str]:
    if not isinstance(text, str):
        raise ValueError(f"a {type(text).__name__} is no size; {_FORMS}")
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise ValueError(f"{shown!r} is no size; {_FORMS}")
    return Fraction(match[1].removesuffix(".")), match[2]


def _check_bytes(size: int) -> int:
    if size < 0:
        raise ValueError(f"a size cannot be negative; {_FORMS}")
    if size > _MOST_BYTES:
        raise ValueError(f"a size of 8 EiB or more is beyond any machine; {_FORMS}")
    return size


@dataclass(frozen=True, slots=True, init=False, repr=False)
class MemorySize:
    """A size in bytes, or a share of a total that is known only later. Exactly one of both is set.

    Args:
        value: Bytes, a text such as `"512MiB"`, `"1.5G"` or `"80%"`, or another `MemorySize`.

    Raises:
        ValueError: For negative sizes, shares outside (0, 100] and anything that is no size.

    Example:
        >>> MemorySize("80%").resolve(1000), str(MemorySize(512 * 1024 * 1024))
        (800, '512MiB')
    """

    bytes: int | None
    """The size in bytes; None for a share."""
    percent: float | None
    """The share in per cent, in (0, 100]; None for a size."""

    def __init__(self, value: int | str | MemorySize) -> None:
        size, percent = _read(value)
        object.__setattr__(self, "bytes", size)
        object.__setattr__(self, "percent", percent)

    def resolve(self, total_bytes: int) -> int:
        """Bytes that this stands for.

        Args:
            total_bytes: What a share is taken of, in bytes; a size ignores it.

        Returns:
            Bytes, a share rounded down.
        """
        if self.bytes is not None:
            return self.bytes
        assert self.percent is not None
        return int(total_bytes * Fraction(repr(self.percent)) / 100)

    def __str__(self) -> str:
        if self.bytes is not None:
            return _shortest(self.bytes)
        # Decimal, since repr() of a small share is in scientific form, which is not read back.
        return f"{Decimal(repr(self.percent)):f}".removesuffix(".0") + "%"

    def __repr__(self) -> str:
        return f"MemorySize({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # Imported here since pure modules use this one too, and need nothing of pydantic.
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls,
            json_schema_input_schema=core_schema.union_schema([core_schema.str_schema(), core_schema.int_schema()]),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )


def _read(value: object) -> tuple[int | None, float | None]:
    """Turn what a `MemorySize` is made from into (bytes, per cent), one of which is None."""
    if isinstance(value, MemorySize):
        return value.bytes, value.percent
    if isinstance(value, int) and not isinstance(value, bool):
        return _check_bytes(value), None
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} is no size; {_FORMS}")
    number, unit = _split(value)
    if unit != "%":
        return parse_bytes(value), None
    percent = float(number)
    if not 0 < percent <= 100:
        raise ValueError(f"a share must be above 0% and at most 100%, and {value!r} is not; {_FORMS}")
    return None, percent


def _shortest(size: int) -> str:
    """The shortest text that reads back as exactly `size`; powers of 1024 before powers of 1000 before bytes."""
    texts = [
        f"{float(Fraction(size, factor)):g}{letter}{end}"
        for factors, end in ((_BINARY, "iB"), (_DECIMAL, "B"))
        for letter, factor in factors.items()
        if size >= factor and size * 100 % factor == 0 and size < factor * 10_000
    ]
    return min([*texts, str(size)], key=len)
