"""Something that grows, as it is told. *Pure*.

Covers the value alone; finding it is the work of `memflow.analysis.suspects`.
"""

from __future__ import annotations

from dataclasses import dataclass

from memflow.units import format_bytes

__all__ = ["SITE", "Suspect"]

SITE = "allocation site"
"""The kind of a suspect that is a place in the code: what is allocated there stays."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """Something that grows, and who holds it. Plain strings and numbers: keeps nothing alive."""

    kind: str
    """"container", "type", "cache" (of `lru_cache`), "task", "coroutine", "generator", "thread", "traceback", "file",
    "socket" or "descriptor"; "allocation site" for a place in the code, which holds nothing itself."""
    what: str
    """What grows, such as "module attribute app.cache (dict)" or "instances of app.Order"; a place as
    "app.py:10 in load"."""
    holder: str
    """Who holds it, such as "attribute _queue of asyncio.queues.Queue, in module attribute app.backlog"; may be "". Of
    a place: who calls it."""
    count: int
    """Entries, objects or blocks of memory now."""
    gained: int
    """Entries or objects since the first of the two snapshots; blocks that stay of those traced."""
    per_item: float | None
    """Entries, objects or blocks gained with each finished item; None where no items finished."""
    bytes: int | None
    """Bytes gained, roughly: entries gained, times the mean size of some; None where unknown. Of a place: bytes that
    stay of those traced."""

    def __str__(self) -> str:
        if self.kind == SITE:
            return self._as_site()
        unit = "entries" if self.kind in ("container", "cache") else "objects"
        rate = f"{self.gained:,} {unit}" if self.per_item is None else f"{self.per_item:.3g} {unit} an item"
        size = "" if self.bytes is None else f", {format_bytes(self.bytes)} gained (rough)"
        return f"{self.what} grows by {rate}{size}, {self.count:,} now{f'; {self.holder}' if self.holder else ''}"

    def _as_site(self) -> str:
        size = self.bytes or 0
        each = "" if self.per_item is None else f" ({format_bytes(round(size / self.gained * self.per_item))} an item)"
        callers = f"; {self.holder}" if self.holder else ""
        return f"{self.what} has allocated {format_bytes(size)} that stay{each} while it was traced{callers}"
