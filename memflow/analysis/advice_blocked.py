"""What is said about a blocked event loop.

Covers words only. When a loop counts as blocked is decided in `memflow.analysis.blocked`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["advise_blocked", "describe_blocked", "why_unblocked"]

STARVED = "its own wait for events"
"""A place that is no function of anybody's: the loop has nothing to do, and cannot go on."""


def describe_blocked(evidence: Mapping[str, float], place: str, *, is_blocked: bool) -> str:
    """Say for how long a loop has been blocked or was, where, and how often."""
    seconds = evidence["blocked_s"]
    what = (
        f"the event loop has given no sign of life for {seconds:.1f} s"
        if is_blocked
        else f"the event loop gave no sign of life for {seconds:.1f} s"
    )
    return f"{what}{_at(place)}{_often(evidence)}"


def advise_blocked(place: str, operation: str | None) -> Iterator[str]:
    """Say what to do about it."""
    if place.startswith(STARVED):
        yield (
            "other threads hold the interpreter, or other processes the processors: let fewer of them compute at once, "
            "or run what computes in processes"
        )
        return
    whose = f" in {operation}" if operation else ""
    yield f"await what waits{whose}, and run what computes in a thread: anyio.to_thread.run_sync, or a plain function"


def why_unblocked(evidence: Mapping[str, float], place: str) -> str:
    """Say what it came to."""
    if evidence["times"] <= 1:
        return f"the event loop answers again, after {evidence['blocked_s']:.1f} s"
    return f"the event loop answers again{_often(evidence)}{_at(place, mostly=True)}"


def _at(place: str, *, mostly: bool = False) -> str:
    return f", {'mostly ' if mostly else ''}in {place}" if place else ""


def _often(evidence: Mapping[str, float]) -> str:
    times = evidence["times"]
    if times <= 1:
        return ""
    return (
        f"; it was blocked {times:.0f} times, for {evidence['total_blocked_s']:.1f} s together and "
        f"{evidence['longest_blocked_s']:.1f} s at the longest"
    )
