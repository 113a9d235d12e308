"""What killed a run, from its flight record and what the kernel counts since. Pure.

Covers the cause, how sure it is and why, and how memory went. The ranking of what was in flight is
`flight_suspects`', advice `autopsy_advice`'s, and the words for people are in `memflow.observe.autopsy_text`.

The kernel's counters decide where they can be compared: in the same boot, and the same control group. Memory at the
last reading says the rest, and says it less surely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from memflow.journal.autopsy_advice import advise_at_limit, advise_elsewhere
from memflow.journal.climb import Climb, find_climb, find_climb_to_limit, memory_points
from memflow.journal.flight_format import FlightRecord
from memflow.journal.flight_suspects import Suspect, rank_suspects, stands_out
from memflow.units import format_bytes

__all__ = ["Aftermath", "Cause", "Diagnosis", "Sureness", "diagnose"]

_NEAR = 0.95
_FAR = 0.8
_AHEAD_S = 0.25


class Cause(StrEnum):
    """How the run ended."""

    AT_LIMIT = "killed at the limit"
    NOT_BY_LIMIT = "killed, not by the limit"
    MACHINE = "killed by the machine running out of memory"
    IN_ORDER = "ended in order"
    RUNNING = "still running"
    UNKNOWN = "unknown"


class Sureness(StrEnum):
    """How sure the cause is."""

    CERTAIN = "certain"
    """The kernel or the record says so."""
    LIKELY = "likely"
    """What was measured speaks for it, and nothing against it."""
    POSSIBLE = "possible"
    """It cannot be told from here."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What the machine says after the end; by default that it is another one."""

    same_boot: bool = False
    """True on the record's machine in the record's boot."""
    group_exists: bool = False
    """True where the record's control group is still there."""
    oom_kills: int | None = None
    """Processes of that group that the kernel has killed for want of memory, by now."""
    machine_oom_kills: int | None = None
    """The same for the machine."""
    limit_bytes: int | None = None
    """That group's own limit now, in bytes; None without one."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a record tells."""

    cause: Cause
    """How the run ended."""
    sureness: Sureness
    """How sure that is."""
    reasons: tuple[str, ...]
    """Why, in words."""
    last_sign_s: float
    """The last moment that the record tells of, in seconds of its clock."""
    ran_s: float
    """From the start to that moment, in seconds."""
    in_use_bytes: int | None
    """What was in use at the last reading, in bytes; None without readings."""
    limit_bytes: int
    """The limit at that reading, in bytes; 0 where unknown."""
    rate_bytes_per_s: float
    """How fast use rose in the last second of readings."""
    memory: tuple[tuple[float, int], ...]
    """The last minute of readings: seconds before the last sign of life, bytes in use."""
    suspects: tuple[Suspect, ...]
    """All that was in flight, the likeliest first."""
    one_stands_out: bool
    """Whether the first of them is clearly ahead of the others."""
    unrecorded: int
    """Batches in flight beyond those, of which nothing is known."""
    advice: tuple[str, ...]
    """What to change."""


def diagnose(record: FlightRecord, now: Aftermath, *, deaths: Mapping[int, int] | None = None) -> Diagnosis:
    """Tell what killed a run.

    Args:
        record: Its flight record.
        now: What the machine says after the end.
        deaths: Position to earlier deaths at which it was in flight.
    """
    points = memory_points(record.events)
    climb = find_climb(points)
    cause, sureness, reasons = _cause(record, now, climb)
    end_s = record.last_sign_s
    blamed = find_climb_to_limit(points, end_s) if cause is Cause.AT_LIMIT else climb
    suspects = rank_suspects(record.in_flight, record.events, blamed, now_s=end_s, deaths=deaths or {})
    ahead = stands_out(suspects) and not record.unrecorded
    limit_bytes = points[-1].limit_bytes if points else record.header.limit_bytes
    if cause in (Cause.AT_LIMIT, Cause.MACHINE):
        advice = advise_at_limit(climb, limit_bytes, suspects, ahead, machine=cause is Cause.MACHINE)
    else:
        advice = advise_elsewhere(suspects, ahead) if cause in (Cause.NOT_BY_LIMIT, Cause.UNKNOWN) else ()
    return Diagnosis(
        cause=cause,
        sureness=sureness,
        reasons=reasons,
        last_sign_s=end_s,
        ran_s=max(0.0, end_s - record.header.monotonic_s),
        in_use_bytes=climb.to_bytes if climb else None,
        limit_bytes=limit_bytes,
        rate_bytes_per_s=climb.rate_bytes_per_s if climb else 0.0,
        memory=tuple((max(0.0, end_s - point.time_s), point.in_use_bytes) for point in points),
        suspects=suspects,
        one_stands_out=ahead,
        unrecorded=record.unrecorded,
        advice=advice,
    )


