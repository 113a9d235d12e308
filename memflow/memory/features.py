"""What this kernel offers that memflow can use, for people to look at.

Covers a list of features, each with whether it is there and a detail in words; `memflow doctor` prints it. Using
them is the work of `peaks`, `limit` and `meters`; nothing here changes anything.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from memflow.memory.cgroup import GroupChain, find_groups, stat_field
from memflow.memory.procfs import kib_field, try_read
from memflow.units import format_bytes

__all__ = ["Feature", "kernel_features"]

_OVERCOMMIT = {
    b"0": "0: the kernel guesses, and kills when it guessed wrong",
    b"1": "1: always granted; only the kill remains",
    b"2": "2: never more than the commit limit; allocations fail instead",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that the kernel offers, or does not."""

    name: str
    """What it is, in a word or two."""
    available: bool
    """Whether it can be used here."""
    detail: str
    """Where it is or what it says; without it, why not."""


def kernel_features(root: Path = Path("/")) -> tuple[Feature, ...]:
    """Look at what is there. On systems without /proc, nothing is.

    Args:
        root: Where /proc and /sys are found; anything but "/" is for tests.
    """
    chain = find_groups(root)
    return (
        _cgroup(chain),
        _exact_peaks(root),
        _pressure(root),
        _swap(root),
        _overcommit(root),
        _oom_kills(chain),
    )


def _cgroup(chain: GroupChain) -> Feature:
    if not chain.groups:
        return Feature("cgroup", False, chain.note)
    own = chain.groups[0]
    above = f", {len(chain.groups) - 1} above it" if len(chain.groups) > 1 else ""
    note = f" ({chain.note})" if chain.note else ""
    return Feature("cgroup", True, f"v{own.version}, {own.path}{above}{note}")


def _exact_peaks(root: Path) -> Feature:
    """Opening tells; writing would take the mark from whoever is measuring."""
    try:
        os.close(os.open(root / "proc/self/clear_refs", os.O_WRONLY))
    except OSError as error:
        return Feature("exact peaks", False, f"/proc/self/clear_refs: {error.strerror}; peaks are sampled")
    return Feature("exact peaks", True, "/proc/self/clear_refs resets the high-water mark")


def _pressure(root: Path) -> Feature:
    data, note = try_read(root / "proc/pressure/memory")
    if data is None:
        return Feature("pressure stall information", False, f"/proc/pressure/memory: {note}")
    return Feature("pressure stall information", True, data.decode("ascii", "replace").partition("\n")[0])


def _swap(root: Path) -> Feature:
    data, note = try_read(root / "proc/meminfo")
    total = kib_field(data or b"", b"\nSwapTotal:")
    if total is None:
        return Feature("swap", False, f"/proc/meminfo: {note or 'no SwapTotal'}")
    return Feature("swap", total > 0, f"{format_bytes(total)}; it is never counted as budget" if total else "none")


def _overcommit(root: Path) -> Feature:
    data, note = try_read(root / "proc/sys/vm/overcommit_memory")
    if data is None:
        return Feature("overcommit", False, f"vm.overcommit_memory: {note}")
    mode = data.strip()
    return Feature("overcommit", True, _OVERCOMMIT.get(mode, f"unknown mode {mode[:16]!r}"))


def _oom_kills(chain: GroupChain) -> Feature:
    name = "oom_kill counter"
    if not chain.groups:
        return Feature(name, False, "no memory group was found")
    own = chain.groups[0]
    path = own.directory / ("memory.events" if own.version == 2 else "memory.oom_control")
    data, note = try_read(path)
    count = stat_field(data, b"oom_kill") if data is not None else None
    if count is None:
        return Feature(name, False, f"{path.name} of {own.path}: {note or 'no oom_kill line'}")
    return Feature(name, True, f"{count} so far ({path.name} of {own.path})")
