"""Which programs are for tuning, which for reporting, and which are held out. Fixed lists, split by name.

A detector may be looked at and changed on "tune" only. "report" is what is published. "held" says whether that is
believed: it is looked at last, and nothing is changed after it.
"""

from __future__ import annotations

from benchmarks.leaks.clean import PROGRAMS as CLEAN
from benchmarks.leaks.leaking import PROGRAMS as LEAKING
from benchmarks.leaks.program import Program

__all__ = ["ALL", "HELD", "SETS", "TUNE", "programs_of"]

ALL: dict[str, Program] = {**LEAKING, **CLEAN}

TUNE = frozenset(
    {
        "module_list",
        "defaultdict_of_lists",
        "slow_dict",
        "queue_never_drained",
        "event_handlers",
        "class_registry",
        "cached_method",
        "endless_tasks",
        "cycles_without_collector",
        "linked_list",
        "malloc_medium",
        "late_list",
        "nothing_kept",
        "warm_up",
        "second_level",
        "lazy_modules",
        "sawtooth",
        "fragmentation",
        "growing_items",
        "periodic_load",
        "slow_bounded_cache",
        "big_results",
        "cycles_with_collector",
        "late_tasks",
        "json_documents",
    }
)
HELD = frozenset(
    {
        "unbounded_deque",
        "interning_dict",
        "rare_and_large",
        "nested_dicts",
        "growing_bytearray",
        "kept_exceptions",
        "kept_contexts",
        "weakref_callbacks",
        "malloc_large_and_rare",
        "late_malloc",
        "open_sockets",
        "kept_futures",
        "step_up",
        "rebuilt_dict",
        "late_imports",
        "slow_table",
        "saturating_pool",
        "rising_concurrency",
        "streamed_documents",
        "regex_cache",
        "caught_exceptions",
        "freed_native",
        "weak_cache",
    }
)
SETS = ("tune", "report", "held", "all")


def programs_of(name: str) -> dict[str, Program]:
    """Return the programs of one of `SETS`, in the order of the corpus."""
    wanted = {"tune": TUNE, "held": HELD, "report": ALL.keys() - TUNE - HELD, "all": ALL.keys()}[name]
    return {each: program for each, program in ALL.items() if each in wanted}
