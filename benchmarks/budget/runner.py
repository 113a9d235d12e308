"""Runs one strategy over one workload in a fresh group, and what goes on around it.

Covers processes, neighbours, moving limits, and what became of them. What is tried is `search` and `report`.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.budget.group import Group
from benchmarks.budget.workloads import WORKLOADS
from benchmarks.common import ROOT

__all__ = ["Outcome", "run_once"]

_TIMEOUT_S = 240.0
_IDLE = 60_000_000
_LOWERED = 0.6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run."""

    killed: bool
    """The kernel killed it, or its neighbour."""
    done: int
    """Pieces done, of a run that was killed too."""
    peak_share: float
    """The most that the group was charged with, as a share of its limit; page cache counts."""
    wall_s: float = 0.0
    """Seconds of the work."""
    cpu_s: float = 0.0
    """CPU seconds of the work."""
    pieces: int = 0
    """Pieces there were."""
    failed: tuple[str, ...] = ()
    """Failures, in words."""
    error: str = ""
    """What it ended with otherwise."""
    more: dict[str, Any] = field(default_factory=dict)
    """Whatever else the strategy tells."""

    @property
    def rate(self) -> float:
        """Pieces a second; 0 of a run that didn't end well."""
        return self.done / self.wall_s if self.wall_s and not self.killed and not self.error else 0.0


def run_once(
    workload: str,
    strategy: str,
    *,
    seed: int,
    limit: int,
    setting: int = 10,
    share: int = 1000,
    cache: bool = True,
    control: bool = False,
) -> Outcome:
    """Run it.

    Args:
        workload: A name of `WORKLOADS`.
        strategy: A name of `STRATEGIES`.
        seed: Makes the pieces.
        limit: The group's limit in bytes.
        setting: What fixed strategies are given.
        share: Share of the usual pieces in per mille.
        cache: Fill the page cache, where the workload says so.
        control: Time memflow's control.

    Raises:
        NoGroup: No group can be made.
    """
    around = WORKLOADS[workload].around
    with tempfile.TemporaryDirectory() as folder, Group(limit) as group:
        counter, litter = Path(folder, "counter"), Path(folder, "litter")
        counter.write_bytes(bytes(8))
        spec = {
            "workload": workload,
            "strategy": strategy,
            "seed": seed,
            "limit": limit,
            "setting": setting,
            "share": share,
            "counter": str(counter),
            "idle": _IDLE,
            "cache": cache,
            "control": control and strategy.startswith("memflow"),
        }
        environment = {
            **os.environ,
            "MEMFLOW_BUDGET_LIMIT": str(limit),
            "MEMFLOW_BUDGET_LITTER": str(litter),
            "PYTHONPATH": str(ROOT),
        }
        command = group.command([sys.executable, "-m", "benchmarks.budget.child"])
        with _neighbour(command, environment, limit) if around == "neighbour" else _nobody():
            process = subprocess.Popen(
                [*command, json.dumps(spec)],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                with _moving(group, limit) if around == "moving_limit" else _nobody():
                    printed, complaints = process.communicate(timeout=_TIMEOUT_S)
                error = ""
            except subprocess.TimeoutExpired:
                error = f"not done after {_TIMEOUT_S:.0f} s"
                printed = complaints = ""
            finally:
                if process.poll() is None:
                    process.kill()
                    process.communicate()
        if litter.exists():
            Path(litter.read_text()).unlink(missing_ok=True)
        done, peak = struct.unpack("<q", counter.read_bytes())[0], group.peak_bytes / limit
        if group.kills:
            return Outcome(killed=True, done=done, peak_share=peak)
        if error or process.returncode:
            last = complaints.strip().splitlines()[-1:] or [f"status {process.returncode}"]
            return Outcome(killed=False, done=done, peak_share=peak, error=error or last[0])
        found = json.loads(printed.splitlines()[-1])
        return Outcome(
            killed=False,
            done=found.pop("done"),
            peak_share=peak,
            wall_s=found.pop("wall_s"),
            cpu_s=found.pop("cpu_s"),
            pieces=found.pop("pieces"),
            failed=tuple(found.pop("failed", ())),
            more=found,
        )


@contextmanager
def _nobody() -> Iterator[None]:
    yield


@contextmanager
def _neighbour(command: list[str], environment: dict[str, str], limit: int) -> Iterator[None]:
    process = subprocess.Popen([*command, json.dumps({"neighbour": limit // 2})], cwd=ROOT, env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _moving(group: Group, limit: int) -> Iterator[None]:
    """Lower the limit after two seconds and raise it after five more; a limit below use is asked for until it takes."""
    ended = threading.Event()

    def move() -> None:
        for wait_s, target in ((2.0, int(_LOWERED * limit)), (5.0, limit)):
            if ended.wait(wait_s):
                return
            while not ended.is_set():
                try:
                    group.set_limit(target)
                    break
                except OSError:
                    ended.wait(0.02)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
