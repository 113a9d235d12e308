"""`python -m benchmarks.leaks.pairs`: of two programs in one process, of which one leaks, which is named.

Each pair runs as two operations of one processor, under noise, in a fresh process. "apart": each goes at a rate of its
own, that changes every second or few. "in step": both do the same number of items in turn, and nobody can tell them
apart: there it is right to name nobody. A run counts as right, wrong or unsure by what was last told of growth, and as
"ever wrong" where the clean one was named at any time. Needs no arguments; `--help` tells what can be chosen.

Covers pairs alone; what is found of single programs, and how soon, is the package's own command.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from statistics import median
from subprocess import CalledProcessError
from typing import Any

from benchmarks.common import describe_machine, in_fresh_process, print_table
from benchmarks.leaks.child import paced
from benchmarks.leaks.noise import make_noise
from benchmarks.leaks.program import Item
from benchmarks.leaks.score import ALARMS
from benchmarks.leaks.sets import ALL
from memflow import BatchProcessor, BatchProcessorSettings, HeapAnalyzerSettings, MemflowSettings

__all__ = ["PAIRS", "Ran", "child", "main", "rows_of", "totals_of"]

PAIRS = (
    ("module_list", "json_documents"),
    ("dict_cache", "sawtooth"),
    ("event_handlers", "fragmentation"),
    ("malloc_medium", "freed_native"),
    ("endless_tasks", "late_tasks"),
    ("linked_list", "periodic_load"),
    ("open_files", "files_closed"),
    ("class_registry", "growing_items"),
)
"""Which leaks, and which is clean."""
_LEAKY, _CLEAN = "first", "second"
_WAYS = ("apart", "in step")
_MOST_ITEMS = 50
_PACE_S = 0.1
_HEADS = ("leaking, clean", "way", "alarms", "right", "wrong", "unsure", "ever wrong", "named after, s", "sureness")


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one run."""

    pair: str
    """The programs' names."""
    way: str
    """"apart" or "in step"."""
    told: tuple[dict[str, Any], ...] = ()
    """What was told of growth, in order: when, of which operation (None: nobody), and how sure."""
    error: str = ""
    """Why it failed; empty where it did not."""

    @property
    def verdict(self) -> str:
        """What was told last: "right", "wrong", "unsure", or "silent" where growth was not told at all."""
        if not self.told:
            return "silent"
        operation = self.told[-1]["operation"]
        return "unsure" if operation is None else "right" if operation == _LEAKY else "wrong"

    @property
    def is_ever_wrong(self) -> bool:
        """The clean one was named at some time."""
        return any(each["operation"] == _CLEAN for each in self.told)

    @property
    def named_after_s(self) -> float | None:
        """Seconds from the alarm to the first name; None where nobody was named."""
        named = [each["at_s"] for each in self.told if each["operation"] is not None]
        return named[0] - self.told[0]["at_s"] if named else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaks.pairs", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each pair and way (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a run (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="the first so many (default: all)")
    parser.add_argument("--way", choices=_WAYS, help="in which rates go (default: both)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    asked = parser.parse_args(arguments)
    print(describe_machine())
    print(f"pairs     {asked.pairs} pairs; {asked.seeds} seeds; {asked.seconds:g} s each; {asked.jobs} at a time")
    specs = [
        {"leaky": leaky, "clean": clean, "way": way, "seed": seed, "seconds": asked.seconds}
        for leaky, clean in PAIRS[: asked.pairs]
        for way in ([asked.way] if asked.way else _WAYS)
        for seed in range(1, asked.seeds + 1)
    ]
    with ThreadPoolExecutor(asked.jobs) as threads:
        runs = list(threads.map(_run, specs))
    print_table("whom it is put down to", _HEADS, rows_of(runs))
    print_table("in all", ("figure", "value"), totals_of(runs))
    for each in runs:
        if each.error:
            print(f"  FAILED  {each.pair}, {each.way}: {each.error}")
    return 1 if any(each.error for each in runs) else 0


def _run(spec: dict[str, Any]) -> Ran:
    pair = f"{spec['leaky']}, {spec['clean']}"
    try:
        found = in_fresh_process("benchmarks.leaks.pairs", **spec)
    except CalledProcessError as error:
        return Ran(pair, spec["way"], error=f"ended with status {error.returncode}; its own words are above")
    return Ran(pair, spec["way"], tuple(found))


def rows_of(runs: Sequence[Ran]) -> list[tuple[str, ...]]:
    """Return a row for each pair and way, in the order in which they come."""
    return [
        (pair, way, *_counts([each for each in runs if (each.pair, each.way) == (pair, way) and not each.error]))
        for pair, way in dict.fromkeys((each.pair, each.way) for each in runs)
    ]


def _counts(runs: Sequence[Ran]) -> tuple[str, ...]:
    verdicts = Counter(each.verdict for each in runs)
    waits = [each.named_after_s for each in runs if each.named_after_s is not None]
    sure = [each.told[-1]["sureness"] for each in runs if each.told]
    return (
        f"{sum(bool(each.told) for each in runs)}/{len(runs)}",
        *(str(verdicts[verdict]) for verdict in ("right", "wrong", "unsure")),
        str(sum(each.is_ever_wrong for each in runs)),
        f"{median(waits):.1f}" if waits else "-",
        f"{median(sure):.2f}" if sure else "-",
    )


def totals_of(runs: Sequence[Ran]) -> list[tuple[str, str]]:
    """Return what all runs say together, a row for each figure."""
    rows = []
    for way in dict.fromkeys(each.way for each in runs):
        of_way = [each for each in runs if each.way == way and not each.error]
        verdicts = Counter(each.verdict for each in of_way)
        named = verdicts["right"] + verdicts["wrong"]
        rows += [
            (f"{way}: right, of those that are named", f"{verdicts['right']} of {named}"),
            (f"{way}: named, of those with growth told", f"{named} of {sum(bool(each.told) for each in of_way)}"),
            (f"{way}: runs in which the clean one was ever named", str(sum(each.is_ever_wrong for each in of_way))),
        ]
    return rows


def child(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one pair, and return what was told of growth."""
    return asyncio.run(_pair(spec))


async def _pair(spec: dict[str, Any]) -> list[dict[str, Any]]:
    most = round(spec["seconds"] / _PACE_S) * _MOST_ITEMS
    items = {
        operation: paced(ALL[name].make(Random(f"{name} {spec['seed']}"), most), _PACE_S)
        for operation, name in ((_LEAKY, spec["leaky"]), (_CLEAN, spec["clean"]))
    }
    settings = MemflowSettings(
        batch_processor=BatchProcessorSettings(process_name="pair"),
        heap_analyzer=HeapAnalyzerSettings(leak_threshold_rate=0.1, update_interval_s=0.5),
    )
    told: list[dict[str, Any]] = []
    async with BatchProcessor(settings) as processor:
        beside = [
            asyncio.create_task(_record(processor, told)),
            asyncio.create_task(make_noise(Random(f"noise {spec['seed']}"))),
        ]
        await asyncio.sleep(0)
        ends_s = time.monotonic() + spec["seconds"]
        if spec["way"] == "apart":
            await asyncio.gather(
                *(
                    _at_own_rate(processor, {operation: item}, Random(f"{operation} {spec['seed']}"), ends_s)
                    for operation, item in items.items()
                )
            )
        else:
            await _at_own_rate(processor, items, Random(f"both {spec['seed']}"), ends_s)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    return told


async def _at_own_rate(processor: BatchProcessor, items: dict[str, Item], rng: Random, ends_s: float) -> None:
    """Call operations in turn, with as many items each, at a rate that changes every second or few."""
    done = 0
    while time.monotonic() < ends_s:
        until_s, pace_s, count = (
            time.monotonic() + rng.uniform(0.5, 4.0),
            _PACE_S * rng.uniform(0.5, 3.0),
            rng.randint(10, _MOST_ITEMS),
        )
        while time.monotonic() < min(until_s, ends_s):
            next_s = time.monotonic() + pace_s
            for operation, item in items.items():
                await processor.process(range(done, done + count), item, operation=operation)
            done += count
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))


async def _record(processor: BatchProcessor, told: list[dict[str, Any]]) -> None:
    began_s = time.monotonic()
    async with processor.issues() as events:
        async for event in events:
            issue = event.issue
            if issue is not None and issue.kind in ALARMS:
                told.append(
                    {
                        "at_s": time.monotonic() - began_s,
                        "operation": issue.operation,
                        "sureness": issue.evidence.get("operation_sureness", 0.0),
                    }
                )


if __name__ == "__main__":
    sys.exit(main())
