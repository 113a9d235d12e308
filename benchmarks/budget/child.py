"""One run, inside its group: `python -m benchmarks.budget.child SPEC`; prints one line of JSON.

Covers making the pieces, running the strategy, and being a neighbour. The file named in the spec counts what is done,
so that it is known of a process that was killed.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import mmap
import os
import random
import struct
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.budget.control import measured
from benchmarks.budget.strategies import STRATEGIES
from benchmarks.budget.workloads import WORKLOADS, Piece
from benchmarks.common import is_installed

__all__ = ["main"]


def main() -> None:
    """Run what the first argument says."""
    spec = json.loads(sys.argv[1])
    if spec.get("neighbour"):
        neighbour(spec["neighbour"])
        return
    print(json.dumps(asyncio.run(run(spec))))


async def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Run one strategy over one workload."""
    workload, strategy = WORKLOADS[spec["workload"]], STRATEGIES[spec["strategy"]]
    limit = int(spec["limit"])
    for module in ("memflow.processing.processor", "anyio._backends._asyncio", "aiometer"):
        if is_installed(module.partition(".")[0]):  # nobody pays for imports while the clock runs
            importlib.import_module(module)

    if workload.around == "page_cache" and spec.get("cache", True):
        fill_page_cache(int(0.82 * limit))
    pieces = workload.make(random.Random(spec["seed"]), int(spec["share"]))
    if any(piece.size < 0 for piece in pieces):
        free = int(0.95 * (limit - int(spec["idle"])))
        pieces = [piece if piece.size >= 0 else Piece(free, piece.hold_s) for piece in pieces]
    done = 0
    with open(spec["counter"], "r+b") as file, mmap.mmap(file.fileno(), 8) as counter:

        def count(more: int) -> None:
            nonlocal done
            done += more
            counter[:8] = struct.pack("<q", done)

        gc.collect()
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        with measured() if spec.get("control") else nullcontext() as watch:
            found = await strategy(workload, pieces, int(spec["setting"]), count)
        if watch is not None:
            found["control_s"], found["analysis_s"] = watch.control_s, watch.analysis_s
        return {
            "wall_s": time.perf_counter() - wall_s,
            "cpu_s": time.process_time() - cpu_s,
            "done": done,
            "pieces": len(pieces),
            **found,
        }


def fill_page_cache(size: int) -> None:
    """Read a file until its pages lie in the group's cache, clean."""
    path = Path(tempfile.gettempdir()) / f"memflow_budget_{os.getpid()}"
    try:
        with path.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
        for _ in range(2):
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass
    finally:
        Path(os.environ["MEMFLOW_BUDGET_LITTER"]).write_text(str(path))


def neighbour(size: int) -> None:
    """Take memory little by little, keep it for three seconds, give it back, again and again."""
    while True:
        time.sleep(1)
        held = []
        for _ in range(size >> 22):
            held.append(b"x" * (1 << 22))
            time.sleep(0.005)
        time.sleep(3)
        del held


if __name__ == "__main__":
    main()
