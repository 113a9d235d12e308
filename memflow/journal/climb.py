"""How memory went before the end: the last minute, its last climb, and where that began. Pure.

Covers the points of a record's readings. Who is to blame for the climb is `flight_suspects`'.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memflow.journal.flight_format import FlightEvent, FlightKind

__all__ = ["Climb", "Point", "find_climb", "find_climb_to_limit", "memory_points"]

_MINUTE_S = 60.0
_BEND = 0.1
_LEAST_SHARE = 0.03
_RATE_S = 1.0
_FULL = 0.97
_LEAP_S = 1e-3


@dataclass(frozen=True, slots=True)
class Point:
    """Memory at one moment."""

    time_s: float
    """When, in seconds of the record's clock."""
    in_use_bytes: int
    """What counted against the limit, in bytes."""
    limit_bytes: int
    """The limit then, in bytes."""


@dataclass(frozen=True, slots=True)
class Climb:
    """The last rise of memory, up to the last reading."""

    onset_s: float
    """When it began to be steep, in seconds of the record's clock."""
    from_bytes: int
    """Use at the onset, in bytes."""
    to_bytes: int
    """Use at the last reading, in bytes."""
    rate_bytes_per_s: float
    """How fast use rose in the last second of readings; 0 where it fell."""
    points: tuple[Point, ...]
    """The readings, in order."""

    @property
    def rise_bytes(self) -> int:
        """How far use rose, in bytes."""
        return max(0, self.to_bytes - self.from_bytes)

    @property
    def is_steep(self) -> bool:
        """Whether it rose by enough to ask who did it: 3 % of the limit."""
        return self.rise_bytes > _LEAST_SHARE * self.points[-1].limit_bytes

    def use_at(self, time_s: float) -> int:
        """Use at the last reading before a moment, in bytes; the first one's before that."""
        return _use_at(self.points, time_s)


def memory_points(events: Sequence[FlightEvent], *, since_s: float = _MINUTE_S) -> tuple[Point, ...]:
    """The readings of the last seconds, in order.

    Args:
        events: A record's, in order.
        since_s: How many seconds before the last one count.
    """
    points = [
        Point(event.time_s, int(event.numbers[0]), int(event.numbers[2]))
        for event in events
        if event.kind == FlightKind.READING
    ]
    return tuple(point for point in points if point.time_s >= points[-1].time_s - since_s)


def find_climb(points: Sequence[Point]) -> Climb | None:
    """Find the last climb; None without readings.

    It begins where the curve is farthest below the straight line from a lowest point to the last one (the knee of
    Satopaa et al., "Finding a 'Kneedle' in a Haystack", 2011); at that lowest point where it hardly bends.
    """
    if not points:
        return None
    low = min(range(len(points)), key=lambda each: (points[each].in_use_bytes, -each))
    first, last = points[low], points[-1]
    span_s, rise = last.time_s - first.time_s, last.in_use_bytes - first.in_use_bytes
    knee = first
    if span_s > 0 and rise > 0:

        def below(point: Point) -> float:
            return (point.time_s - first.time_s) / span_s - (point.in_use_bytes - first.in_use_bytes) / rise

        deepest = max(points[low:], key=below)
        knee = deepest if below(deepest) > _BEND else first
    return Climb(knee.time_s, knee.in_use_bytes, last.in_use_bytes, _rate(points), tuple(points))


def find_climb_to_limit(points: Sequence[Point], end_s: float) -> Climb | None:
    """Find the last climb of a process that was killed at the limit: it reached it, whatever the last reading says.

    Where most of it is a leap after that reading, it begins at the last sign of life. What takes memory so fast lets
    nothing else run meanwhile: had it started earlier, or let others start, readings would have seen it.

    Args:
        points: The readings, in order.
        end_s: The last sign of life.
    """
    if not points or points[-1].in_use_bytes >= _FULL * points[-1].limit_bytes:
        return find_climb(points)
    last = points[-1]
    end_s = max(end_s, last.time_s) + _LEAP_S
    climb = find_climb((*points, Point(end_s, last.limit_bytes, last.limit_bytes)))
    if climb is not None and last.limit_bytes - last.in_use_bytes > climb.rise_bytes / 2:
        climb = replace(climb, onset_s=end_s)
    return climb


def _rate(points: Sequence[Point]) -> float:
    last = points[-1]
    first = next(point for point in points if point.time_s >= last.time_s - _RATE_S)
    span_s = last.time_s - first.time_s
    return max(0.0, (last.in_use_bytes - first.in_use_bytes) / span_s) if span_s > 0 else 0.0


def _use_at(points: Sequence[Point], time_s: float) -> int:
    place = bisect_right(points, time_s, key=lambda point: point.time_s)
    return points[max(0, place - 1)].in_use_bytes
