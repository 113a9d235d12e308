"""What killed a run, by scripted records: `memflow.journal.autopsy`, `autopsy_advice`, `flight_suspects`, `climb`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.journal.autopsy import Aftermath, Cause, Diagnosis, Sureness, diagnose
from memflow.journal.climb import find_climb, memory_points
from memflow.journal.flight_format import FlightEvent, FlightRecord
from tests.journal.records import LIMIT, MIB, batch, ended, reading, record

FULL = [reading(each / 10, 60 + each * 0.6) for each in range(110)]
"""Up to 125.4 of 128 MiB in eleven seconds."""
FLAT = [reading(each / 10, 60) for each in range(110)]
QUIET = Aftermath(same_boot=True, group_exists=True, oom_kills=2, machine_oom_kills=9, limit_bytes=LIMIT)
KILLED = Aftermath(same_boot=True, group_exists=True, oom_kills=3, machine_oom_kills=10, limit_bytes=LIMIT)
GONE = Aftermath(same_boot=True, machine_oom_kills=10)
GONE_QUIET = Aftermath(same_boot=True, machine_oom_kills=9)
ELSEWHERE = Aftermath()


@pytest.mark.parametrize(
    ("found", "now", "cause", "sureness"),
    [
        (record(FULL, closed=True), KILLED, Cause.IN_ORDER, Sureness.CERTAIN),
        (record(FULL, alive=True), QUIET, Cause.RUNNING, Sureness.CERTAIN),
        (record(FULL), KILLED, Cause.AT_LIMIT, Sureness.CERTAIN),
        (record(FLAT), KILLED, Cause.AT_LIMIT, Sureness.LIKELY),
        (record(), KILLED, Cause.AT_LIMIT, Sureness.LIKELY),
        (record(FULL, kind="host"), KILLED, Cause.MACHINE, Sureness.CERTAIN),
        (record(FULL, oom_kills=1), KILLED, Cause.AT_LIMIT, Sureness.LIKELY),
        (record(FULL), QUIET, Cause.NOT_BY_LIMIT, Sureness.CERTAIN),
        (record(FULL), GONE, Cause.AT_LIMIT, Sureness.LIKELY),
        (record(FLAT), GONE, Cause.UNKNOWN, Sureness.POSSIBLE),
        (record(FULL), GONE_QUIET, Cause.NOT_BY_LIMIT, Sureness.CERTAIN),
        (record(FULL, kind="host", group="", oom_kills=None), GONE, Cause.MACHINE, Sureness.LIKELY),
        (record(FULL), ELSEWHERE, Cause.AT_LIMIT, Sureness.LIKELY),
        (record([reading(0, 105), reading(1, 105)]), ELSEWHERE, Cause.AT_LIMIT, Sureness.POSSIBLE),
        (record(FLAT), ELSEWHERE, Cause.UNKNOWN, Sureness.POSSIBLE),
        (record(), ELSEWHERE, Cause.UNKNOWN, Sureness.POSSIBLE),
        (record(FULL, oom_kills=None, machine_oom_kills=None), QUIET, Cause.AT_LIMIT, Sureness.LIKELY),
    ],
)
def test_the_cause_and_how_sure_it_is(found: FlightRecord, now: Aftermath, cause: Cause, sureness: Sureness) -> None:
    diagnosis = diagnose(found, now)
    assert (diagnosis.cause, diagnosis.sureness) == (cause, sureness)
    assert diagnosis.reasons


def test_reasons_name_counter_use_and_speed() -> None:
    told = "; ".join(diagnose(record(FULL, [batch(4, 11.9)]), KILLED).reasons)
    assert "the kernel has killed 1 of the processes in the control group /app for want of memory" in told
    assert "125 MiB of 128 MiB (98%) were in use at the last reading, 1.0 s before the last sign of life" in told
    assert "use rose by 6 MiB/s" in told


def test_a_steep_rise_shortly_before_the_limit_counts_as_near() -> None:
    leaping = [reading(0, 40), reading(0.1, 40), reading(0.2, 60), reading(0.3, 90)]
    diagnosis = diagnose(record(leaping), ELSEWHERE)
    assert (diagnosis.cause, diagnosis.sureness) == (Cause.AT_LIMIT, Sureness.LIKELY)


def test_memory_is_the_last_minute_before_the_last_sign_of_life() -> None:
    events = [reading(each, 60 + each / 10) for each in range(100)]
    diagnosis = diagnose(record(events, [batch(3, 101.0)]), QUIET)
    assert diagnosis.memory[0] == (62.0, int(63.9 * MIB))
    assert diagnosis.memory[-1] == (2.0, int(69.9 * MIB))
    assert (diagnosis.last_sign_s, diagnosis.ran_s, diagnosis.limit_bytes) == (101.0, 101.0, LIMIT)


# ---- suspects ---------------------------------------------------------------------------------------------------


def churn(until_s: float) -> list[FlightEvent]:
    """Items of 0.1 s, ten a second."""
    return [ended(each / 10, 0.1, each) for each in range(1, int(until_s * 10))]


def knee(at_s: float, end_s: float, per_s: float) -> list[FlightEvent]:
    """60 MiB, then a climb."""
    times = [each / 20 for each in range(int(end_s * 20) + 1)]
    return [reading(time_s, 60 + (round(time_s * 20) % 3) + max(0.0, time_s - at_s) * per_s) for time_s in times]


def first_of(diagnosis: Diagnosis) -> int:
    return diagnosis.suspects[0].batch.first


def test_the_item_that_started_just_before_the_climb_is_first() -> None:
    late = [batch(each, 11.0 + each / 100) for each in range(70, 100)]
    found = record([*knee(8.0, 12.0, 16), *churn(12.0)], [*late, batch(50, 7.95), batch(1, 0.2)])
    diagnosis = diagnose(found, KILLED)
    assert first_of(diagnosis) == 50
    assert diagnosis.one_stands_out
    assert len(diagnosis.suspects) == 32
    told = "; ".join(diagnosis.suspects[0].reasons)
    assert "while it was in flight, and by" in told
    assert "it started just before memory began to climb" in told
    assert "0.1 s is usual" in told
    assert diagnosis.advice[0].startswith("run item 50 alone, or make it smaller")


def test_a_large_item_among_small_ones_is_first() -> None:
    small = [batch(each, 1.0, 1e6) for each in range(30)]
    diagnosis = diagnose(record(FULL, [*small, batch(99, 1.0, 3e7, key="big.pdf")]), KILLED)
    assert first_of(diagnosis) == 99
    assert diagnosis.one_stands_out
    assert "its size hint is 30.0 times the others' (28.6 MiB)" in diagnosis.suspects[0].reasons
    assert "run item 99 (big.pdf) alone" in diagnosis.advice[0]


def test_an_item_of_earlier_deaths_is_first() -> None:
    alike = [batch(each * 10, 1.0, count=10) for each in range(20)]
    diagnosis = diagnose(record(FULL, alike), KILLED, deaths={57: 2, 300: 9})
    assert first_of(diagnosis) == 50
    assert diagnosis.one_stands_out
    assert diagnosis.suspects[0].deaths == 2
    assert "it was in flight at 2 earlier deaths" in diagnosis.suspects[0].reasons
    assert "max_deaths deaths (3 by now)" in diagnosis.advice[0]


def test_a_leap_after_the_last_reading_speaks_against_what_started_last() -> None:
    old = [batch(each, 10.0 - each / 10) for each in range(5, 35)]
    diagnosis = diagnose(record([*FLAT, *churn(10.8)], [*old, batch(99, 10.88)]), KILLED)
    assert first_of(diagnosis) == 99
    assert diagnosis.one_stands_out
    assert any("it leapt between two readings" in each for each in diagnosis.reasons)
    assert diagnosis.in_use_bytes == 60 * MIB


def test_a_limit_that_moved_since_is_told() -> None:
    moved = Aftermath(same_boot=True, group_exists=True, oom_kills=3, machine_oom_kills=10, limit_bytes=2 * LIMIT)
    assert any("the group's own limit is 256 MiB now" in each for each in diagnose(record(FULL), moved).reasons)


def test_of_items_all_alike_none_stands_out() -> None:
    diagnosis = diagnose(record(FULL, [batch(each, 1.0, 1e6) for each in range(40)]), KILLED)
    assert not diagnosis.one_stands_out
    assert len(diagnosis.suspects) == 40
    assert diagnosis.advice[0].startswith("lower batch_optimizer.target_utilization_pct to 60: 40 batches were in")
    assert "raise the limit, to 160 MiB say: 2.6 MiB were left at the last reading" in diagnosis.advice
    assert not any("size_hint" in each for each in diagnosis.advice)


def test_without_size_hints_they_are_asked_for() -> None:
    diagnosis = diagnose(record(FULL, [batch(each, 1.0) for each in range(2)]), KILLED)
    assert any("give size_hint=" in each for each in diagnosis.advice)


def test_where_memory_did_not_rise_it_speaks_against_none() -> None:
    diagnosis = diagnose(record(FLAT, [batch(0, 1.0), batch(1, 10.0)]), QUIET)
    assert [each.score for each in diagnosis.suspects] == [0, 0]
    assert not diagnosis.one_stands_out


def test_one_in_flight_is_the_suspect_and_one_of_a_table_that_overflowed_is_not() -> None:
    assert diagnose(record(FULL, [batch(5, 1.0)]), KILLED).one_stands_out
    assert not diagnose(record(FULL, [batch(5, 1.0)], unrecorded=3), KILLED).one_stands_out


def test_nothing_in_flight_has_no_suspects() -> None:
    diagnosis = diagnose(record(FULL), KILLED)
    assert (diagnosis.suspects, diagnosis.one_stands_out) == ((), False)


def test_batches_before_that_rose_as_much_excuse_those_in_flight() -> None:
    """A sawtooth: every batch takes 40 MiB and gives it back."""
    saw = [reading(each / 10, 60 + 40 * (each % 10) / 9) for each in range(110)]
    done = [ended(each + 0.9, 0.9, each) for each in range(10)]
    diagnosis = diagnose(record([*saw, *done], [batch(10, 10.0)]), QUIET)
    assert diagnosis.suspects[0].score == 0


# ---- the climb --------------------------------------------------------------------------------------------------

uses = st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 127)), min_size=1, max_size=60)


@given(uses=uses, starts=st.lists(st.floats(-10, 400), max_size=20), limit=st.sampled_from([0, LIMIT]))
def test_whatever_the_readings_scores_are_bounded_and_all_are_told(
    uses: list[tuple[float, int]], starts: list[float], limit: int
) -> None:
    events, time_s = [], 0.0
    for step_s, use in uses:
        time_s += step_s
        events.append(reading(time_s, use, limit))
    diagnosis = diagnose(record(events, [batch(n, start_s) for n, start_s in enumerate(starts)]), KILLED)
    assert sorted(each.batch.first for each in diagnosis.suspects) == list(range(len(starts)))
    assert all(0 <= each.score <= 6 for each in diagnosis.suspects)
    scores = [each.score for each in diagnosis.suspects]
    assert scores == sorted(scores, reverse=True)
    assert all(before_s >= 0 for before_s, _ in diagnosis.memory)


@given(uses=uses)
def test_the_climb_lies_within_the_readings(uses: list[tuple[float, int]]) -> None:
    events = [reading(float(number), use) for number, (_, use) in enumerate(uses)]
    points = memory_points(events)
    climb = find_climb(points)
    assert climb is not None
    assert points[0].time_s <= climb.onset_s <= points[-1].time_s
    assert climb.to_bytes == points[-1].in_use_bytes
    assert climb.rate_bytes_per_s >= 0


def test_a_climb_begins_at_the_knee_not_at_the_start_of_the_run() -> None:
    ramp = [reading(each / 10, each * 3) for each in range(20)]
    plateau = [reading(2 + each / 10, 58) for each in range(60)]
    steep = [reading(8 + each / 10, 58 + 6 * each) for each in range(1, 12)]
    climb = find_climb(memory_points([*ramp, *plateau, *steep]))
    assert climb is not None
    assert 7.8 <= climb.onset_s <= 8.1
    assert climb.rate_bytes_per_s == pytest.approx(60 * MIB, rel=0.05)
    assert find_climb(()) is None
