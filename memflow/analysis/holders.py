"""Who holds an object: found upwards through its referrers, and said in words.

Covers `find_holders`. Which objects are worth asking about is decided in `memflow.analysis.suspects`; reading them is
`memflow.analysis.objects`'. What runs on a thread's stack is no referrer that the collector knows: such frames are
looked through last.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import pairwise
from types import (
    CellType,
    FrameType,
    FunctionType,
    ModuleType,
)
from typing import Any

from memflow.analysis.objects import (
    LRU_TYPE,
    WORKER_CODES,
    attributes,
    bases,
    cached_name,
    frame_name,
    frame_of,
    frozen_objects,
    function_name,
    is_a,
    is_container,
    local_name,
    module_dicts,
    module_of,
    name_in,
    referrers,
    type_name,
)
from memflow.analysis.pace import Pace

__all__ = ["find_holders"]

LEVELS, MOST_FRONTIER, MOST_FRAMES = 5, 48, 200
"""Levels that are climbed, objects asked about at a level, and frames looked through."""
_ENDS = {*WORKER_CODES, *map(id, (FrameType, LRU_TYPE, FunctionType))}


class _Climb:
    """Climbs from objects to what holds them, one scan a level for all of them."""

    def __init__(self, targets: list[Any], own: set[int], pace: Pace) -> None:
        self.modules = module_dicts()
        self.targets = targets
        self.own = own | {id(targets), id(own), id(self.modules), id(self.__dict__), id(self)}
        self.own.update(id(value) for value in self.modules.values())
        self.pace = pace
        self.chains: dict[int, list[Any]] = {}
        self.ended: dict[int, list[Any]] = {}
        self.exhausted = False

    def run(self) -> None:
        """Climb until every target's holder is known, or nothing holds them, or time is up."""
        # Each path leads from a target upwards; the newest objects of all paths are the frontier.
        paths: list[list[Any]] = [[target] for target in self.targets]
        seen: set[tuple[int, int]] = set()
        self.own |= {id(paths), *map(id, paths)}
        self.chains = {id(target): [target] for target in self.targets}
        self.own |= {id(self.chains), id(self.ended), *map(id, self.chains.values())}
        for _ in range(LEVELS + 2):  # an instance and its dict are one level to people
            paths = [path for path in paths if id(path[0]) not in self.ended][:MOST_FRONTIER]
            if not paths or self.pace.is_over:
                break
            self.own |= {id(paths), *map(id, paths)}
            paths = self._level(paths, seen)
            self.pace.give_way()
        self.exhausted = not paths and not self.pace.is_over

    def _level(self, paths: list[list[Any]], seen: set[tuple[int, int]]) -> list[list[Any]]:
        frontier: dict[int, list[list[Any]]] = {}
        for path in paths:
            frontier.setdefault(id(path[-1]), []).append(path)
        # A tuple, since a list is copied into one for the call, which would be a holder, too.
        heads = tuple([same[0][-1] for same in frontier.values()])
        self.own |= {id(frontier), id(heads), *map(id, frontier.values())}
        holders = referrers(*heads)
        self.own.add(id(holders))
        known = set(map(id, holders))
        frozen = frozen_objects()
        self.own |= {id(known), id(frozen)}
        holders += [each for each in frozen if id(each) not in known]
        longer: list[list[Any]] = []
        self.own.add(id(longer))
        # The calls in flight of a function hold its closure, too; they end, and their name with them.
        closed = {id(cell) for each in holders if type(each) is tuple for cell in each if type(cell) is CellType}
        for holder in holders:
            if id(holder) in self.own or _is_ours(holder):
                continue
            # A list may be long: it isn't copied.
            keys = frontier.keys() & map(id, holder if type(holder) is list else gc.get_referents(holder))
            for key in keys - closed if id(type(holder)) in WORKER_CODES else keys:
                for path in frontier[key]:
                    if (id(path[0]), id(holder)) in seen or id(path[0]) in self.ended:
                        continue
                    seen.add((id(path[0]), id(holder)))
                    self._add([*path, holder], longer)
        return longer

    def _add(self, path: list[Any], longer: list[list[Any]]) -> None:
        self.own.add(id(path))
        end, first = path[-1], id(path[0])
        if id(end) in self.modules or id(type(end)) in _ENDS or _is_class(end):
            self.ended[first] = path
            return
        if len(path) > len(self.chains[first]):
            self.chains[first] = path
        if type(end) is not ModuleType:
            longer.append(path)

    def look_through_frames(self) -> None:
        """End the paths that a running thread's local variable holds."""
        left = {key: path for key, path in self.chains.items() if key not in self.ended}
        count = 0
        top: FrameType | None
        frame: FrameType | None
        for top in list(sys._current_frames().values()) if left else ():
            frame = top
            while frame is not None and count < MOST_FRAMES and left:
                count += 1
                if not _is_ours(frame):
                    for key, path in list(left.items()):
                        deep = next((n for n, each in enumerate(path) if local_name(frame, each)), None)
                        if deep is not None:
                            self.ended[key] = [*path[: deep + 1], frame]
                            del left[key]
                frame = frame.f_back
        # One of them is this very frame: a cycle that would outlive the call, with all that it holds.
        top = frame = None

    def steps(self, target: Any) -> list[str]:
        """Say how something is held, the nearest holder first."""
        if id(target) in self.modules:
            return [f"the names of module {self.modules[id(target)][0]}"]
        path = self.ended.get(id(target)) or self.chains[id(target)]
        said, at = [], 0
        while at + 1 < len(path):
            text, used = self._step(path, at)
            said += [text] if text else []
            at += used
        return said

    def _step(self, path: list[Any], at: int) -> tuple[str, int]:
        thing, holder = path[at], path[at + 1]
        above = path[at + 2] if at + 2 < len(path) else None
        kind = type(holder)
        if id(holder) in self.modules:
            module, values = self.modules[id(holder)]
            return f"module attribute {module}.{name_in(values.items(), thing)}", 1
        if kind is FrameType or id(kind) in WORKER_CODES:
            frame = holder if kind is FrameType else frame_of(holder)
            if frame is None:
                return f"a {kind.__name__} that has ended", 1
            return f"local variable {local_name(frame, thing) or '?'} of {frame_name(frame)}", 1
        if kind is LRU_TYPE:
            return f"lru_cache of {cached_name(holder)}", 1
        if kind is FunctionType:
            return f"an attribute or default of function {function_name(holder)}", 1
        if kind is CellType:
            return _closure_step(path, at)
        if kind.__name__.startswith("hamt"):
            near = gc.get_referents(holder)
            pairs = pairwise(near)  # values go before their keys
            names = [key.name for value, key in pairs if value is thing and type(key) is ContextVar]
            return f"context variable {names[0]}" if names else "", 1
        if type(above) is FunctionType and above.__defaults__ is holder:
            return f"default argument of function {function_name(above)}", 2
        if type(above) is FunctionType and above.__globals__ is holder:
            return f"module attribute {module_of(holder)}.{name_in(dict.items(holder), thing)}", 2
        if is_a(kind, dict) and above is not None:
            key = name_in(dict.items(holder), thing)
            if _is_class(above):
                return f"class attribute {type_name(above)}.{key}", 2
            if type(above) is FunctionType and key is not None:
                return f"attribute {key} of function {function_name(above)}", 2
            of_instance = not is_container(type(above)) and type(above) is not CellType and key is not None
            # A dict may be what an attribute of it refers to: up to 3.12, an instance refers to these by itself.
            if of_instance and name_in(attributes(above), holder) is None:
                return f"attribute {key} of {type_name(type(above))}", 2
        if not any(is_container(base) for base in bases(kind)):
            key = name_in(attributes(holder), thing)
            return (f"attribute {key} of {type_name(kind)}" if key else f"a {type_name(kind)}"), 1
        key = name_in(dict.items(holder), thing) if is_a(kind, dict) else None
        return (f"entry {key[:40]!r} of a {type_name(kind)}" if key else f"a {type_name(kind)}"), 1


