"""Flight records by hand, for tests of what is told from them."""

from __future__ import annotations

from collections.abc import Sequence

from memflow.journal.flight_format import FlightEvent, FlightHeader, FlightKind, FlightRecord, InFlight, Origin

__all__ = ["LIMIT", "MIB", "batch", "ended", "reading", "record"]

MIB = 1 << 20
LIMIT = 128 * MIB


def reading(time_s: float, in_use_mib: float, limit_bytes: int = LIMIT) -> FlightEvent:
    return FlightEvent(time_s, FlightKind.READING, (in_use_mib * MIB, in_use_mib * MIB, limit_bytes, 0, 0))


def ended(time_s: float, seconds: float = 0.1, position: int = 0) -> FlightEvent:
    return FlightEvent(time_s, FlightKind.BATCH_ENDED, (1, seconds, 0, position, 0))


def batch(first: int, start_s: float, weight: float = 0.0, *, count: int = 1, key: str = "") -> InFlight:
    return InFlight(first, first + count - 1, start_s, weight, 0, key)


def record(
    events: Sequence[FlightEvent] = (),
    in_flight: Sequence[InFlight] = (),
    *,
    closed: bool = False,
    alive: bool = False,
    kind: str = "cgroup",
    oom_kills: int | None = 2,
    machine_oom_kills: int | None = 9,
    group: str = "/app",
    unrecorded: int = 0,
) -> FlightRecord:
    """A record that began at 0 s under a limit of 128 MiB."""
    origin = Origin(7, "1", "box", "b-1", group, f"/sys{group}", 2 if group else 0, 5, oom_kills, machine_oom_kills)
    return FlightRecord(
        header=FlightHeader("embed", False, 1e9, 0.0, LIMIT, "cgroup v2 memory.max of /app", kind, origin),
        closed=closed,
        writer_alive=alive,
        in_flight=tuple(in_flight),
        unrecorded=unrecorded,
        ever_unrecorded=unrecorded,
        events=tuple(sorted(events, key=lambda event: event.time_s)),
        torn_events=0,
    )
