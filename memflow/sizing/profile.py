"""A cost profile: what was learnt about operations, as plain data that outlives the process. Pure.

Covers the values, their mapping to and from what JSON can hold, checking, and merging. Files are
`memflow.sizing.profile_file`'s, what a run makes of a profile is `memflow.sizing.warm`'s.

A profile comes from a file that anybody may have written, so nothing in it is believed: each number is checked, an
operation with a bad one is left out and told, and what is left is a guess that measuring replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, cast

from memflow.sizing.operation import Kind

__all__ = ["MAX_OPERATIONS", "BadProfile", "CostProfile", "Machine", "OperationProfile", "merge", "parse", "to_data"]

FORMAT = "memflow cost profile"
VERSION = 1
MAX_OPERATIONS = 64
"""Operations kept in one profile; the oldest go first."""
MAX_NAME = 200
"""Characters of an operation's name; one that is longer is not kept."""

_MAX_BYTES = 2.0**60
_MAX_SECONDS = 1e7
_MAX_COUNT = 2**31
_MAX_TIME = 1e11
_MAX_TEXT = 100
_MOST_TOLD = 3


class BadProfile(ValueError):
    """What was read is no cost profile of this version; says why."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where something was learnt. Times and sizes hold only where all of this is the same."""

    platform: str = ""
    """System and processor, such as "Linux x86_64"."""
    python: str = ""
    """Implementation and version, such as "cpython 3.12"."""
    memflow: str = ""
    """Version of memflow."""
    cpus: int = 0
    """Processors that the process might use."""


@dataclass(frozen=True, slots=True)
class OperationProfile:
    """What was learnt about one operation."""

    operation: str
    """Its name."""
    kind: Kind
    """"items" for functions of one item, "batches" for functions of a list."""
    hinted: bool = False
    """Weight is in bytes of size hint; otherwise in items."""
    weight_per_item: float = 1.0
    """Weight of an item, about; 1 without hints."""
    bytes_per_weight: float | None = None
    """Bytes for each unit of weight (with hints: the ratio of real bytes to hinted ones); None where not learnt."""
    bytes_per_call: float = 0.0
    """Bytes of a call whatever its weight."""
    guard_bytes: float = 0.0
    """Room kept for what no prediction covers, bytes."""
    fixed_s: float | None = None
    """Seconds of a batch whatever its items; None where not learnt."""
    item_s: float | None = None
    """Seconds of one more item; None where not learnt."""
    batch_size: int | None = None
    """Items of a batch that were reached; None for item functions and where nothing was reached."""
    concurrency: int | None = None
    """Calls in flight that were reached; None where nothing was reached."""
    climbing: bool = False
    """The search for a better concurrency had only begun when the run ended."""
    items_per_s: float | None = None
    """Items a second at that concurrency; None where not measured."""
    limit_bytes: int | None = None
    """The memory limit under which it was learnt, bytes; None where memory was not read."""
    machine: Machine = Machine()
    """Where it was learnt."""
    saved_s: float = 0.0
    """When it was saved, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class CostProfile:
    """What was learnt about several operations."""

    operations: tuple[OperationProfile, ...] = ()
    """At most one for each name."""

    def find(self, operation: str) -> OperationProfile | None:
        """Return what is known about an operation, None where nothing is."""
        return next((each for each in self.operations if each.operation == operation), None)


def to_data(profile: CostProfile) -> dict[str, Any]:
    """Return a profile as mappings, texts and finite numbers, the newest operations where there are too many."""
    kept = {each.operation: _entry(each) for each in _bounded(profile.operations)}
    return {"format": FORMAT, "version": VERSION, "operations": kept}


def parse(data: object) -> tuple[CostProfile, tuple[str, ...]]:
    """Return the profile that plain data holds, and sentences about operations that were left out.

    Raises:
        BadProfile: it is no profile, or one of another version.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise BadProfile("it is no cost profile")
    version = data.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise BadProfile(f"its version is {version!r:.20}, and this memflow reads version {VERSION}")
    entries = data.get("operations")
    if not isinstance(entries, Mapping):
        raise BadProfile("it lists no operations")
    found, bad = [], []
    for name, entry in entries.items():
        try:
            found.append(_operation(name, entry))
        except BadProfile as error:
            bad.append(f"{name!r:.40}: {error}")
    left_out = bad[:_MOST_TOLD] + ([f"and {len(bad) - _MOST_TOLD} more"] if len(bad) > _MOST_TOLD else [])
    return CostProfile(_bounded(found)), tuple(left_out)


