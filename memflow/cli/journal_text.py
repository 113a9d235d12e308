"""A journal in words, for people.

Covers the text of `memflow journal show`, with what to call next. Gathering is `memflow.cli.journal_survey`'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from shlex import quote

from memflow.cli.journal_survey import FlightNote, ShownFailure, ShownSuspect, Survey
from memflow.observe.snapshot import format_count
from memflow.units import format_bytes

__all__ = ["survey_text"]

_LABEL_COLUMNS = 13
_MOST_MESSAGE = 200


def survey_text(found: Survey) -> str:
    """Put it into lines."""
    rows = [*_head(found), *_progress(found), *_suspects(found), *_failures(found), *_flights(found), *_next(found)]
    return "\n".join(f"{label:<{_LABEL_COLUMNS}}{words}" if label else f"  {words}" for label, words in rows)


Row = tuple[str, str]


def _head(found: Survey) -> Iterator[Row]:
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found.created_s))
    by = "items by key" if found.keyed else "items by position"
    yield "run", f"{found.operation}, {by}; made {made} by memflow {found.memflow}"
    if found.fingerprint:
        yield "input", ", ".join(f"{name} = {value}" for name, value in found.fingerprint.items())
    yield "open", _open(found)


def _open(found: Survey) -> str:
    holder = found.open
    if holder is None:
        return "by nobody"
    if holder.alive is None:
        return (
            f"by process {holder.pid} on {holder.host} since {holder.since}, if that still runs, which cannot be told "
            "from here"
        )
    if holder.alive:
        return f"by process {holder.pid} on {holder.host} since {holder.since}"
    return f"by nobody; process {holder.pid}, which opened it at {holder.since}, ended without closing it"


def _progress(found: Survey) -> Iterator[Row]:
    yield "state", "complete" if found.complete else "not complete"
    yield "finished", format_count(found.finished, "item")
    yield "failed", format_count(found.failed, "item")
    yield "quarantined", format_count(found.quarantined, "item")
    if found.settled is not None:
        files = [f"{name} at {size:,} bytes" for name, size in found.settled.offsets.items()]
        yield "delivered", ", ".join([format_count(found.settled.items, "item"), *files])
    yield "size", format_bytes(found.size_bytes)


def _suspects(found: Survey) -> Iterator[Row]:
    if found.suspects:
        yield (
            "suspects",
            f"unfinished items that were in flight when a run died{_of(found.suspects, found.all_suspects)}",
        )
    for each in found.suspects:
        yield "", f"{_name(each)}: {format_count(each.deaths, 'death')}"


def _failures(found: Survey) -> Iterator[Row]:
    if found.failures:
        yield "failures", f"in order of position{_of(found.failures, found.failed + found.quarantined)}"
    for each in found.failures:
        yield "", f"{_name(each)}: {each.error_type}: {_one_line(each.message)} ({_tries(each)})"


def _of(shown: tuple[object, ...], count: int) -> str:
    return f", the first {len(shown)} of {count:,} (all with --all)" if len(shown) < count else ""


def _name(each: ShownFailure | ShownSuspect) -> str:
    if each.key is None:
        return f"item {each.position}"
    return f"key {each.key!r}" if each.position is None else f"item {each.position} (key {each.key!r})"


def _tries(each: ShownFailure) -> str:
    return "quarantined" if each.kind == "poison" else format_count(each.attempts, "attempt")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_MESSAGE else f"{line[:_MOST_MESSAGE]}..."


_STATES = {
    "running": "of the run that has it open; {} in flight",
    "ended": "of the last run, which ended in order",
    "died": "of the last run, which died; {} in flight, counted as suspects at the next resume",
    "unreadable": "cannot be read",
}


def _flights(found: Survey) -> Iterator[Row]:
    if found.flight is not None:
        yield "flight", f"{found.flight.path}: {_state(found.flight)}"
    if found.flight_last is not None:
        count = format_count(found.flight_last.in_flight, "item")
        yield "flight-last", f"{found.flight_last.path}: of the last run that died before; {count} in flight"


def _state(flight: FlightNote) -> str:
    return _STATES[flight.state].format(format_count(flight.in_flight, "item"))


def _next(found: Survey) -> Iterator[Row]:
    steps = list(_steps(found))
    if steps:
        yield "next", steps[0]
    for step in steps[1:]:
        yield " ", step


def _steps(found: Survey) -> Iterator[str]:
    path = quote(found.path)
    alive = found.open is not None and found.open.alive is not False
    flight, last = found.flight, found.flight_last
    if flight is not None and flight.state == "died":
        yield f"memflow autopsy {path}   tells what killed the last run"
    elif last is not None:
        yield f"memflow autopsy {quote(last.path)}   tells what killed the last run that died"
    if found.failures:
        delivered = found.settled.items if found.settled is not None else 0
        if not alive and any(each.position >= delivered for each in found.failures):
            yield f"memflow journal release {path} all   lets failed items run again at the next resume"
        yield f"memflow journal export {path} --failures   writes them with their inputs"
    if not found.complete and not alive:
        yield "run it again with the same journal, and it goes on where it was"
