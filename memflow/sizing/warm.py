"""A warm start: what a run makes of what an earlier one learnt. Pure.

Covers which parts of a profile hold here, how long its bytes are believed, and where sizes go on. The profile itself is
`memflow.sizing.profile`'s, acting on it `memflow.sizing.call`'s.

The rules, each of which keeps a stale profile from doing harm:

- A call begins no larger than a cold one would: the lesser of the default and what was learnt. Once everything in
  flight has been replaced by other work (one round), memory has been measured at least once, and sizes go in one step
  to what was learnt, or to what memory allows by what was measured, where that is less. So a profile that says 1 KB of
  items that take 4 MB costs no more than a cold start, and a good one saves all the doublings.
- Bytes are a guess until three windows with growth were measured: till then the larger of guess and measurement
  counts, so that neither a first window (which may show work that has yet to allocate) nor an old profile can be too
  low. Where freed memory is used again, what was measured is an upper bound, and lowers the guess at once.
- Times and sizes hold on the same machine, Python and memflow alone; bytes are taken for a guess anywhere.
- What the user gives is where it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from memflow.sizing.cost import MemoryCost
from memflow.sizing.operation import Kind, Operation, WarmStart
from memflow.sizing.outlook import Outlook, SizerLimits, memory_items, most_calls
from memflow.sizing.profile import Machine, OperationProfile

__all__ = ["Prior", "Recalled", "first_size", "going_on", "recall", "sizes_to_take"]

_ENOUGH = 3
_ENOUGH_WINDOWS = 12
_LARGE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Prior:
    """The bytes that an earlier run learnt."""

    cost: MemoryCost
    """What it learnt."""
    call_weight: float
    """Weight of a call where it learnt it."""

    def holds(self, own: MemoryCost | None, windows: int = 0) -> bool:
        """True until this run has measured enough by itself.

        Args:
            own: What it has measured.
            windows: Windows with work in flight since it measured first. Where freed memory is used again, growth is
                seen no more, and without an end to this a guess that is too high would stay for good.
        """
        return own is None or (own.samples < _ENOUGH and windows < _ENOUGH_WINDOWS)

    def blend(self, own: MemoryCost | None) -> MemoryCost:
        """Return what to reckon with, given what this run has measured so far."""
        if own is None:
            return self.cost
        if not self.holds(own):
            return own
        mine, theirs = own.predict_bytes(self.call_weight), self.cost.predict_bytes(self.call_weight)
        if own.samples == 0:  # an upper bound
            return own if mine <= theirs else self.cost
        return own if mine >= theirs else MemoryCost(self.cost.bytes_per_weight, self.cost.bytes_per_call, own.samples)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What of a profile holds for a call that begins."""

    prior: Prior | None
    """Bytes; None where nothing is known in this unit of weight."""
    guard_bytes: float
    """Room for what no prediction covers, bytes."""
    weight_per_item: float
    """Weight of an item, about."""
    line: tuple[float, float] | None
    """Seconds of a batch, and of one more item; None where unknown, or learnt elsewhere."""
    start: WarmStart | None
    """Sizes to go on from; None where unknown, or learnt elsewhere."""


def recall(profile: OperationProfile, *, kind: Kind, hinted: bool, here: Machine) -> Recalled | None:
    """Return what of a profile holds for a call, None where nothing does.

    Args:
        profile: What an earlier run learnt.
        kind: The call's.
        hinted: The call has size hints.
        here: Where this process runs.
    """
    if profile.kind != kind:
        return None
    same = profile.machine == here
    line = (profile.fixed_s, profile.item_s) if profile.fixed_s is not None and profile.item_s is not None else None
    sized = profile.concurrency is not None and (profile.batch_size is not None or kind == "items")
    start = WarmStart(profile.batch_size, profile.concurrency or 1, profile.climbing) if sized else None
    # Without hints now, the items of then count as they were on average; with them, nothing is known of their ratio.
    known = profile.hinted or not hinted
    weight = profile.weight_per_item if hinted and known else 1.0
    each = profile.bytes_per_weight
    if profile.hinted and not hinted and each is not None:
        each *= profile.weight_per_item
    prior = None
    if known and each is not None and weight > 0:
        items = (profile.batch_size or 1) if kind == "batches" else 1
        prior = Prior(MemoryCost(each, profile.bytes_per_call, 0), items * weight)
    return Recalled(
        prior,
        profile.guard_bytes,
        weight if weight > 0 else 1.0,
        line if same else None,
        start if same else None,
    )


def first_size(given: int | None, reached: int | None, learnt: int | None, *, default: int, least: int) -> int:
    """Return where a size starts: as given, as reached by a call before, or the lesser of default and learnt."""
    return given or reached or (max(least, min(default, learnt)) if learnt is not None else default)


def going_on(start: WarmStart | None, batch_size: int | None, concurrency: int | None, kind: Kind) -> WarmStart | None:
    """Return where to go on from when some of it is given by the user, which stays; None where all of it is."""
    if start is None or (concurrency is not None and (batch_size is not None or kind == "items")):
        return None
    return WarmStart(
        start.batch_size if batch_size is None else batch_size,
        start.concurrency if concurrency is None else concurrency,
        start.climbing and concurrency is None,
    )


def sizes_to_take(
    start: WarmStart, outlook: Outlook, operation: Operation, limits: SizerLimits, *, batch_size: int
) -> tuple[int, int]:
    """Return (items of a batch, calls in flight) to go on with once a round has been measured.

    Args:
        start: What was learnt.
        outlook: What memory allows now.
        operation: Whose calls.
        limits: What the settings allow.
        batch_size: Items of a batch until now.
    """
    calls = max(limits.least_concurrency, min(limits.most_concurrency, start.concurrency))
    if operation.kind == "items" or start.batch_size is None:
        return batch_size, calls  # admitted item by item: admission bounds the calls
    allowed = most_calls(outlook, operation, limits)
    if allowed < calls:
        calls = max(limits.least_concurrency, int(allowed))
    fits = memory_items(outlook, operation, limits, calls=calls)
    items = min(float(start.batch_size), inf if fits is None else fits)
    if _is_unseen(outlook, operation) and fits is not None and items > _LARGE_SHARE * fits:
        items /= 2  # a round that was not seen in memory at all proves little
    bounds = limits.bounds
    most = bounds.most if bounds.most is not None else items
    return max(bounds.least, int(min(items, most))), calls


def _is_unseen(outlook: Outlook, operation: Operation) -> bool:
    cost = outlook.cost(operation.name)
    return cost is not None and cost.samples == 0