def merge(older: CostProfile, newer: CostProfile) -> CostProfile:
    """Return both, the newer's operations in place of the older's of the same name."""
    merged = {each.operation: each for each in (*older.operations, *newer.operations)}
    return CostProfile(_bounded(merged.values()))


def _bounded(operations: Iterable[OperationProfile]) -> tuple[OperationProfile, ...]:
    """The newest that there is room for."""
    named = [each for each in operations if _is_name(each.operation)]
    return tuple(sorted(named, key=lambda each: (-each.saved_s, each.operation))[:MAX_OPERATIONS])


def _is_name(name: object) -> bool:
    # A lone surrogate can't be written as UTF-8.
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()


def _entry(each: OperationProfile) -> dict[str, Any]:
    entry = asdict(each)
    del entry["operation"]
    return {name: value for name, value in entry.items() if value is not None}


_RANGES: Mapping[str, tuple[float, float]] = {
    "weight_per_item": (0.0, _MAX_BYTES),
    "bytes_per_weight": (0.0, _MAX_BYTES),
    "bytes_per_call": (0.0, _MAX_BYTES),
    "guard_bytes": (0.0, _MAX_BYTES),
    "fixed_s": (0.0, _MAX_SECONDS),
    "item_s": (0.0, _MAX_SECONDS),
    "items_per_s": (0.0, _MAX_BYTES),
    "saved_s": (0.0, _MAX_TIME),
}
_COUNTS: Mapping[str, int] = {"batch_size": _MAX_COUNT, "concurrency": _MAX_COUNT, "limit_bytes": int(_MAX_BYTES)}
_FLAGS = ("hinted", "climbing")


def _operation(name: object, entry: object) -> OperationProfile:
    """Return one operation, every field of it checked; fields that are not known are passed over."""
    if not _is_name(name):
        raise BadProfile("this is no name for an operation")
    if not isinstance(entry, Mapping):
        raise BadProfile("it holds no fields")
    if entry.get("kind") not in ("items", "batches"):
        raise BadProfile("kind must be items or batches")
    values: dict[str, Any] = {"operation": name, "kind": cast(Kind, entry["kind"])}
    for field, bounds in _RANGES.items():
        if field in entry:
            values[field] = _number(field, entry[field], *bounds)
    for field, most in _COUNTS.items():
        if field in entry:
            values[field] = _count(field, entry[field], 1, most)
    for field in _FLAGS:
        if field in entry:
            if not isinstance(entry[field], bool):
                raise BadProfile(f"{field} must be true or false")
            values[field] = entry[field]
    if ("fixed_s" in values) != ("item_s" in values):
        raise BadProfile("fixed_s and item_s go together")
    return OperationProfile(**values, machine=_machine(entry.get("machine", {})))


def _machine(entry: object) -> Machine:
    if not isinstance(entry, Mapping):
        raise BadProfile("machine must hold fields")
    values: dict[str, Any] = {}
    for field in fields(Machine):
        value = entry.get(field.name)
        if field.name == "cpus":
            values[field.name] = 0 if value is None else _count("cpus", value, 0, _MAX_COUNT)
        elif value is not None:
            if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
                raise BadProfile(f"machine.{field.name} must be a short text")
            values[field.name] = value
    return Machine(**values)


def _number(field: str, value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadProfile(f"{field} must be a number")
    # Compared before it is made a float, which a huge whole number can't be.
    if not (least <= value <= most) or not isfinite(value):
        raise BadProfile(f"{field} must be from {least:g} to {most:g}")
    return float(value)


def _count(field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadProfile(f"{field} must be a whole number")
    if not least <= value <= most:
        raise BadProfile(f"{field} must be from {least} to {most}")
    return value
