"""What all benchmarks share: scale, timing, spread, tables, the machine, and measuring in a fresh process.

Covers how to measure and print, nothing of what is measured: that is each benchmark's own. Times are CPU time of the
process (all threads) beside wall time; a figure is the median of all rounds, with the least and the largest.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ROOT",
    "Scale",
    "Spread",
    "Timing",
    "backends",
    "describe_machine",
    "in_fresh_process",
    "is_installed",
    "print_goal",
    "print_table",
    "rotated",
    "say_missing",
    "timed",
]

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("anyio", "trio", "psutil", "pydantic", "streamable", "aiometer")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to measure."""

    share: float = 1.0
    """Part of the usual number of items."""
    rounds: int = 7
    """Rounds to take the median of."""

    def of(self, items: int, *, least: int = 20) -> int:
        """Return how many items to take where `items` are usual."""
        return max(least, int(items * self.share))


@dataclass(frozen=True, slots=True)
class Timing:
    """What a run took."""

    cpu_s: float
    """CPU seconds of the process, all threads."""
    wall_s: float
    """Seconds on the wall."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]
    """One for each round."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Collect measurements."""
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __format__(self, form: str) -> str:
        low, middle, high = (format(each, form) for each in (min(self.values), self.median, max(self.values)))
        return f"{middle} ({low}..{high})"


async def timed(run: Callable[[], Awaitable[Any]]) -> Timing:
    """Run once, with a heap that was just collected."""
    gc.collect()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    await run()
    return Timing(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """Return the names in another order each turn, so that nobody always runs first or behind the same other."""
    start = turn % len(names)
    order = [*names[start:], *names[:start]]
    return order if turn // len(names) % 2 == 0 else order[::-1]


def in_fresh_process(module: str, **spec: Any) -> Any:
    """Call `child(spec)` of a benchmark in a new interpreter and return its answer (JSON both ways)."""
    command = [sys.executable, "-m", "benchmarks.common", module, json.dumps(spec)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def say_missing(*packages: str) -> None:
    """Name the peers that are left out."""
    for package in packages:
        if not is_installed(package):
            print(f"  {package} is not installed and was skipped: pip install 'memflow-async[bench]'")


def backends() -> list[str]:
    """Return the event loops to measure on."""
    say_missing("trio")
    return ["asyncio", "trio"] if is_installed("trio") else ["asyncio"]


def describe_machine() -> str:
    """Return machine, system and versions, one a line."""
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    system = f"{platform.system()} {platform.release()} {platform.machine()}, libc {'-'.join(platform.libc_ver())}"
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    return "\n".join(
        [
            f"machine   {_processor()}, {_cores()} cores usable of {os.cpu_count()}, load {load}",
            f"kernel    {system}",
            f"python    {platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})",
            f"packages  memflow {_memflow_version()}, {versions}",
        ]
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(missing)"


def _memflow_version() -> str:
    import memflow

    return memflow.__version__


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below each other, the first column to the left and the others to the right."""
    print(f"\n{title}")
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip(), flush=True)


def print_goal(what: str, value: float, goal: float, *, at_most: bool = True, form: str = ".2f") -> None:
    """Print a figure beside its goal, and whether it is met."""
    met = value <= goal if at_most else value >= goal
    bound = "at most" if at_most else "at least"
    print(f"  {'met   ' if met else 'MISSED'}  {what}: {value:{form}} ({bound} {goal:g})", flush=True)


def _main() -> None:
    module, spec = sys.argv[1:]
    print(json.dumps(importlib.import_module(module).child(json.loads(spec))))


if __name__ == "__main__":
    _main()
