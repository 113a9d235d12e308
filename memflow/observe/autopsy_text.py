"""A diagnosis in words and a plot. Pure.

Covers the text for people. What is told is found in `memflow.journal.autopsy`; the curve is `plot`'s.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from memflow.journal.autopsy import Cause, Diagnosis
from memflow.journal.autopsy_advice import name_batch
from memflow.journal.flight_format import FlightRecord
from memflow.journal.flight_suspects import Suspect
from memflow.observe.plot import plot_memory
from memflow.observe.snapshot import format_count, format_duration
from memflow.units import format_bytes

__all__ = ["autopsy_text"]

_MOST_SUSPECTS = 10
_LABEL_WIDTH = 9


def autopsy_text(record: FlightRecord, diagnosis: Diagnosis, *, width: int, plain: bool = False) -> str:
    """Put a diagnosis into lines for people.

    Args:
        record: The flight record.
        diagnosis: What it tells.
        width: Characters a line.
        plain: ASCII alone, for terminals without more.
    """
    lines = []
    previous = ""
    for label, words in _head(record, diagnosis):
        lines += _lay_out("" if label == previous else label, words, width)
        previous = label
    if diagnosis.memory:
        lines += ["", *plot_memory(diagnosis.memory, diagnosis.limit_bytes, width=width, plain=plain), ""]
    for label, words in (*_in_flight(diagnosis), *(("advice", each) for each in diagnosis.advice)):
        lines += _lay_out("" if label == previous else label, words, width)
        previous = label
    text = "\n".join(lines)
    return text.replace("…", "...").encode("ascii", "backslashreplace").decode() if plain else text


Row = tuple[str, str]


def _head(record: FlightRecord, diagnosis: Diagnosis) -> Iterator[Row]:
    header = record.header
    yield "cause", f"{diagnosis.cause.value} ({diagnosis.sureness.value})"
    for reason in diagnosis.reasons:
        yield "why", reason
    run = f"{header.operation}, process {header.origin.pid} on {header.origin.host}"
    yield "run", f"{run}; {format_duration(diagnosis.ran_s)} up to the last sign of life"
    if diagnosis.limit_bytes:
        source = f", from {header.limit_source}" if header.limit_source else ""
        yield "limit", format_bytes(diagnosis.limit_bytes) + source
    if record.torn_events:
        yield "record", f"{format_count(record.torn_events, 'event')} half-written at the end, left out"


def _in_flight(diagnosis: Diagnosis) -> Iterator[Row]:
    suspects = diagnosis.suspects
    more = f", and {diagnosis.unrecorded:,} more for which the record had no room" if diagnosis.unrecorded else ""
    if not suspects:
        yield "in flight", "nothing" + more
        return
    count = sum(each.batch.last - each.batch.first + 1 for each in suspects)
    batches = (
        "" if count == len(suspects) else f" in {format_count(len(suspects), 'batch').replace('batchs', 'batches')}"
    )
    yield "in flight", format_count(count, "item") + batches + more
    if diagnosis.cause in (Cause.IN_ORDER, Cause.RUNNING):
        label = "in flight"
    else:
        label = "suspects"
        if len(suspects) > 1 or diagnosis.unrecorded:
            yield label, "the first stands out" if diagnosis.one_stands_out else "none stands out"
    for each in suspects[:_MOST_SUSPECTS]:
        yield label, _describe(each)
    if len(suspects) > _MOST_SUSPECTS:
        yield label, f"and {len(suspects) - _MOST_SUSPECTS:,} more; --json has all"


def _describe(suspect: Suspect) -> str:
    size = f", size hint {format_bytes(int(suspect.batch.weight))}" if suspect.batch.weight else ""
    reasons = f": {'; '.join(suspect.reasons)}" if suspect.reasons else ""
    return f"{name_batch(suspect.batch)}, for {format_duration(suspect.age_s)}{size}{reasons}"


def _lay_out(label: str, words: str, width: int) -> list[str]:
    first, rest = f"{label:{_LABEL_WIDTH}}  ", " " * (_LABEL_WIDTH + 2)
    width = max(width, len(rest) + 20)
    return textwrap.wrap(words, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
