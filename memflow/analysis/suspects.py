"""Who holds what grows: two snapshots of what lives are compared, and the culprits named.

Covers what has grown between two snapshots (`memflow.analysis.snapshots`), which of it is worth telling, and in which
order; who holds it is found in `memflow.analysis.holders`. Not covered: memory that no Python object accounts for, and
dicts of plain values that only a local variable of a function which a thread is running holds.
"""

from __future__ import annotations

import gc
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import compress
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from memflow.analysis.holders import find_holders
from memflow.analysis.objects import (
    LRU_TYPE,
    WORKER_CODES,
    cached_name,
    entries_of,
    group_of,
    is_flat,
    is_grouped,
    is_sized,
    length_of,
    pinned_by,
    safe_size,
    type_name,
    worker_name,
)
from memflow.analysis.pace import Pace
from memflow.analysis.snapshots import (
    HUGE,
    LEAST,
    LEAST_FLAT,
    Key,
    Snapshot,
    Types,
    long_ones,
    module_names,
    scan,
    take_snapshot,
)
from memflow.analysis.suspect import Suspect
from memflow.memory.pins import Pins

__all__ = ["Snapshot", "Suspect", "find_suspects", "take_snapshot"]

SAMPLE = 50
"""Entries that sizes and types are judged by."""
_FLAT = set(map(id, (bytearray, array)))
_SHARED = set(map(id, (type, ModuleType, FunctionType, CodeType, FrameType)))
_WORDS = {
    "type": "instances of {}",
    "thread": "threads of {}",
    "traceback": "tracebacks, which pin frames, of {}",
    "file": "open files of {}",
    "socket": "open sockets of {}",
    "descriptor": "open descriptors of {}",
}
_PLUMBING = re.compile(r"^(asyncio|_asyncio|trio|outcome|contextvars|_contextvars|_?thread(ing)?|types|weakref)\b")
_MACHINERY = re.compile(r"module attribute (_?asyncio|threading|sys|trio|_weakrefset|abc)\b")
NEW_SHARE = 0.1
"""What a container that was not there before weighs, beside one that has grown."""
UNREACHABLE = "unreachable: waits for the garbage collector"
_OURS = re.compile(r"(^module attribute|^class attribute|^a| of) memflow\.(analysis|memory|sizing)\b")


@dataclass(slots=True, eq=False)
class _Case:
    """Something that grows, while its objects are at hand."""

    key: Key
    count: int
    gained: int
    nested: bool
    things: list[Any]
    """The container alone, or some of the objects."""
    sample: list[Any]
    """Entries, or objects, that stand for what was gained; let go once they were looked into."""
    sampled: int = 0
    """How many those were."""
    worker: str = ""
    """The name of one of them, where they are workers."""
    entry_bytes: float = 0.0
    reach: Counter[Key] = field(default_factory=Counter)
    note: str = ""
    is_new: bool = False
    """A container that was not there before: it may be work in flight, and stands back behind one that has grown."""


def find_suspects(
    before: Snapshot,
    after: Snapshot,
    *,
    items: float = 0,
    most: int = 5,
    budget_s: float = 1.0,
    pins: Pins | None = None,
) -> tuple[Suspect, ...]:
    """Name what grew between two snapshots, and who holds it.

    Args:
        before: The earlier snapshot.
        after: The later one; best a new one, since objects are found again by their ids.
        items: Items that were finished between the two; 0 where unknown.
        most: Suspects to return at most.
        budget_s: Processor seconds after which it stops with what it has; see `memflow.analysis.pace`.
        pins: Told while objects are held.

    Returns:
        The suspects, the gravest first; empty where nothing grew.
    """
    pace = Pace(budget_s, pins=pins)
    grown, groups = _grown_containers(before, after, items), _grown_groups(before, after)
    if not grown and not groups:
        return ()
    cases = _find_again(grown, groups, after, Pace(budget_s / 2, pins=pins))
    try:
        return tuple(_rank(_fold(cases), cases, items, pace)[:most])
    finally:
        cases.clear()


