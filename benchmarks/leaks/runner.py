"""Runs programs in fresh processes, several at a time, and reads what they print.

Covers processes and their failures; what a child does is `child`'s, and what it means `score`'s.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.common import ROOT
from benchmarks.leaks.program import Program
from benchmarks.leaks.score import Event, Outcome

__all__ = ["Task", "read_outcome", "run_all", "run_once"]

_LEAST_TIMEOUT_S = 120.0
_TIMEOUT_OF_A_BATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Task:
    """One run to make."""

    program: Program
    """What to run."""
    seed: int
    """Its seed, and that of the noise."""
    batches: int
    """Batches to run."""
    pace_s: float
    """Seconds from one batch to the next; 0.0 runs as fast as it can."""
    noise: float = 1.0
    """Share of the usual noise; 0.0 is silence."""


def run_all(tasks: Iterable[Task], *, jobs: int) -> Iterator[Outcome]:
    """Run them, `jobs` at a time, and return what became of each, in order."""
    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(run_once, tasks)


def run_once(task: Task) -> Outcome:
    """Run one program in a fresh process; a run that fails says why in its outcome."""
    spec = {
        "program": task.program.name,
        "seed": task.seed,
        "batches": task.batches,
        "pace_s": task.pace_s,
        "noise": task.noise,
    }
    timeout_s = _LEAST_TIMEOUT_S + _TIMEOUT_OF_A_BATCH_S * task.batches
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.leaks.child", json.dumps(spec)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return _failed(task, f"not done after {timeout_s:.0f} s; run fewer batches")
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        return _failed(task, said[0] if said else f"ended with status {done.returncode}")
    return read_outcome(task, json.loads(done.stdout.splitlines()[-1]))


def read_outcome(task: Task, found: dict[str, Any]) -> Outcome:
    """Turn what a child printed into an outcome."""
    events = tuple(Event(**{**each, "suspects": tuple(each["suspects"])}) for each in found["events"])
    return Outcome(
        program=task.program.name,
        seed=task.seed,
        truth=task.program.truth,
        batches=found["batches"],
        items=found["items"],
        events=events,
        wall_s=found["wall_s"],
        leaked_bytes=found["leaked_bytes"],
    )


def _failed(task: Task, error: str) -> Outcome:
    return Outcome(task.program.name, task.seed, task.program.truth, task.batches, 0, error=error)
