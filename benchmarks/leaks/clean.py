"""Every program that keeps nothing for ever, by name; they are written in `clean_kept` and `clean_passing`."""

from __future__ import annotations

from benchmarks.leaks import clean_kept, clean_passing
from benchmarks.leaks.program import Program, by_name

__all__ = ["PROGRAMS"]

PROGRAMS: dict[str, Program] = by_name((*clean_kept.PROGRAMS.values(), *clean_passing.PROGRAMS.values()))
