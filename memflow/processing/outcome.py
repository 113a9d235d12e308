"""What became of an item or of a processor: values that hold no item, no traceback and no open thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

__all__ = ["FINISHED_EARLIER", "ItemFailure", "ProcessorStatistics", "SizeChange"]


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Stands in a failed item's place when `on_error="collect"`."""

    index: int
    """Position of the item in the input, counted from 0."""
    error_type: str
    """The error's class, with its module unless that is `builtins`."""
    message: str
    """The error's text."""
    attempts: int
    """How often the item was tried."""
    kind: Literal["error", "poison"] = "error"
    """"error" where its function raised, "poison" where it is not run any more since it was in flight when the run
    died, too often."""

    @classmethod
    def of(cls, error: Exception, *, index: int, attempts: int = 1) -> ItemFailure:
        """Summarise an error; it is not kept, since its traceback would pin the batch."""
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return cls(index, name, str(error), attempts)

    def __bool__(self) -> bool:
        """A failure is false, so that `filter(None, results)` and `if result` do what they look like."""
        return False

    def __str__(self) -> str:
        tries = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"item {self.index} failed{tries}: {self.error_type}: {self.message}"


class _FinishedEarlier(Enum):
    FINISHED_EARLIER = "finished in an earlier run, its result not kept"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "FINISHED_EARLIER"


FINISHED_EARLIER: Final = _FinishedEarlier.FINISHED_EARLIER
"""Stands in the place of an item that an earlier run finished, where its result was not kept (`keep_results=False`)."""


@dataclass(frozen=True, slots=True)
class SizeChange:
    """A moment at which sizes changed."""

    at_s: float
    """Seconds since the processor's first call."""
    operation: str
    """Whose sizes."""
    batch_size: int
    """Items of a batch from then on."""
    concurrency: int
    """Calls in flight from then on."""


@dataclass(frozen=True, slots=True)
class ProcessorStatistics:
    """A processor at one moment."""

    process_name: str
    """The processor's name."""
    items_done: int
    """Items finished, failures not among them."""
    items_failed: int
    """Items whose place holds an `ItemFailure`, or that made a call raise."""
    items_in_flight: int
    """Items admitted and not finished."""
    batches_done: int
    """Batches finished (for item functions: groups of items admitted and measured together)."""
    calls_open: int
    """Calls of `process` and its kin that are running."""
    batch_size: int
    """Items of a batch, as sized last; 1 for item functions."""
    concurrency: int
    """Calls in flight, as sized last."""
    retries: int
    """Attempts beyond the first."""
    items_rerun: int
    """Runs of items repeated alone after a `MemoryError`."""
    items_preempted: int
    """Runs of items cancelled for want of memory, to be repeated."""
    waits: int
    """How often a batch had to wait for memory."""
    waited_s: float
    """Seconds spent in such waits, those that have ended."""
    longest_wait_s: float
    """The longest of them, in seconds, those that last still among them."""
    waits_alone: int
    """Waits that came down to one item with nothing of ours in flight, so that others held the memory."""
    waits_given_up: int
    """Waits that ended in `MemoryPressureError`."""
    splits: int
    """How often a waiting batch was made smaller, since it alone was too large for what was left."""
    stalled: str
    """The step that the longest present wait has come to: "waiting" for work in flight to end, "reclaiming" (collect
    and trim), "splitting" the batch, or "alone" (one item, nothing in flight, until others give memory back); empty
    while nothing waits."""
    stalled_s: float
    """Seconds that wait has lasted; 0 while nothing waits."""
    reclaims: int
    """Collections and trims made by themselves."""
    level: str
    """How near the limit: "normal", "hold", "shrink" or "stop"."""
    rss_bytes: int
    """Resident pages of this process at the latest reading; 0 before the first."""
    in_use_bytes: int
    """What counts against the limit at the latest reading, in bytes; 0 before the first."""
    limit_bytes: int
    """The effective limit in bytes; 0 before the first reading."""
    limit_source: str
    """Where the limit came from, in words; empty before the first reading."""
    peak_bytes: int
    """The largest use seen, in bytes; exact between readings where the platform allows."""
    elapsed_s: float
    """Seconds during which at least one call was running."""
    items_per_s: float
    """Items finished or failed for each such second; 0 before the first."""
    size_changes: tuple[SizeChange, ...]
    """When sizes changed and to what; the last 256 changes."""
    issues_open: int
    """Memory issues open now."""
    issues_dropped: int
    """Issue events that subscribers lost because they were slow."""
