"""What to change after a death, with numbers. Pure.

Covers deaths by memory and others. The evidence is `autopsy`'s and `flight_suspects`'.
"""

from __future__ import annotations

from collections.abc import Sequence

from memflow.journal.climb import Climb
from memflow.journal.flight_format import InFlight
from memflow.journal.flight_suspects import Suspect
from memflow.units import format_bytes

__all__ = ["advise_at_limit", "advise_elsewhere", "name_batch"]

_DEFAULT_TARGET_PCT = 70
_LEAST_TARGET_PCT = 20
_ROOM = 1.25


def advise_at_limit(
    climb: Climb | None, limit_bytes: int, suspects: Sequence[Suspect], ahead: bool, *, machine: bool
) -> tuple[str, ...]:
    """Advise after a kill for want of memory.

    Args:
        climb: Memory's last climb, where there are readings.
        limit_bytes: The limit; 0 where unknown.
        suspects: What was in flight, the likeliest first.
        ahead: Whether the first is clearly ahead.
        machine: Whether the machine was full, and not a limit below it.
    """
    found = [_about_first(suspects[0])] if ahead else []
    if not ahead and len(suspects) > 1:
        found.append(_lower_target(climb, limit_bytes, len(suspects)))
    if len(suspects) > 1 and not any(each.batch.weight for each in suspects):
        found.append("give size_hint=, so that large items are known before they start")
    if machine:
        found.append("give the run a limit of its own (memory_manager.limit, or a container's) below the machine's RAM")
    elif climb is not None and limit_bytes:
        needed = int(max(limit_bytes, climb.to_bytes) * _ROOM)
        headroom = format_bytes(limit_bytes - climb.to_bytes)
        found.append(f"raise the limit, to {format_bytes(needed)} say: {headroom} were left at the last reading")
    return tuple(found)


def advise_elsewhere(suspects: Sequence[Suspect], ahead: bool) -> tuple[str, ...]:
    """Advise after an end that memory doesn't explain.

    Args:
        suspects: What was in flight, the likeliest first.
        ahead: Whether the first is clearly ahead.
    """
    advice = "look for who else ends processes: a supervisor's timeout, a failed liveness probe, a crash in native code"
    return (advice, *([_about_first(suspects[0])] if ahead else []))


def name_batch(batch: InFlight) -> str:
    """A batch by its positions, and its key where it has one."""
    named = f"item {batch.first}" if batch.first == batch.last else f"items {batch.first} to {batch.last}"
    return f"{named} ({batch.key})" if batch.key else named


def _about_first(suspect: Suspect) -> str:
    return (
        f"run {name_batch(suspect.batch)} alone, or make it smaller; with a journal, resuming runs suspects alone, and "
        f"gives one up that was in flight at max_deaths deaths ({suspect.deaths + 1} by now)"
    )


def _lower_target(climb: Climb | None, limit_bytes: int, count: int) -> str:
    """Fill less of the limit: by what use rose in the last second, which is how far behind decisions may be."""
    pct = _DEFAULT_TARGET_PCT
    if climb is not None and limit_bytes:
        pct = round(100 * (1 - 1.5 * min(climb.rate_bytes_per_s, climb.rise_bytes) / limit_bytes))
    pct = max(_LEAST_TARGET_PCT, min(pct, _DEFAULT_TARGET_PCT - 10))
    return (
        f"lower batch_optimizer.target_utilization_pct to {pct}: {count:,} batches were in flight, and none stands out"
    )
