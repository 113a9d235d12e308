"""The effective memory limit: of every place that may bound this process, the one with the least headroom.

Covers the setting, every control group from this process's own outwards, RLIMIT_AS and RLIMIT_DATA, and the
host's RAM, each with its source in words and with what counts against it. Finding the groups is `cgroup`;
reading the deciding one many times a second is `meters`; hosts other than Linux are `probe`.

Not budgets: swap, memory.low, memory.min and version 1's soft limit. 0 is a limit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from memflow.memory.cgroup import Group, GroupChain, find_groups
from memflow.memory.datalimit import original_data_limit
from memflow.memory.procfs import HostMemory, ProcessMemory, read_host, read_number, read_process
from memflow.memory.readings import LimitCandidate, MemoryLimit
from memflow.units import MemorySize

__all__ = ["Bound", "Measure", "Resolution", "RlimitReader", "decide", "read_rlimits", "resolve_limit"]

Measure = Literal["group", "host", "rss", "vm_size", "vm_data"]
"""What counts against a bound."""
RlimitReader = Callable[[], Mapping[str, int | None]]
"""Returns soft limits in bytes by name, None for none."""

# Version 1 has no word for "none": it shows the largest page-aligned number, which depends on the page size.
_V1_NONE = 2**63 - 2**16


@dataclass(frozen=True, slots=True)
class Bound:
    """A candidate, and what is needed to read it again."""

    candidate: LimitCandidate
    """The bound as it was when looked up."""
    measure: Measure
    """What counts against it."""
    group: Group | None = None
    """The group whose working set counts, with the measure "group"."""
    limit_path: Path | None = None
    """The file that holds the bound; None where it is fixed until the next look-up."""
    share: MemorySize | None = None
    """The share of that file's number that is ours, from the setting; None for all of it."""

    @property
    def headroom_bytes(self) -> int:
        """Limit less use in bytes; practically endless where nothing is bounded."""
        headroom = self.candidate.headroom_bytes
        return sys.maxsize if headroom is None else headroom


@dataclass(frozen=True, slots=True)
class Resolution:
    """The outcome of one look-up."""

    limit: MemoryLimit
    """The effective limit, with every candidate."""
    deciding: Bound
    """The bound behind it."""
    ram_bytes: int
    """The host's RAM in bytes, which caps what is measured in resident memory."""


def read_rlimits() -> Mapping[str, int | None]:
    """Soft limits of this process on its address space, in bytes; those that were set, not what slides below them."""
    if sys.platform == "win32":
        return {}
    import resource

    found = {name: resource.getrlimit(getattr(resource, name))[0] for name in ("RLIMIT_AS", "RLIMIT_DATA")}
    original = original_data_limit()
    if original is not None:
        found["RLIMIT_DATA"] = original[0]
    return {name: None if soft == resource.RLIM_INFINITY else soft for name, soft in found.items()}


def resolve_limit(
    *, root: Path = Path("/"), setting: MemorySize | None = None, rlimits: RlimitReader = read_rlimits
) -> Resolution:
    """Look every place up afresh and decide.

    Args:
        root: Where /proc and /sys are found; anything but "/" is for tests.
        setting: The user's bound. A size is measured against this process's RSS. A share is taken of the limit
            that is detected without it, and measured like that one.
        rlimits: Where resource limits are read.

    Returns:
        The limit with the least headroom, and all candidates. Places that cannot be read are passed over, with
        a note on their candidate.

    Raises:
        OSError: Only when the process is out of descriptors or memory; the last resolution then still stands.
    """
    process, host = read_process(root), read_host(root)
    bounds = [
        *_group_bounds(find_groups(root), process, host),
        *_rlimit_bounds(rlimits(), process),
        _host_bound(host, process),
    ]
    return decide(bounds, setting=setting, rss_bytes=process.rss_bytes, ram_bytes=host.total_bytes)


