"""What a journal costs: items, batches, and the resume of a long run.

Covers `process` of items of 1 ms at 100 at once with and without a journal in a file; what a batch costs beyond one
without, where the function does nothing; and the time and memory that pass before a run of a million finished items
starts its first new one, in a fresh process. The files are in the system's temporary directory.

Rounds and order are as in `benchmarks.overhead`: in each round everybody runs once in one process. A share of
throughput is that of two runs within one round.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import psutil

from benchmarks.batching import do_nothing
from benchmarks.common import Scale, Spread, in_fresh_process, print_goal, print_table, rotated, timed
from benchmarks.rivals import fixed_settings
from memflow import BatchProcessor
from memflow.journal.base import NOTHING, Commit, RunIdentity
from memflow.journal.keys import make_key
from memflow.journal.sqlite import SqliteJournal
from memflow.processing.journal_opening import open_run  # with all that a call with a journal imports when it begins

__all__ = ["child", "run"]

ITEMS = 30_000
CONCURRENCY = 100
BATCHES = 4_000
BATCH_CONCURRENCY = 8
SIZES = (1, 10, 100)
FINISHED = 1_000_000
MIB = 1 << 20
BARE = "no journal"
KINDS: dict[str, dict[str, Any]] = {
    BARE: {},
    "results kept": {"keep_results": True},
    "not kept": {"keep_results": False},
    "by key, results kept": {"keep_results": True, "key": str},
    "by key, not kept": {"keep_results": False, "key": str},
}
_ = open_run


async def _sleep(item: int) -> int:
    await anyio.sleep(0.001)
    return item


async def _process(path: Path, kind: str, items: int) -> None:
    asked = {} if kind == BARE else {"journal": path, **KINDS[kind]}
    async with BatchProcessor(fixed_settings(auto=False, concurrency=CONCURRENCY)) as processor:
        await processor.process(range(items), _sleep, **asked)


async def _process_batches(path: Path, kind: str, batches: int, size: int) -> None:
    asked = {} if kind == BARE else {"journal": path, **KINDS[kind]}
    settings = fixed_settings(auto=False, concurrency=BATCH_CONCURRENCY, batch_size=size)
    async with BatchProcessor(settings) as processor:
        await processor.process_batches(range(batches * size), do_nothing, **asked)


def child(spec: dict[str, Any]) -> Any:
    """Measure one thing in this process."""
    if spec["what"] == "resume":
        return _resume(spec["kind"], spec["path"], spec["finished"])
    return anyio.run(_measure, spec)


async def _measure(spec: dict[str, Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in rotated(list(KINDS), spec["turn"]):
            if spec["what"] == "items":
                count, work = spec["items"], _process
            else:
                count, work = spec["batches"], partial(_process_batches, size=spec["size"])
            await work(Path(folder, f"warm {kind}"), kind, min(count, 200))
            timing = await timed(partial(work, Path(folder, kind), kind, count))
            found[kind] = [count / timing.wall_s, timing.cpu_s / count * 1e6]
    return found


def _prepare(kind: str, path: Path, finished: int) -> None:
    """Write what an earlier run would have left."""
    asked, journal = KINDS[kind], SqliteJournal(path)
    keep, key = asked["keep_results"], asked.get("key")
    journal.open(RunIdentity("resume", key is not None, {"keep_results": keep}))
    entries = ((n, n if keep else NOTHING, make_key(key(n)) if key else None) for n in range(finished))
    while group := list(islice(entries, 10_000)):
        journal.commit(Commit(group))
    journal.close(complete=False)


class _Started(Exception):
    pass


def _resume(kind: str, path: str, finished: int) -> dict[str, float]:
    gc.collect()
    process, found = psutil.Process(), dict[str, float]()
    start = process.memory_info().rss

    async def first_new_item(item: int) -> int:
        found["seconds"] = time.perf_counter() - began_s
        found["mb"] = (_peak_bytes(process) - start) / MIB
        if item != finished:
            raise RuntimeError(f"item {item} was finished")
        raise _Started

    async def main() -> None:
        async with BatchProcessor(fixed_settings(auto=False, concurrency=CONCURRENCY)) as processor:
            await processor.process(
                iter(range(finished + 1)), first_new_item, operation="resume", journal=path, **KINDS[kind]
            )

    began_s = time.perf_counter()
    try:
        anyio.run(main)
    except* _Started:
        pass
    return found


def _peak_bytes(process: psutil.Process) -> int:
    """The largest RSS of this process alone; `ru_maxrss` may be that of the one that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return int(process.memory_info().rss)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def run(scale: Scale) -> None:
    """Measure, print tables and goals."""
    _run_items(scale)
    for size in SIZES:
        _run_batches(scale, size)
    _run_resume(scale)