def _grown_containers(before: Snapshot, after: Snapshot, items: float) -> dict[tuple[int, int], tuple[int, bool, bool]]:
    """Return what containers gained, whether one level down, and whether they are new; the 48 that gained most."""
    old, gains = before.containers(), {}
    # What is new may be the work in flight: it counts where it is long beside the items that were finished.
    least_new = max(2 * LEAST, items / 2) if before.complete else float("inf")
    for key, (length, inner) in after.containers().items():
        if key in old and (key[1] not in _FLAT or length - old[key][0] >= LEAST_FLAT):
            gain, inner_gain = length - old[key][0], inner - old[key][1]
        else:
            # A block of numbers is long from the start.
            gain, inner_gain = (length - LEAST + 1 if length >= least_new and key[1] not in _FLAT else 0), 0
        if max(gain, inner_gain) >= LEAST:
            nested = inner_gain > 1.5 * gain
            gains[key] = (inner_gain if nested else gain, nested, key not in old)
    return dict(sorted(gains.items(), key=lambda each: -each[1][0])[:48])


def _grown_groups(before: Snapshot, after: Snapshot) -> dict[Key, int]:
    """Return what kinds of objects gained, those left out that gained next to nothing; the 24 that gained most."""
    if not (before.complete and after.complete):
        return {}
    gains = {key: count - before.counts.get(key, 0) for key, count in after.counts.items()}
    gains = {key: gain for key, gain in gains.items() if gain >= LEAST and not key[1].startswith("memflow.")}
    named = {key: gain for key, gain in gains.items() if key[0] != "type" or "." in key[1]}
    least = max(named.values(), default=0) / 10
    return dict(sorted(((k, g) for k, g in named.items() if g >= least), key=lambda each: -each[1])[:24])


def _find_again(
    grown: dict[tuple[int, int], tuple[int, bool, bool]], groups: dict[Key, int], after: Snapshot, pace: Pace
) -> list[_Case]:
    """Find the objects again that grew; one whose type or length is another by now is passed over."""
    then = after.containers()
    cases: list[_Case] = []
    found = _find_containers({key for key, _ in grown}, pace, [grown, groups, then, cases], thorough=after.thorough)
    for (key, kind_id), (gain, nested, is_new) in grown.items():
        thing = found.get(key)
        if key in found and id(type(thing)) == kind_id and length_of(thing) >= then[key, kind_id][0]:
            kind = "cache" if type(thing) is LRU_TYPE else "container"
            named = kind, type_name(type(thing))
            cases.append(_Case(named, length_of(thing), gain, nested, [thing], entries_of(thing, SAMPLE)))
            cases[-1].is_new = is_new
            _look_into(cases[-1])
    # Among these is what is in flight, with all its memory: no turn ends before all but a few were let go.
    members = _find_members(groups, pace.breathless())
    for name, gain in groups.items():
        things = members.pop(name)
        cases.append(_Case(name, after.counts[name], gain, False, _roots(things), things[-SAMPLE:]))
        things.clear()
        _look_into(cases[-1])
    return cases


def _find_containers(left: set[int], pace: Pace, own: list[Any], *, thorough: bool) -> dict[int, Any]:
    """Return the containers with these ids, first among what the collector knows, then one level below that.

    The caller's `own` may stand where others have stood that are gone.
    """
    types, found = Types(), dict[int, Any]()
    mine: set[int] = set()
    mine.update(map(id, [mine, found, left, own, *own, *types.parts()]))

    def look(objects: list[Any], _: bool) -> None:
        here = {id(each): each for each in compress(objects, map(left.__contains__, map(id, objects)))}
        found.update((key, each) for key, each in here.items() if key not in mine)
        left.difference_update(here)

    def look_below(objects: list[Any], _: bool) -> None:
        kinds = list(map(id, map(type, objects)))
        present = types.learn(kinds, objects)
        look([each for each, _ in long_ones(objects, kinds, types, present, thorough=thorough)], True)

    if not thorough:
        look_below(module_names(), False)
    for each in (look, look_below):
        if left:
            scan(pace, mine, each)
    return found