def decide(bounds: list[Bound], *, setting: MemorySize | None, rss_bytes: int | None, ram_bytes: int) -> Resolution:
    """Pick the bound with the least headroom, the setting first among equals, then in the order given.

    Args:
        bounds: What was detected; at least one must set a limit.
        setting: The user's bound, or None.
        rss_bytes: This process's resident pages, in bytes.
        ram_bytes: The host's RAM, in bytes.
    """
    detected = min(bounds, key=lambda bound: bound.headroom_bytes)
    if setting is not None:
        bounds = [_setting_bound(setting, detected, rss_bytes, ram_bytes), *bounds]
    deciding = min(bounds, key=lambda bound: bound.headroom_bytes)
    chosen = deciding.candidate
    limit = MemoryLimit(
        limit_bytes=chosen.limit_bytes if chosen.limit_bytes is not None else ram_bytes,
        source=chosen.source,
        kind=chosen.kind,
        candidates=tuple(bound.candidate for bound in bounds),
    )
    return Resolution(limit, deciding, ram_bytes)


def _setting_bound(setting: MemorySize, detected: Bound, rss_bytes: int | None, ram_bytes: int) -> Bound:
    base = detected.candidate
    if setting.percent is not None:
        candidate = replace(
            base,
            kind="setting",
            source=f"{setting} (setting) of {base.source}",
            limit_bytes=setting.resolve(base.limit_bytes or 0),
        )
        return replace(detected, candidate=candidate, share=setting)
    candidate = LimitCandidate(
        kind="setting", source=f"setting of {setting}", limit_bytes=setting.bytes, in_use_bytes=rss_bytes
    )
    return Bound(_capped(candidate, ram_bytes), "rss")


def _capped(candidate: LimitCandidate, ram_bytes: int) -> LimitCandidate:
    """Cap at RAM, and say so."""
    if candidate.limit_bytes is None or candidate.limit_bytes <= ram_bytes:
        return candidate
    note = "; ".join(filter(None, (candidate.note, "more than the host's RAM, which is taken instead")))
    return replace(candidate, limit_bytes=ram_bytes, note=note)


def _group_bounds(chain: GroupChain, process: ProcessMemory, host: HostMemory) -> Iterator[Bound]:
    if not chain.groups:
        yield Bound(LimitCandidate(kind="cgroup", source="cgroup", limit_bytes=None, note=chain.note), "rss")
    for group in chain.groups:
        in_use, use_note = group.read_working_set()
        for name in group.limit_names:
            limit, note = read_number(group.directory / name)
            if limit is not None and group.version == 1 and limit >= _V1_NONE:
                limit = None
            notes = (note, use_note if limit is not None else "", chain.note if group is chain.groups[0] else "")
            candidate = LimitCandidate(
                kind="cgroup",
                source=f"cgroup v{group.version} {name} of {group.path}",
                limit_bytes=limit,
                in_use_bytes=in_use if in_use is not None else process.rss_bytes,
                note="; ".join(filter(None, notes)),
            )
            candidate = _capped(candidate, host.total_bytes)
            # Without the group's own use, what this process holds is a lower bound for it.
            yield Bound(candidate, "group" if in_use is not None else "rss", group, group.directory / name)


def _rlimit_bounds(limits: Mapping[str, int | None], process: ProcessMemory) -> Iterator[Bound]:
    # Not capped at RAM: address space is no RAM, and a process may well reserve more of it than there is.
    measures: tuple[tuple[str, Measure, str, int | None], ...] = (
        ("RLIMIT_AS", "vm_size", "RLIMIT_AS (address space)", process.vm_size_bytes),
        ("RLIMIT_DATA", "vm_data", "RLIMIT_DATA (private writable address space)", process.vm_data_bytes),
    )
    for name, measure, source, in_use in measures:
        limit = limits.get(name)
        note = f"{measure} not readable; RSS is taken" if limit is not None and in_use is None else ""
        candidate = LimitCandidate(
            kind="rlimit",
            source=source,
            limit_bytes=limit,
            in_use_bytes=in_use if in_use is not None else process.rss_bytes,
            note=note,
        )
        yield Bound(candidate, measure if in_use is not None else "rss")


def _host_bound(host: HostMemory, process: ProcessMemory) -> Bound:
    known = host.available_bytes is not None
    in_use = host.total_bytes - host.available_bytes if host.available_bytes is not None else process.rss_bytes
    candidate = LimitCandidate(
        kind="host", source="host RAM", limit_bytes=host.total_bytes, in_use_bytes=in_use, note=host.note
    )
    return Bound(candidate, "host" if known else "rss")
