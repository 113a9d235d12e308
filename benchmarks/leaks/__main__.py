"""`python -m benchmarks.leaks`: which programs are alarmed, how soon, whom the alarm names, and what is taken back.

Covers options and tables. Programs are split by name: tune a detector on "tune" alone, publish "report", and look at
"held" last.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.common import describe_machine, print_table
from benchmarks.leaks.program import ITEMS_OF_A_BATCH, Program
from benchmarks.leaks.runner import Task, run_all
from benchmarks.leaks.score import ALARMS, TOP, Figures, Outcome, figures
from benchmarks.leaks.sets import ALL, SETS, programs_of

__all__ = ["main", "rows_of", "totals_of"]

_BATCHES = 200
_LONG_BATCHES = 2_000
_PACE_MS = 55.0
_LEAKING_HEADS = ("leaking program", "alarms", "batches", "MB by then", "MB in all", "culprit named", "called")
_CLEAN_HEADS = ("clean program", "alarmed", "retracted", "first at batch", "items", "called")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a run failed."""
    asked = _parse(arguments)
    programs = {name: ALL[name] for name in asked.programs} if asked.programs else programs_of(asked.set)
    if asked.long:
        programs = {name: each for name, each in programs.items() if not each.truth.leaks}
    batches = asked.batches or (_LONG_BATCHES if asked.long else _BATCHES)
    pace_s = 0.0 if asked.long else asked.pace / 1000
    print(describe_machine())
    print(
        f"leaks     {'named programs' if asked.programs else f'set {asked.set}'}, {len(programs)} programs; seeds "
        f"{asked.seeds[0]}..{asked.seeds[-1]}; {batches} batches of {ITEMS_OF_A_BATCH} items, "
        f"{f'one each {asked.pace:g} ms' if pace_s else 'as fast as they go'}; "
        f"noise {asked.noise:g}; {asked.jobs} at a time"
    )
    tasks = [Task(each, seed, batches, pace_s, asked.noise) for seed in asked.seeds for each in programs.values()]
    outcomes = _run(tasks, jobs=asked.jobs)
    if asked.events:
        asked.events.write_text("".join(f"{json.dumps(asdict(each))}\n" for each in outcomes), encoding="utf-8")
    _print(programs, outcomes)
    return 1 if any(each.error for each in outcomes) else 0


