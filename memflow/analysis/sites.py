"""Places whose live bytes grew while allocations were traced. *Pure*.

Covers ranking what two looks saw, and naming a place by the innermost frame that belongs to the program. Taking a look
is `memflow.analysis.tracers`', when that is done `memflow.analysis.allocation_sites`'.

Each look sees what was allocated since it began and lives at its end: what is in flight, which is the same for looks
of any length, and what stays, which is more the longer the look. So the difference of a short look and a long one
tells what stays by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from memflow.analysis.suspect import SITE, Suspect

__all__ = ["Belongs", "Frame", "Live", "Look", "Site", "Stack", "beside", "name_site", "rank_sites"]

LEAST_BYTES = 8_192
"""Bytes below which a place is not told."""
LEAST_SHARE = 0.1
"""Share of what the first place gained, below which a place is not told."""
LIGHT_SHARE = 0.1
"""Share of the bytes an item of the first place, below which who holds something comes behind the places."""
CALLERS = 2
"""Callers that are told beside a place."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack."""

    file: str
    """The file of the code, as the code names it."""
    line: int
    """The line."""
    function: str = ""
    """The function; "" where the tracer cannot tell."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}{f' in {self.function}' if self.function else ''}"


Stack = tuple[Frame, ...]
"""Frames, the innermost first."""
Live = Mapping[Stack, tuple[int, int]]
"""Stack to the bytes and blocks that were allocated there and still live."""


class Belongs(Enum):
    """Whose a file is."""

    PROGRAM = 1
    """The program's, or a library's."""
    LIBRARY = 2
    """Python's own library: told only where nobody of the program called it."""
    OURS = 3
    """memflow's, or the tracer's: what it allocates is none of the program's."""
    LOOP = 4
    """Where an event loop calls what it runs: who runs the loop has not asked for what lies inside of it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was live at one moment, of all that was allocated since another."""

    seconds: float
    """Seconds between the two."""
    items: int
    """Items that were finished between the two."""
    live: Live
    """What lives, by where it was allocated."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place whose live bytes grew."""

    frame: Frame
    """The place."""
    callers: Stack
    """Who called it, in the stack that weighs most."""
    live_blocks: int
    """Blocks that were live at the end of the last look."""
    gained_blocks: int
    """Blocks that stay, of both looks together."""
    gained_bytes: int
    """Bytes that stay, of both looks together."""
    items: int
    """Items that were finished during both; 0 where that tells nothing."""


def rank_sites(early: Look, late: Look, belongs: Callable[[str], Belongs], *, most: int = 3) -> tuple[Site, ...]:
    """Return the places whose live bytes grew with the length of a look, the largest gain first.

    Args:
        early: The shorter look; one of no length is a baseline for the later.
        late: The longer look.
        belongs: Says whose a file is.
        most: Places to return at most.
    """
    by_items = early.items < late.items
    first, last = (early.items, late.items) if by_items else (early.seconds, late.seconds)
    if last <= first:
        return ()
    # What stays grows in proportion: the rate between the two looks, over the length of both.
    scale = (first + last) / (last - first)
    before, after, callers = _by_place(early.live, belongs)[0], *_by_place(late.live, belongs)
    sites = []
    for frame, (size, blocks) in after.items():
        size_before, blocks_before = before.get(frame, (0, 0))
        gained_bytes = round(scale * (size - size_before))
        gained_blocks = max(1, round(scale * (blocks - blocks_before)))
        items = early.items + late.items if by_items else 0
        if gained_bytes >= LEAST_BYTES:
            sites.append(Site(frame, callers[frame], blocks, gained_blocks, gained_bytes, items))
    sites.sort(key=lambda site: -site.gained_bytes)
    return tuple(each for each in sites[:most] if each.gained_bytes >= LEAST_SHARE * sites[0].gained_bytes)


def _by_place(live: Live, belongs: Callable[[str], Belongs]) -> tuple[dict[Frame, tuple[int, int]], dict[Frame, Stack]]:
    """Add up bytes and blocks by place, and find who called each."""
    sums: dict[Frame, tuple[int, int]] = {}
    callers: dict[Frame, tuple[int, Stack]] = {}
    whose: dict[str, Belongs] = {}
    for stack, (size, blocks) in live.items():
        for frame in stack:
            if frame.file not in whose:
                whose[frame.file] = belongs(frame.file)
        place = _place([(frame, whose[frame.file]) for frame in stack])
        if not place:
            continue
        size_before, blocks_before = sums.get(place[0], (0, 0))
        sums[place[0]] = size_before + size, blocks_before + blocks
        if size >= callers.get(place[0], (0, ()))[0]:
            callers[place[0]] = size, place[1 : 1 + CALLERS]
    return sums, {frame: stack for frame, (_, stack) in callers.items()}


def _place(stack: list[tuple[Frame, Belongs]]) -> Stack:
    """Return the frames of the program, the innermost first; empty where it was memflow that allocated."""
    inside = stack[: _first(stack, Belongs.LOOP)]
    program = [frame for frame, whose in inside if whose is Belongs.PROGRAM]
    if _first(inside, Belongs.OURS) < _first(inside, Belongs.PROGRAM):
        return ()
    return tuple(program or [frame for frame, _ in inside[:1]])


def _first(stack: list[tuple[Frame, Belongs]], wanted: Belongs) -> int:
    return next((number for number, (_, whose) in enumerate(stack) if whose is wanted), len(stack))


def name_site(site: Site, function_at: Callable[[Frame], str]) -> Suspect:
    """Put a place in words.

    Args:
        site: The place.
        function_at: Finds the function of a frame that has none.
    """
    names = []
    for frame in (site.frame, *site.callers):
        names.append(str(Frame(frame.file, frame.line, frame.function or function_at(frame))))
    return Suspect(
        kind=SITE,
        what=names[0],
        holder=f"called by {', by '.join(names[1:])}" if names[1:] else "",
        count=site.live_blocks,
        gained=site.gained_blocks,
        per_item=site.gained_blocks / site.items if site.items else None,
        bytes=site.gained_bytes,
    )


def beside(holders: tuple[Suspect, ...], sites: tuple[Suspect, ...]) -> tuple[Suspect, ...]:
    """Put holders and places in one order: holders first, but for those that are light beside what was allocated."""
    most = max((_bytes_per_item(each) or 0.0 for each in sites), default=0.0)
    light = tuple(each for each in holders if _is_light(each, most))
    return (*(each for each in holders if each not in light), *sites, *light)


def _is_light(holder: Suspect, most: float) -> bool:
    weight = _bytes_per_item(holder)
    return weight is not None and weight < LIGHT_SHARE * most


def _bytes_per_item(suspect: Suspect) -> float | None:
    if suspect.per_item is None or suspect.bytes is None or not suspect.gained:
        return None
    return suspect.bytes / suspect.gained * suspect.per_item
