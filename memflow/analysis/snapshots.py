"""Snapshots of what lives: lengths of containers, and numbers of objects by type or name.

Covers taking them; what has grown between two of them is `memflow.analysis.suspects`'.

A snapshot keeps ids, names and numbers, never an object. Work is done in slices that let other threads run, and ends
with its budget: what was counted until then is still compared.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import compress
from types import CodeType, FunctionType
from typing import Any

from memflow.analysis.objects import (
    frozen_objects,
    group_of,
    is_grouped,
    is_sized,
    length_of,
    module_dicts,
    thread_group,
    tracked_objects,
    type_name,
)
from memflow.analysis.pace import Pace
from memflow.memory.pins import Pins

__all__ = [
    "HUGE",
    "LEAST",
    "LEAST_FLAT",
    "Key",
    "Snapshot",
    "Types",
    "inner_entries",
    "long_ones",
    "module_names",
    "scan",
    "take_snapshot",
]

SLICE = 8_000
"""Objects that are looked at before other threads may run."""
LEAST = 20
"""Entries below which a container is not recorded, and growth that is noise."""
LEAST_FLAT = 4_096
"""The same of blocks of numbers."""
HUGE = 5_000
"""Entries above which a container is looked at by a sample only."""
MOST_RECORDED = 50_000
"""Containers that a snapshot records at most, the longest."""
_FROZEN = 3
Key = tuple[str, str]
_LEAVES = (tuple, FunctionType, CodeType, type(len), type(list.append), property, classmethod, staticmethod)


class Snapshot:
    """Ids, type names, lengths and counts; no reference to any object.

    Attributes:
        seconds: What taking it cost.
        complete: False where the budget ran out.
        thorough: True where it looked below short containers too; only such as agree in this are worth comparing.
    """

    __slots__ = ("_counts", "_rows", "complete", "seconds", "thorough")

    def __init__(
        self, counts: dict[Key, int], rows: array[int], *, seconds: float, complete: bool, thorough: bool
    ) -> None:
        self._counts = counts
        self._rows = rows  # id, id of its type, entries, and entries of the containers in it; one after the other
        self.seconds = seconds
        self.complete = complete
        self.thorough = thorough

    def containers(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return the entries, and the entries one level down, by id and type id."""
        rows = iter(self._rows)
        return {(key, kind): (length, inner) for key, kind, length, inner in zip(rows, rows, rows, rows, strict=True)}

    @property
    def counts(self) -> dict[Key, int]:
        """Objects by kind and name."""
        return self._counts


class Types:
    """Types met in one scan, by their id: a metaclass may have a `__hash__` of its own."""

    def __init__(self) -> None:
        self.known: dict[int, type] = {}
        self.plain: set[int] = set(map(id, (dict, list, set, deque)))
        self.sized: set[int] = set()
        self.grouped: set[int] = set()
        self.looked_into: set[int] = set()

    def parts(self) -> list[Any]:
        """Return what is held here, which is nothing of the program's."""
        return [self.known, self.plain, self.sized, self.grouped, self.looked_into]

    def learn(self, kinds: list[int], objects: list[Any]) -> set[int]:
        """Look at the types that were not met before, and return those there are."""
        present = set(kinds)
        new = present.difference(self.known)
        for thing in compress(objects, map(new.__contains__, kinds)) if new else ():
            cls = type(thing)
            if self.known.setdefault(id(cls), cls) is cls and id(cls) in new:
                new.discard(id(cls))
                if id(cls) not in self.plain and is_sized(cls):
                    self.sized.add(id(cls))
                if is_grouped(cls):
                    self.grouped.add(id(cls))
                if not any(cls is leaf for leaf in _LEAVES):
                    self.looked_into.add(id(cls))
        return present


def scan(pace: Pace, mine: set[int], look: Callable[[list[Any], bool], None]) -> None:
    """Show what the collector knows, the old objects first, then what `gc.freeze` hid, slice by slice; stops in time.

    A slice is emptied once it was looked at, and whatever is left of a turn before others may run: the collector is
    asked again then, and goes on where it was. What it moved meanwhile may be missed, or come twice.

    Args:
        pace: When to let others run, and when to stop.
        mine: Holds the ids of the scan's own lists while there are any: they are objects, too, and long ones.
        look: (objects, False where they were frozen); keeps none of them, or few.
    """
    at, done = [0, 0, 0, 0], False
    while not (done or pace.is_over):
        with pace.pins.held():
            # One by one, and emptied below: each of them is among what is asked for next.
            lists = [tracked_objects(2), tracked_objects(1), tracked_objects(0), frozen_objects()]
            own = [id(lists), *map(id, lists)]
            mine.update(own)
            pace.took()
            try:
                done = _take_turn(pace, mine, look, lists, at)
            finally:
                for each in lists:
                    each.clear()
                mine.difference_update(own)
        if not done:
            pace.give_way()


def _take_turn(
    pace: Pace, mine: set[int], look: Callable[[list[Any], bool], None], lists: list[list[Any]], at: list[int]
) -> bool:
    """Go on with each list where it was left, until the turn is over; True when all were looked at."""
    for which, objects in enumerate(lists):
        while at[which] < len(objects):
            if pace.turn_is_over:
                return False
            part = objects[at[which] : at[which] + SLICE]
            mine.add(id(part))
            try:
                look(part, which < _FROZEN)
            finally:
                at[which] += len(part)
                mine.discard(id(part))
                part.clear()
    return True


