"""Something that grows, as it is told. *Pure*.

Covers the value alone; finding it is the work of `memflow.analysis.suspects`.
"""

from __future__ import annotations

from dataclasses import dataclass

from memflow.units import format_bytes

__all__ = ["Suspect"]


@dataclass(frozen=True, slots=True)
class Suspect:
    """Something that grows, and who holds it. Plain strings and numbers: keeps nothing alive."""

    kind: str
    """"container", "type", "cache" (of `lru_cache`), "task", "coroutine", "generator", "thread", "traceback", "file",
    "socket" or "descriptor"."""
    what: str
    """What grows, such as "module attribute app.cache (dict)" or "instances of app.Order"."""
    holder: str
    """Who holds it, such as "attribute _queue of asyncio.queues.Queue, in module attribute app.backlog"; may be ""."""
    count: int
    """Entries or objects now."""
    gained: int
    """Entries or objects since the first of the two snapshots."""
    per_item: float | None
    """Entries or objects gained with each finished item; None where no items finished."""
    bytes: int | None
    """Bytes gained, roughly: entries gained, times the mean size of some; None where unknown."""

    def __str__(self) -> str:
        unit = "entries" if self.kind in ("container", "cache") else "objects"
        rate = f"{self.gained:,} {unit}" if self.per_item is None else f"{self.per_item:.3g} {unit} an item"
        size = "" if self.bytes is None else f", {format_bytes(self.bytes)} gained (rough)"
        return f"{self.what} grows by {rate}{size}, {self.count:,} now{f'; {self.holder}' if self.holder else ''}"