def _find_members(groups: dict[Key, int], pace: Pace) -> dict[Key, list[Any]]:
    """Return the objects of some kinds, the oldest first."""
    types = Types()
    members: dict[Key, list[Any]] = {key: [] for key in groups}
    mine = set(map(id, [members, *types.parts(), *members.values()]))

    def look(objects: list[Any], is_new: bool) -> None:
        if is_new:
            kinds = list(map(id, map(type, objects)))
            types.learn(kinds, objects)
            _add_members(members, objects, kinds, types)

    if groups:
        scan(pace, mine, look)
    return members


def _add_members(members: dict[Key, list[Any]], objects: list[Any], kinds: list[int], types: Types) -> None:
    for thing in compress(objects, map(types.grouped.__contains__, kinds)):
        members.get(group_of(thing), []).append(thing)
    wanted = {each for each in set(kinds) - types.grouped if ("type", type_name(types.known[each])) in members}
    for thing in compress(objects, map(wanted.__contains__, kinds)) if wanted else ():
        members["type", type_name(type(thing))].append(thing)


def _roots(things: list[Any]) -> list[Any]:
    """Return three of the objects that no other of them holds, where there are any."""
    if len(things) > 200_000:
        return things[-3:]
    held = set(map(id, gc.get_referents(*things)))
    free = [each for each in things if id(each) not in held]
    return [*(free or things)[-2:], *(free or things)[:1]]


def _look_into(case: _Case) -> None:
    """Measure what stands for the growth: its size with one level below, and the kinds of objects it leads to."""
    entries, flat = case.sample, case.key[0] == "container" and case.things and is_flat(type(case.things[0]))
    if flat:
        case.entry_bytes = safe_size(case.things[0]) / max(1, length_of(case.things[0]))
    if case.nested:
        entries = case.sample = [each for inner in entries for each in entries_of(inner, 5)][-4 * SAMPLE :]
    if not entries:
        return
    seen: set[int] = set()
    size = 0
    level = entries
    pinned: Counter[str] = Counter()
    for depth in range(4):
        fresh = {id(each): each for each in level if id(each) not in seen and id(type(each)) not in _SHARED}
        seen.update(fresh)
        for each in fresh.values():
            size += safe_size(each) if depth < 2 else 0
            case.reach[group_of(each) if is_grouped(type(each)) else ("type", type_name(type(each)))] += 1
            pinned.update(pinned_by(each))
        # What a class, a module or a frame leads to belongs to the program.
        short = [each for each in fresh.values() if not is_sized(type(each)) or length_of(each) <= HUGE]
        level = gc.get_referents(*short[:1_000])[:4_000]
    case.entry_bytes, case.sampled = size / len(entries), len(entries)
    if id(type(entries[-1])) in WORKER_CODES:
        case.worker = worker_name(entries[-1])
    names = Counter(type_name(type(each)) for each in entries).most_common(1)
    case.note = f" of {names[0][0]}" if case.key[0] in ("container", "cache") else ""
    if pinned:
        case.note += f"; tracebacks pin frames of {', '.join(name for name, _ in pinned.most_common(2))}"
    case.sample = []


def _fold(cases: list[_Case]) -> list[_Case]:
    """Leave out kinds of objects that another suspect leads to, and what gained next to nothing beside the largest."""
    kept: list[_Case] = []
    containers = [case for case in cases if case.key[0] in ("container", "cache")]
    groups = [case for case in cases if case not in containers]
    if any(case.key[0] in ("coroutine", "thread") for case in groups):
        groups = [case for case in groups if case.key[0] != "type" or not _PLUMBING.match(case.key[1])]
    for case in groups:
        enough = max(case.sampled / 2, 1)
        # Sets of tasks belong to the library that runs them; what the tasks are of says more.
        above = [each for each in containers if case.key[0] != "coroutine" or not each.note.endswith("Task")]
        over = [each for each in above if each.reach[case.key] >= max(min(enough, each.sampled / 2), 1)]
        over = [each for each in over if each.gained >= case.gained / 20]
        others = (each for each in groups if each is not case and each.reach[case.key] >= enough)
        # Of two that lead to each other, the first stands for both.
        if over or any(not case.reach[each.key] or groups.index(each) < groups.index(case) for each in others):
            continue
        kept.append(case)
    every = containers + kept
    stayed = [case for case in every if not case.is_new] or every
    most = max((case.gained for case in stayed), default=0) / 10
    heavy = max((case.gained * case.entry_bytes for case in stayed), default=0.0) / 10
    return [case for case in every if case.gained >= most or case.gained * case.entry_bytes >= heavy > 0]