Verdict = tuple[Cause, Sureness, tuple[str, ...]]


def _cause(record: FlightRecord, now: Aftermath, climb: Climb | None) -> Verdict:
    if record.closed:
        return Cause.IN_ORDER, Sureness.CERTAIN, ("the record was closed",)
    origin = record.header.origin
    if record.writer_alive:
        return Cause.RUNNING, Sureness.CERTAIN, (f"process {origin.pid} still runs; this is of one moment",)
    memory = _memory_words(record, climb)
    nearness = _nearness(record, climb)
    if not now.same_boot:
        why = f"the kernel's counters were left behind: the run was on {origin.host}, and in another boot or machine"
        return _by_memory(nearness, (why, memory))
    if origin.oom_kills is not None and now.oom_kills is not None:
        return _by_counter(record, now.oom_kills - origin.oom_kills, now.limit_bytes, nearness, memory)
    gone = (
        "the run's control group is gone, and its counter with it"
        if origin.group_version
        else "the run was in no control group"
    )
    why = gone if not now.group_exists else "the kernel doesn't count kills in the run's control group"
    if origin.machine_oom_kills is None or now.machine_oom_kills is None:
        return _by_memory(nearness, (why, memory))
    killed = now.machine_oom_kills - origin.machine_oom_kills
    if killed <= 0:
        told = "the kernel has killed no process of this machine for want of memory since the run began"
        return Cause.NOT_BY_LIMIT, Sureness.CERTAIN, (told, memory)
    why = f"{why}; since the run began, the kernel has killed {killed} of this machine's processes for want of memory"
    if record.header.limit_kind == "host" and nearness >= _FAR:
        return Cause.MACHINE, Sureness.LIKELY, (why, memory)
    return _by_memory(nearness, (why, memory))


def _by_counter(record: FlightRecord, killed: int, limit_bytes: int | None, nearness: float, memory: str) -> Verdict:
    """The group is the run's own, so its counter knows."""
    group = f"the control group {record.header.origin.group_path}"
    if killed <= 0:
        told = f"the kernel has killed no process of {group} for want of memory since the run began"
        return Cause.NOT_BY_LIMIT, Sureness.CERTAIN, (told, memory)
    told = f"the kernel has killed {killed} of the processes in {group} for want of memory since the run began"
    several = Sureness.CERTAIN if killed == 1 else Sureness.LIKELY
    if record.header.limit_kind == "host":
        return Cause.MACHINE, several, (told, memory)
    if limit_bytes and record.header.limit_kind == "cgroup" and limit_bytes != record.header.limit_bytes:
        memory += f"; the group's own limit is {format_bytes(limit_bytes)} now"
    if nearness >= _FAR:
        return Cause.AT_LIMIT, several, (told, memory)
    doubt = "use was well below the limit: it leapt between two readings, or a group around it or the machine was full"
    return Cause.AT_LIMIT, Sureness.LIKELY, (told, memory, doubt) if nearness else (told, memory)


def _by_memory(nearness: float, reasons: tuple[str, ...]) -> Verdict:
    if nearness >= _NEAR:
        return Cause.AT_LIMIT, Sureness.LIKELY, reasons
    if nearness >= _FAR:
        return Cause.AT_LIMIT, Sureness.POSSIBLE, reasons
    return Cause.UNKNOWN, Sureness.POSSIBLE, reasons


def _nearness(record: FlightRecord, climb: Climb | None) -> float:
    """Use as a share of the limit where it would have been a moment after the last reading; 0 without readings."""
    if climb is None or not climb.points[-1].limit_bytes:
        return 0.0
    ahead_s = max(0.0, record.last_sign_s - climb.points[-1].time_s) + _AHEAD_S
    return (climb.to_bytes + climb.rate_bytes_per_s * ahead_s) / climb.points[-1].limit_bytes


def _memory_words(record: FlightRecord, climb: Climb | None) -> str:
    if climb is None:
        return "no reading of memory was recorded"
    last = climb.points[-1]
    before_s = record.last_sign_s - last.time_s
    share = f" ({last.in_use_bytes / last.limit_bytes:.0%})" if last.limit_bytes else ""
    words = f"{format_bytes(last.in_use_bytes)} of {format_bytes(last.limit_bytes)}{share} were in use"
    words += f" at the last reading, {before_s:.1f} s before the last sign of life"
    if climb.rate_bytes_per_s:
        words += f", and use rose by {format_bytes(int(climb.rate_bytes_per_s))}/s"
    return words
