"""`python -m benchmarks.budget`: every strategy over every workload, each run in a fresh memory group.

Covers options, the order of runs (interleaved: seed by seed, each strategy in turn), and the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.budget.group import NoGroup, find_top
from benchmarks.budget.runner import Outcome, run_once
from benchmarks.budget.search import Best, Cache, search, search_grid
from benchmarks.budget.strategies import STRATEGIES
from benchmarks.budget.workloads import WORKLOADS, Workload
from benchmarks.common import Spread, describe_machine, is_installed, print_table, rotated
from memflow.units import MemorySize

__all__ = ["main", "settled_after"]

_DEFAULT = 10
_RIGHT = 0.25
_HEADS = ("strategy", "killed", "done", "items/s", "CPU s", "peak %", "of best fixed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where no group can be made."""
    asked = _parse(arguments)
    try:
        _, version = find_top()
    except NoGroup as error:
        print(f"no memory group can be made, so nothing is measured: {error}", file=sys.stderr)
        return 1
    print(describe_machine())
    limit = MemorySize(asked.limit).bytes
    assert limit is not None
    print(
        f"group     version {version}, {asked.limit}; seeds {asked.seeds[0]}..{asked.seeds[-1]}; share {asked.share} %o"
    )
    cache = Cache(asked.cache)
    for name in asked.workloads:
        _measure(WORKLOADS[name], asked, limit, cache)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budget", description=__doc__)
    parser.add_argument("--workloads", type=_names(WORKLOADS), default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--strategies", type=_names(STRATEGIES), default=list(STRATEGIES), help=", ".join(STRATEGIES))
    parser.add_argument("--seeds", type=_seeds, default=[1, 2, 3, 4, 5], metavar="A..B", help="default: 1..5")
    parser.add_argument("--limit", default="512MiB", help="of each group (default: %(default)s)")
    parser.add_argument("--share", type=int, default=1000, help="pieces, in per mille of the usual (default: 1000)")
    parser.add_argument("--control", action="store_true", help="time memflow's control, which slows it a little")
    parser.add_argument("--cache", type=Path, help="keeps the best fixed settings that were found")
    return parser.parse_args(arguments)


def _names(known: dict[str, object]) -> object:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; choose from {', '.join(known)}")
        return names

    return parse


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("..")
    return list(range(int(first), int(last or first) + 1))


def _measure(workload: Workload, asked: argparse.Namespace, limit: int, cache: Cache) -> None:
    def run(strategy: str, seed: int, setting: int) -> Outcome:
        share = asked.share // 10 if strategy == "default 10" and workload.alike else asked.share
        return run_once(
            workload.name, strategy, seed=seed, limit=limit, setting=setting, share=share, control=asked.control
        )

    best: Best | None = None
    if set(asked.strategies) - {"memflow", "memflow hints", "memflow rough hints"} or asked.cache:
        find = search if workload.kind == "items" else search_grid
        key = f"{workload.name} {asked.seeds} {limit} {asked.share}"
        best = cache.get(
            key,
            lambda: find(workload.ladder, asked.seeds, lambda setting, seed: run("fixed", seed, setting).rate),
        )
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    strategies = [each for each in asked.strategies if _applies(each, workload, best)]
    for turn, seed in enumerate(asked.seeds):
        for strategy in rotated(strategies, turn):
            setting = _DEFAULT if strategy == "default 10" or best is None else best.setting or 1
            outcomes[strategy].append(run(strategy, seed, setting))
    against = _median_rate(outcomes["fixed"]) if outcomes.get("fixed") else best.rate if best is not None else 0.0
    rows = [_row(strategy, outcomes[strategy], against) for strategy in strategies]
    about = f", {workload.kind}" + (f", with {workload.around.replace('_', ' ')}" if workload.around else "")
    print_table(f"{workload.name}{about}", _HEADS, rows)
    if best is not None:
        print(f"  best fixed: {best.setting} ({best.rate:.1f}/s in the search); killed: {list(best.killed)}")
    for strategy in strategies:
        _print_notes(strategy, outcomes[strategy], workload)


def _applies(strategy: str, workload: Workload, best: Best | None) -> bool:
    if strategy == "beam":
        return workload.kind == "batches"
    if strategy == "aiometer":
        return workload.kind == "items" and is_installed("aiometer") and best is not None and best.setting is not None
    return strategy != "fixed" or (best is not None and best.setting is not None)


def _median_rate(outcomes: list[Outcome]) -> float:
    return median(each.rate for each in outcomes)


def _row(strategy: str, outcomes: list[Outcome], against: float) -> tuple[str, ...]:
    alive = [each for each in outcomes if each.rate]
    rates = Spread.of(each.rate for each in alive) if alive else None
    peak = max(each.peak_share for each in outcomes)
    return (
        strategy,
        f"{sum(each.killed for each in outcomes)}/{len(outcomes)}",
        "..".join(str(each) for each in sorted({min(o.done for o in outcomes), max(o.done for o in outcomes)})),
        f"{rates:.1f}" if rates else "-",
        f"{median(each.cpu_s for each in alive):.1f}" if alive else "-",
        f"{100 * peak:.0f}",
        f"{rates.median / against:.2f}" if rates and against else "-",
    )


def _print_notes(strategy: str, outcomes: list[Outcome], workload: Workload) -> None:
    errors = [each.error for each in outcomes if each.error]
    if errors:
        print(f"  {strategy}: {len(errors)} of {len(outcomes)} ended with {errors[0][:150]}")
    failed = [text for each in outcomes for text in each.failed]
    if failed or workload.may_fail:
        print(f"  {strategy}: {len(failed)} pieces failed{': ' + failed[0][:200] if failed else ''}")
    timed = [each for each in outcomes if each.more.get("control_s")]
    for what in ("control", "analysis") if timed else ():
        of_cpu = Spread.of([100 * each.more[f"{what}_s"] / each.cpu_s for each in timed])
        of_wall = Spread.of([100 * each.more[f"{what}_s"] / each.wall_s for each in timed])
        print(f"  {strategy}: {what} {of_cpu:.1f} % of CPU, {of_wall:.1f} % of one core")
    rerun = sum(each.more.get("rerun", 0) for each in outcomes)
    if rerun:
        print(f"  {strategy}: {rerun} pieces were run again")
    if workload.name == "step" and outcomes[0].more.get("sizes"):
        after = [settled_after(each.more["sizes"]) for each in outcomes if each.more.get("sizes")]
        print(f"  {strategy}: batches after the step until the size was right: {after}")


def settled_after(sizes: Sequence[Sequence[int]]) -> int:
    """Return how many batches after the first of the largest items were not within a quarter of where it settled.

    Args:
        sizes: (bytes of its items, items) of each batch, in order.
    """
    largest = max(size for size, _ in sizes)
    after = [count for size, count in sizes if size == largest]
    final = median(after[len(after) // 2 :])
    wrong = [n for n, count in enumerate(after[:-1]) if abs(count - final) > _RIGHT * final]
    return wrong[-1] + 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