def _rank(cases: list[_Case], every: list[_Case], items: float, pace: Pace) -> list[Suspect]:
    """Put the cases in words, the gravest first; containers in one container are one case.

    None of `every` case, left out or not, holds anything for the program.
    """
    targets = [thing for case in cases for thing in case.things]
    own = [id(targets), id(cases), id(every), *(id(part) for case in every for part in (case, case.things))]
    told = iter(find_holders(targets, own, pace) if targets else ())
    found: dict[object, tuple[float, Suspect]] = {}
    for case in cases:
        held = [next(told) for _ in case.things]
        # The newest come first: the first of them that a name was found for.
        steps, nearest, loose = max(held, key=lambda each: bool(each[0]) + (not each[2]), default=([], 0, False))
        if _OURS.search(steps[0] if steps else case.note):
            continue
        suspect = _suspect(case, steps, loose, items)
        doubt = (0.01 if _is_machinery(case, steps) else 1.0) * (NEW_SHARE if case.is_new else 1.0)
        weight = case.gained * (case.entry_bytes or 64.0) * doubt
        same: object = (nearest, case.key) if nearest and suspect.kind == "container" else id(case)
        if suspect.kind == "cache":  # its dict and itself, of which the dict says what is in it
            same = suspect.what.split(" (")[0]
            what = max(suspect.what, found[same][1].what if same in found else "", key=len)
            weight, suspect = max((weight, suspect), found.get(same, (weight, suspect)), key=lambda each: each[0])
            suspect = replace(suspect, what=what)
        elif same in found:
            weight, suspect = found[same][0] + weight, _together(found[same][1], suspect)
        found[same] = weight, suspect
    return [suspect for _, suspect in sorted(found.values(), key=lambda each: -each[0])]


def _is_machinery(case: _Case, steps: list[str]) -> bool:
    """True for the books that libraries keep of their tasks and threads."""
    of_tasks = case.note.endswith("Task") and steps and re.search(r" of (asyncio|trio)\b", steps[0])
    return bool(of_tasks or (steps and _MACHINERY.match(steps[-1])))


def _suspect(case: _Case, steps: list[str], loose: bool, items: float) -> Suspect:
    kind, name = case.key
    rest = ", in ".join(steps)
    if kind in ("container", "cache"):
        of = f"{name}{case.note}"
        named = steps and steps[0].startswith(("module ", "class ", "closure ", "local ", "default ", "context "))
        if kind == "cache" or (steps and steps[-1].startswith("lru_cache of ") and len(steps) == 1):
            what = f"lru_cache of {cached_name(case.things[0])}" if kind == "cache" else f"{steps[0]} ({of})"
            kind, rest = "cache", ""
        elif named:
            what, rest = f"{steps[0]} ({of})", ", in ".join(steps[1:])
        else:
            what = of
        what = f"containers in {what}" if case.nested else what
    elif kind in _WORDS:
        what = _WORDS[kind].format(name)
        if kind == "type" and loose:
            rest = UNREACHABLE if not gc.isenabled() else f"{rest or 'each other'}, or native code"
        rest = rest if not rest or rest is UNREACHABLE else f"held by {rest}"
    else:
        name = case.worker or name
        library = next((part for part in ("asyncio", "trio") if steps and f"{part}." in steps[0]), "")
        is_task = "Task" in (steps[0] if steps else "")
        kind, what = ("task", f"{library} tasks of {name}") if is_task else (kind, f"unfinished {kind}s of {name}")
        rest = f"held by {rest}" if rest else ""
    size = int(case.gained * case.entry_bytes) if case.entry_bytes else None
    return Suspect(kind, what, rest, case.count, case.gained, case.gained / items if items > 0 else None, size)


def _together(one: Suspect, other: Suspect) -> Suspect:
    """Add up two that the same container holds."""
    return replace(
        one,
        count=one.count + other.count,
        gained=one.gained + other.gained,
        per_item=None if one.per_item is None else one.per_item + (other.per_item or 0.0),
        bytes=None if one.bytes is None else one.bytes + (other.bytes or 0),
    )