def _run(tasks: list[Task], *, jobs: int) -> list[Outcome]:
    """Run them, and say on a terminal how many are done."""
    outcomes = []
    for outcome in run_all(tasks, jobs=jobs):
        outcomes.append(outcome)
        if sys.stderr.isatty():
            print(f"\r{len(outcomes)} of {len(tasks)} runs", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return outcomes


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__)
    parser.add_argument("--set", choices=SETS, default="report", help="programs to run (default: %(default)s)")
    parser.add_argument("--programs", type=_names, metavar="NAMES", help="these alone, of any set: name,name")
    parser.add_argument("--seeds", type=_seeds, default=[1, 2, 3], metavar="A..B", help="default: 1..3")
    parser.add_argument("--jobs", type=_positive, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--batches", type=_positive, help=f"of a run (default: {_BATCHES}; {_LONG_BATCHES} if long)")
    parser.add_argument("--pace", type=float, default=_PACE_MS, metavar="MS", help="of batches (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=1.0, metavar="SHARE", help="of the usual; 0: none (default: 1)")
    parser.add_argument("--long", action="store_true", help="clean programs alone, over 100,000 items, without a pace")
    parser.add_argument("--events", type=Path, metavar="FILE", help="write all that was told, one run a line")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ALL:
            raise argparse.ArgumentTypeError(f"there is no {name!r}; choose from {', '.join(ALL)}")
    return names


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("..")
    seeds = list(range(int(first), int(last or first) + 1))
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text} names no seed; give the smaller one first")
    return seeds


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return int(text)


def _print(programs: dict[str, Program], outcomes: list[Outcome]) -> None:
    for leaks, heads in ((True, _LEAKING_HEADS), (False, _CLEAN_HEADS)):
        of_kind = [each for each in outcomes if each.truth.leaks is leaks]
        if of_kind:
            print_table("they leak" if leaks else "they are clean", heads, rows_of(of_kind))
    for each in outcomes:
        if each.error:
            print(f"  FAILED  {each.program}, seed {each.seed}: {each.error[:150]}")
    print_table("in all", ("figure", "value"), totals_of(figures(outcomes)))


def rows_of(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return a row for each program, either all leaking or all clean, in the order in which they come."""
    by_program: dict[str, list[Outcome]] = defaultdict(list)
    for each in outcomes:
        by_program[each.program].append(each)
    return [(_leaking_row if runs[0].truth.leaks else _clean_row)(name, runs) for name, runs in by_program.items()]


def _leaking_row(name: str, runs: list[Outcome]) -> tuple[str, ...]:
    well = [each for each in runs if not each.error]
    alarms = [(each, each.alarm) for each in well if each.alarm is not None]
    named = [each.names_culprit for each, _ in alarms]
    early = sum(each.false_alarms > 0 for each in well)
    late = f" (late{f', {early} too early' if early else ''})" if runs[0].truth.begins else ""
    return (
        name + late,
        f"{len(alarms)}/{len(well)}",
        _median([alarm.batch - each.begins_at for each, alarm in alarms if alarm], ".0f"),
        _median([alarm.leaked_bytes / 1e6 for _, alarm in alarms if alarm], ".1f"),
        _median([each.leaked_bytes / 1e6 for each in well], ".1f"),
        "-" if not named else "yes" if all(named) else f"{sum(map(bool, named))}/{len(named)}" if any(named) else "no",
        _kinds(well),
    )


def _clean_row(name: str, runs: list[Outcome]) -> tuple[str, ...]:
    well = [each for each in runs if not each.error]
    alarms = [each.alarm for each in well if each.alarm is not None]
    return (
        name + (" (may be suspected)" if runs[0].truth.may_suspect else ""),
        f"{len(alarms)}/{len(well)}",
        f"{sum(each.is_retracted for each in well)}/{len(alarms)}" if alarms else "-",
        _median([alarm.batch for alarm in alarms], ".0f"),
        str(sum(each.items for each in well)),
        _kinds(well),
    )


def _kinds(outcomes: list[Outcome]) -> str:
    """The kinds of all issues, alarms or not, with the number of runs in which each came."""
    found = Counter(kind for each in outcomes for kind in {event.kind for event in each.events})
    return ", ".join(f"{kind} {count}" for kind, count in sorted(found.items(), key=lambda it: it[0] not in ALARMS))


def _median(values: Sequence[float], form: str) -> str:
    return format(median(values), form) if values else "-"


def totals_of(found: Figures) -> list[tuple[str, str]]:
    """Return what all runs say together, a row for each figure."""
    return [
        ("runs (failed)", f"{found.runs} ({found.failed})"),
        ("precision", _or_dash(found.precision, ".2f")),
        (
            "precision, suspicions that were taken back forgiven where allowed",
            _or_dash(found.forgiving_precision, ".2f"),
        ),
        ("recall", f"{_or_dash(found.recall, '.2f')} ({_of(found.leaking)})"),
        ("recall of late leaks", _of(found.late)),
        ("clean runs alarmed (forgiven)", f"{_of(found.clean)} ({found.forgiven})"),
        (
            "false alarms in 100,000 items of clean runs, forgiven ones left out",
            _or_dash(found.false_per_100k_items, ".2f"),
        ),
        ("median delay, batches", _or_dash(found.delay_batches, ".0f")),
        ("median delay, MB leaked", _or_dash(found.delay_bytes and found.delay_bytes / 1e6, ".1f")),
        (f"culprits named in the top {TOP}", _of(found.culprits)),
        ("suspicions on clean runs taken back", _of(found.retracted)),
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _of(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]}"


if __name__ == "__main__":
    sys.exit(main())
