"""Who was it: batches in flight at a death, the likeliest first, with reasons. Pure.

Covers the evidence of one record and of earlier deaths. What killed the process is `autopsy`'s to say.

Four things speak against a batch: memory climbed while it was in flight, by more than while earlier batches were;
it started just before the climb did, not long before and not in the midst of it; its size hint is larger than the
others'; it was in flight at earlier deaths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from memflow.journal.climb import Climb
from memflow.journal.flight_format import FlightEvent, FlightKind, InFlight
from memflow.units import format_bytes

__all__ = ["Suspect", "rank_suspects", "stands_out"]

_SIZES = 1.0
_DEATHS = 1.0
_MOST_DEATHS = 3
_AHEAD = 1.4
_LEAST = 0.25
_NEVER_S = 1e-3


@dataclass(frozen=True, slots=True)
class Suspect:
    """One batch in flight, and what speaks against it."""

    batch: InFlight
    """Its positions, key, start and size hint."""
    score: float
    """How much speaks against it: 0 for nothing, 1 for one piece of evidence as strong as can be."""
    deaths: int
    """Earlier deaths at which it was in flight."""
    age_s: float
    """How long it was in flight at the last sign of life, in seconds."""
    reasons: tuple[str, ...]
    """The evidence in words."""


@dataclass(frozen=True, slots=True)
class _Usual:
    """What batches that ended were like."""

    rise_bytes: float
    """Use at a batch's end less that at its start; the median."""
    seconds: float
    """How long they took; the median. 0 where none ended."""


def rank_suspects(
    in_flight: Sequence[InFlight],
    events: Sequence[FlightEvent],
    climb: Climb | None,
    *,
    now_s: float,
    deaths: Mapping[int, int],
) -> tuple[Suspect, ...]:
    """Rank what was in flight.

    Args:
        in_flight: The batches.
        events: The record's, in order.
        climb: Memory's last climb, where there are readings.
        now_s: The last sign of life.
        deaths: Position to earlier deaths at which it was in flight.
    """
    if climb is not None and not climb.is_steep:
        climb = None
    usual = _usual(events, climb)
    others = _other_weights(in_flight)
    found = [
        _judge(batch, climb, usual, other_weight, now_s, _deaths_of(batch, deaths))
        for batch, other_weight in zip(in_flight, others, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (-each.score, -each.batch.weight, each.batch.first)))


def stands_out(suspects: Sequence[Suspect]) -> bool:
    """Whether the first is clearly ahead of the second."""
    if not suspects:
        return False
    if len(suspects) == 1:
        return True
    first, second = suspects[0].score, suspects[1].score
    return first >= _LEAST and first >= _AHEAD * second


def _judge(
    batch: InFlight, climb: Climb | None, usual: _Usual, other_weight: float, now_s: float, deaths: int
) -> Suspect:
    reasons: list[str] = []
    age_s = max(0.0, now_s - batch.start_s)
    score = _climb_score(batch, climb, usual, reasons) if climb is not None else 0.0
    if other_weight > 0 and batch.weight > other_weight:
        ratio = batch.weight / other_weight
        score += _SIZES * min(1.0, math.log2(ratio) / 5)
        if ratio >= 1.5:
            reasons.append(f"its size hint is {ratio:.1f} times the others' ({format_bytes(int(batch.weight))})")
    if usual.seconds and age_s > 3 * usual.seconds and age_s > _NEVER_S:
        times = age_s / usual.seconds
        score += min(0.3, 0.05 * math.log2(times))
        reasons.append(f"it had run for {age_s:.2g} s, and {usual.seconds:.2g} s is usual")
    if deaths:
        score += _DEATHS * min(deaths, _MOST_DEATHS)
        reasons.append(f"it was in flight at {deaths} earlier death{'' if deaths == 1 else 's'}")
    return Suspect(batch, round(score, 3), deaths, age_s, tuple(reasons))


def _climb_score(batch: InFlight, climb: Climb, usual: _Usual, reasons: list[str]) -> float:
    """The share of the climb that it saw, less for each usual duration that it had been quiet before."""
    seen = climb.to_bytes - climb.use_at(batch.start_s)
    more = min(seen, climb.rise_bytes) - max(0.0, usual.rise_bytes)
    if more <= 0:
        return 0.0
    quiet_s = max(0.0, climb.onset_s - batch.start_s)
    scale_s = max(usual.seconds, (climb.points[-1].time_s - climb.onset_s) / 2, _NEVER_S)
    share = more / climb.rise_bytes
    if share >= 0.5:
        reasons.append(f"memory rose by {format_bytes(seen)} while it was in flight" + _beside(usual))
        if quiet_s <= scale_s:
            reasons.append("it started just before memory began to climb")
    return share / (1.0 + quiet_s / scale_s)


def _beside(usual: _Usual) -> str:
    if not usual.seconds:
        return ""
    return f", and by {format_bytes(int(max(0.0, usual.rise_bytes)))} with batches before it"


def _usual(events: Sequence[FlightEvent], climb: Climb | None) -> _Usual:
    ended = [event for event in events if event.kind == FlightKind.BATCH_ENDED]
    if not ended:
        return _Usual(0.0, 0.0)
    rises = [0.0]
    if climb is not None:
        begun_s = climb.points[0].time_s
        known = [event for event in ended if event.time_s - event.numbers[1] >= begun_s]
        rises = [climb.use_at(each.time_s) - climb.use_at(each.time_s - each.numbers[1]) for each in known] or [0.0]
    return _Usual(median(rises), median(event.numbers[1] for event in ended))


def _other_weights(in_flight: Sequence[InFlight]) -> list[float]:
    """For each batch the middle size hint of the others; 0 where they have none."""
    weights = sorted(batch.weight for batch in in_flight)
    if len(weights) < 2:
        return [0.0] * len(in_flight)
    found = []
    middle = (len(weights) - 2) // 2  # of the others: one fewer
    for batch in in_flight:
        place = middle + 1 if batch.weight <= weights[middle] else middle
        found.append(weights[place])
    return found


def _deaths_of(batch: InFlight, deaths: Mapping[int, int]) -> int:
    return max((count for position, count in deaths.items() if batch.first <= position <= batch.last), default=0)
