"""What a process can run out of besides memory: open descriptors, threads, asyncio tasks.

Covers counting them, cheaply and from any thread. What a rise means is decided in `memflow.analysis.growth`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from dataclasses import dataclass
from typing import Any

__all__ = ["ProcessSignals", "read_signals"]


@dataclass(frozen=True, slots=True)
class ProcessSignals:
    """Counts at one moment; None where the platform, or the event loop, doesn't tell."""

    descriptors: int | None
    """Open file descriptors."""
    threads: int
    """Threads that Python knows of."""
    tasks: int | None
    """Tasks of asyncio that have not ended, of all loops."""


def read_signals() -> ProcessSignals:
    """Count what there is now; takes some 10 µs, and 0.1 ms for each thousand descriptors."""
    return ProcessSignals(_descriptors(), threading.active_count(), _tasks())


def _descriptors() -> int | None:
    for folder in ("/proc/self/fd", "/dev/fd") if sys.platform != "win32" else ():
        try:
            return len(os.listdir(folder)) - 1  # less the one that lists
        except OSError:
            continue
    return None


def _tasks() -> int | None:
    """Count tasks in asyncio's own set, which costs nothing however many there are.

    Called `_all_tasks` up to 3.11 and `_scheduled_tasks` from 3.12 on. A task that has ended stays in it until nobody
    holds it any more.
    """
    known: Any = getattr(asyncio.tasks, "_scheduled_tasks", getattr(asyncio.tasks, "_all_tasks", None))
    try:
        return None if known is None else len(known)
    except (TypeError, RuntimeError):
        return None
