"""What an item costs: memflow beside a pool written by hand, streamable and aiometer.

Covers CPU and wall time an item, where the work is one checkpoint. A batch is `benchmarks.batching`, a call
`benchmarks.calls`.

How it is kept fair: each round is a fresh process, in which everybody runs once after a warm-up, in an order that
changes from round to round. So rivals share the heap, the imports and whatever else the machine does at the time,
while what differs between processes (memory layout, hash seed) is different in every round. A ratio is that of two
rivals within one round; printed is the median of these. On a busy machine the ratio of the least times tells more.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

from benchmarks.common import (
    Scale,
    Spread,
    backends,
    in_fresh_process,
    print_goal,
    print_table,
    rotated,
    say_missing,
    timed,
)
from benchmarks.rivals import PEERS, strategies, suspending_work

__all__ = ["child", "run"]

ITEMS = 100_000
CONCURRENCY = 100
WARM_UP_ITEMS = 2_000
POOL = "pool by hand"

Rounds = dict[str, list[dict[str, float]]]
"""Name of a strategy to {"cpu_us", "wall_us"} an item, one for each round."""


def child(spec: dict[str, Any]) -> Any:
    """Measure everybody once."""
    return anyio.run(_measure, spec["backend"], spec["items"], spec["turn"], backend=spec["backend"])


async def _measure(backend: str, items: int, turn: int) -> dict[str, dict[str, float]]:
    work, rivals = suspending_work(backend), strategies(backend)
    order = rotated(list(rivals), turn)
    for name in order:
        await rivals[name](work, min(items, WARM_UP_ITEMS), CONCURRENCY)
    found = {}
    for name in order:
        counted: list[int] = []
        timing = await timed(partial(_count, counted, rivals[name], work, items))
        if counted != [items]:
            raise RuntimeError(f"{name} gave {counted} results for {items} items")
        found[name] = {"cpu_us": timing.cpu_s / items * 1e6, "wall_us": timing.wall_s / items * 1e6}
    return found


async def _count(counted: list[int], rival: Any, work: Any, items: int) -> None:
    counted.append(await rival(work, items, CONCURRENCY))


def run(scale: Scale) -> None:
    """Measure on every event loop, print tables and goals."""
    say_missing(*PEERS)
    loops, items = backends(), scale.of(ITEMS)
    rounds: dict[str, Rounds] = {backend: {} for backend in loops}
    for turn in range(scale.rounds):
        for backend in loops:
            answer = in_fresh_process(__name__, backend=backend, items=items, turn=turn)
            for name, figures in answer.items():
                rounds[backend].setdefault(name, []).append(figures)
    for backend in loops:
        _print(backend, items, rounds[backend])


def _print(backend: str, items: int, rounds: Rounds) -> None:
    names = [name for name in strategies(backend) if name in rounds]
    print_table(
        f"{backend}: µs an item, {items} items, {CONCURRENCY} at once, work = one checkpoint",
        ["", "CPU", "wall", "CPU / pool", "least / least"],
        [
            [
                name,
                f"{Spread.of(each['cpu_us'] for each in rounds[name]):.2f}",
                f"{Spread.of(each['wall_us'] for each in rounds[name]):.2f}",
                f"{_ratio(rounds, name, POOL):.2f}",
                f"{_least(rounds, name) / _least(rounds, POOL):.2f}",
            ]
            for name in names
        ],
    )
    for name in names:
        if name.startswith("memflow"):
            print_goal(f"{backend}, {name} / pool, CPU", _ratio(rounds, name, POOL).median, 2.5)
    _print_peers(backend, rounds)


def _print_peers(backend: str, rounds: Rounds) -> None:
    for sizes in ("fixed", "auto"):
        for order, peer, goal in (
            ("ordered", "aiometer.amap", 12),
            ("unordered", "aiometer.amap", 12),
            ("ordered", "streamable ordered", 2),
            ("unordered", "streamable as completed", 2),
        ):
            own = f"memflow stream {order}, {sizes}"
            # Goals are for asyncio; under trio aiometer is a figure to know.
            if peer in rounds and backend == "asyncio":
                print_goal(f"{backend}, {peer} / {own}, CPU", _ratio(rounds, peer, own).median, goal, at_most=False)
            elif peer in rounds:
                print(f"          {backend}, {peer} / {own}, CPU: {_ratio(rounds, peer, own).median:.2f}")


def _least(rounds: Rounds, name: str) -> float:
    return min(each["cpu_us"] for each in rounds[name])


def _ratio(rounds: Rounds, name: str, base: str) -> Spread:
    return Spread.of(one["cpu_us"] / other["cpu_us"] for one, other in zip(rounds[name], rounds[base], strict=True))