def _rounds(scale: Scale, **spec: Any) -> list[dict[str, list[float]]]:
    return [in_fresh_process(__name__, turn=turn, **spec) for turn in range(scale.rounds)]


def _run_items(scale: Scale) -> None:
    items = scale.of(ITEMS)
    rounds = _rounds(scale, what="items", items=items)
    print_table(
        f"process, {items} items of 1 ms, {CONCURRENCY} at once",
        ["", "items a second", "µs CPU an item", "% of throughput lost"],
        [
            [
                kind,
                f"{Spread.of(each[kind][0] for each in rounds):.0f}",
                f"{Spread.of(each[kind][1] for each in rounds):.1f}",
                f"{_lost(rounds, kind):.1f}",
            ]
            for kind in KINDS
        ],
    )
    for kind in KINDS:
        if kind != BARE:
            print_goal(f"{kind}, % of throughput lost", _lost(rounds, kind).median, 15, form=".1f")


def _lost(rounds: Iterable[dict[str, list[float]]], kind: str) -> Spread:
    return Spread.of(100 * (1 - each[kind][0] / each[BARE][0]) for each in rounds)


def _run_batches(scale: Scale, size: int) -> None:
    batches = scale.of(BATCHES)
    rounds = _rounds(scale, what="batches", batches=batches, size=size)
    more = {kind: Spread.of(each[kind][1] - each[BARE][1] for each in rounds) for kind in KINDS}
    print_table(
        f"process_batches, {batches} batches of {size} that do nothing, {BATCH_CONCURRENCY} at once",
        ["", "µs CPU a batch", "µs more"],
        [[kind, f"{Spread.of(each[kind][1] for each in rounds):.1f}", f"{more[kind]:.1f}"] for kind in KINDS],
    )
    for kind in KINDS:
        if kind != BARE:
            print_goal(f"{kind}, batches of {size}, µs more a batch", more[kind].median, 60, form=".1f")


def _run_resume(scale: Scale) -> None:
    finished = scale.of(FINISHED)
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS if kind != BARE}
    with tempfile.TemporaryDirectory() as folder:
        for kind in rounds:
            _prepare(kind, Path(folder, kind), finished)
        for _turn in range(max(1, scale.rounds // 2)):
            for kind, found in rounds.items():
                found.append(
                    in_fresh_process(__name__, what="resume", kind=kind, path=f"{folder}/{kind}", finished=finished)
                )
        sizes = {kind: os.path.getsize(f"{folder}/{kind}") for kind in rounds}
    print_table(
        f"until the first new item starts, {finished} finished",
        ["", "seconds", "MB above the start", "MB of journal"],
        [
            [
                kind,
                f"{Spread.of(each['seconds'] for each in found):.2f}",
                f"{Spread.of(each['mb'] for each in found):.1f}",
                f"{sizes[kind] / MIB:.1f}",
            ]
            for kind, found in rounds.items()
        ],
    )
    for kind, found in rounds.items():
        print_goal(f"{kind}, seconds", Spread.of(each["seconds"] for each in found).median, 2)
        print_goal(f"{kind}, MB", Spread.of(each["mb"] for each in found).median, 100, form=".1f")