def _closure_step(path: list[Any], at: int) -> tuple[str, int]:
    cell = path[at + 1]
    function = path[at + 3] if len(path) > at + 3 else None
    if type(function) is FunctionType:
        cells = function.__closure__ or ()
        names = [name for name, each in zip(function.__code__.co_freevars, cells, strict=False) if each is cell]
        return f"closure variable {names[0] if names else '?'} of {function_name(function)}", 3
    if at + 2 < len(path) and id(type(path[at + 2])) in WORKER_CODES:
        frame = frame_of(path[at + 2])
        if frame is not None:
            return f"local variable {local_name(frame, path[at]) or '?'} of {frame_name(frame)}", 2
    return "a closure", 1


def _is_class(thing: Any) -> bool:
    return is_a(type(thing), type)


def _is_ours(holder: Any) -> bool:
    return type(holder) is FrameType and module_of(holder.f_globals).startswith("memflow.analysis.")


def find_holders(targets: list[Any], own: Iterable[int], pace: Pace) -> list[tuple[list[str], int, bool]]:
    """Find who holds each of some objects.

    Args:
        targets: What is asked about.
        own: Ids of the caller's own lists, which hold nothing for the program.
        pace: When to give way, and when to stop.

    Returns:
        For each target: who holds it in words, the nearest first; the id of the nearest holder, or 0; and True when
        nothing that lives seems to hold it.
    """
    climb = _Climb(targets, set(own), pace)
    climb.run()
    climb.look_through_frames()
    found = []
    for target in targets:
        path, steps = climb.ended.get(id(target)) or climb.chains[id(target)], climb.steps(target)
        # A module's or an instance's dict is no container to people: what it holds has a name.
        nearest = id(path[1]) if steps and steps[0].startswith(("a ", "entry ")) and is_container(type(path[1])) else 0
        found.append((steps, nearest, climb.exhausted and id(target) not in climb.ended))
        del path
    del climb, target
    return found
