"""Every program that leaks, by name, from `leaking_containers`, `leaking_runtime` and `leaking_outside`."""

from __future__ import annotations

from benchmarks.leaks import leaking_containers, leaking_outside, leaking_runtime
from benchmarks.leaks.program import Program, by_name

__all__ = ["PROGRAMS"]

PROGRAMS: dict[str, Program] = by_name(
    (
        *leaking_containers.PROGRAMS.values(),
        *leaking_runtime.PROGRAMS.values(),
        *leaking_outside.PROGRAMS.values(),
    )
)
