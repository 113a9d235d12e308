"""Runs the benchmarks: `python -m benchmarks`, or some of them, as in `python -m benchmarks overhead sampling`.

Covers choosing and running one after another, below a description of the machine. Figures are medians over rounds,
with the least and the largest; where a goal is set, its line says whether it is met. The exit status is 0 either way.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.common import ROOT, Scale, describe_machine

__all__ = ["BENCHMARKS", "main"]

BENCHMARKS = {
    "overhead": "CPU an item beside a pool by hand, streamable and aiometer",
    "batching": "CPU a batch beside a loop by hand",
    "calls": "CPU a call, and sync functions in threads",
    "sampling": "CPU a reading of memory, and its parts",
    "responsiveness": "how long others wait while functions never suspend",
    "backpressure": "items ahead of a slow consumer",
    "footprint": "growth of RSS from 100,000 to 1,000,000 items",
    "analyzer": "what the analyzer keeps over 1,000,000 batches, and what looking for suspects and tracing cost",
    "journal": "items and batches with a journal, and the resume of 1,000,000 items",
    "estimator": "error of the estimator of bytes per item",
}
_TINY = Scale(share=0.001, rounds=1)
_TINY_ESTIMATOR = ("--seeds", "11..11", "--only", "steady native")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure memflow beside hand-written code and peers.",
        epilog="\n".join(f"  {name:15} {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to run (default: everything below)")
    parser.add_argument("--rounds", type=int, default=Scale().rounds, help="rounds (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="see that everything runs; the figures mean nothing")
    asked = parser.parse_args(arguments)
    for name in asked.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    print(describe_machine())
    print("figures   median (least..largest); CPU is process time, all threads")
    for name in asked.names or BENCHMARKS:
        _run(name, tiny=asked.tiny, scale=_TINY if asked.tiny else Scale(rounds=asked.rounds))


def _run(name: str, *, tiny: bool, scale: Scale) -> None:
    print(f"\n== {name}: {BENCHMARKS[name]}", flush=True)
    began_s = time.perf_counter()
    if name == "estimator":  # a program of its own, with seeds in place of rounds
        command = [sys.executable, "-m", "benchmarks.estimator", *(_TINY_ESTIMATOR if tiny else ())]
        subprocess.run(command, cwd=ROOT, check=True)
    else:
        importlib.import_module(f"benchmarks.{name}").run(scale)
    print(f"\n  ({name} took {time.perf_counter() - began_s:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