def long_ones(
    objects: list[Any], kinds: list[int], types: Types, present: set[int], *, thorough: bool = True
) -> list[tuple[Any, int]]:
    """Return the containers with `LEAST` entries or more, with those one level down that the collector passes over.

    A dict of plain values is not tracked before Python 3.14: only its holder leads to it. Blocks of numbers never are;
    of these, only the long ones count.

    Args:
        objects: What to look at.
        kinds: The ids of their types.
        types: What was learnt of these.
        present: The types that are among them.
        thorough: False does not look below short containers, of which large heaps mostly consist, but for the
            attributes of instances.
    """
    plain = list(compress(objects, map(types.plain.__contains__, kinds)))
    found = [(each, length) for each, length in zip(plain, map(len, plain), strict=True) if length >= LEAST]
    is_sized_here = not present.isdisjoint(types.sized)
    for each in compress(objects, map(types.sized.__contains__, kinds)) if is_sized_here else ():
        length = length_of(each)
        # Few keys may hold much: that is what a defaultdict is for.
        if length >= LEAST or (length and inner_entries(each, length) >= LEAST):
            found.append((each, length))
    huge = {id(each) for each, length in found if length > HUGE}
    near: Any = objects
    if not thorough:
        opened = present & types.looked_into - types.plain
        near = list(compress(objects, map(opened.__contains__, kinds))) if opened else []
        near += [each for each in gc.get_referents(*near) if type(each) is dict]  # their attributes
        near += [each for each, _ in found]
    elif not present <= types.looked_into:
        near = compress(objects, map(types.looked_into.__contains__, kinds))
    below = gc.get_referents(*[each for each in near if id(each) not in huge] if huge else near)
    untracked = [
        each
        for each in below
        if ((cls := type(each)) is dict and len(each) >= LEAST and not gc.is_tracked(each))
        or ((cls is bytearray or cls is array) and len(each) >= LEAST_FLAT)
    ]
    return found + [(each, len(each)) for each in untracked]


def module_names() -> list[Any]:
    """Return the dicts of the modules' names."""
    return [values for _, values in module_dicts().values()]


def inner_entries(container: Any, length: int) -> int:
    """Return the entries of the builtin containers in a container; 0 where it is too long to look."""
    if length > HUGE or type(container) is set:
        return 0
    below = gc.get_referents(container)
    return sum([len(each) for each in below if type(each) is list or type(each) is dict or type(each) is set])


def take_snapshot(*, budget_s: float = 0.5, pins: Pins | None = None, thorough: bool = True) -> Snapshot:
    """Count what lives, in slices that let other threads run.

    Args:
        budget_s: Processor seconds after which it stops and keeps what it has; see `memflow.analysis.pace`.
        pins: Told while objects are held.
        thorough: False does not look below short containers, which takes two thirds of the time on a large heap, and
            misses a dict of plain values or a block of numbers that only such a container holds.

    Returns:
        The counts, to be compared with a later one.
    """
    began_s, pace = time.monotonic(), Pace(budget_s, pins=pins)
    # Lists only, the first before anything is counted: for each new type, `update` leaves weak references behind.
    kinds_seen: Counter[int] = Counter([])
    counts: Counter[Key] = Counter([])
    types, spaces = Types(), module_dicts().keys()
    rows: list[tuple[int, int, int, int]] = []
    mine = {id(each) for each in (counts, kinds_seen, rows, spaces, *types.parts())}

    def look(objects: list[Any], is_new: bool) -> None:
        kinds = list(map(id, map(type, objects)))
        present = types.learn(kinds, objects)
        if is_new:
            kinds_seen.update(kinds)
            if not present.isdisjoint(types.grouped):
                counts.update([group_of(each) for each in compress(objects, map(types.grouped.__contains__, kinds))])
        rows.extend(
            [
                (n, id(each), id(type(each)), 0 if id(each) in spaces else inner_entries(each, n))
                for each, n in long_ones(objects, kinds, types, present, thorough=thorough)
                if id(each) not in mine
            ]
        )

    if not thorough:  # of short dicts, the names of modules are looked below all the same
        look(module_names(), False)
    scan(pace, mine, look)
    lists_done = not pace.is_over
    for kind, count in kinds_seen.items():
        counts["type", type_name(types.known[kind])] += count
    counts.update([thread_group(thread) for thread in threading.enumerate()])
    counts.update(list(_descriptors()))
    rows = sorted(rows, reverse=True)[:MOST_RECORDED]
    packed = array("Q", (n for length, key, kind, inner in rows for n in (key, kind, length, inner)))
    seconds = time.monotonic() - began_s
    return Snapshot(dict(counts), packed, seconds=seconds, complete=lists_done, thorough=thorough)


def _descriptors() -> Iterator[Key]:
    """Yield what each open descriptor leads to; nothing where the platform does not say."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return
    for name in names[:10_000]:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # closed meanwhile
            continue
        yield "descriptor", f"files in {os.path.dirname(target)}" if target[:1] == "/" else f"{target.split(':')[0]}s"
