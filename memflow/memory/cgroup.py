"""The memory control groups that this process lives in, its own first and the outermost one last.

Covers finding them: /proc/self/cgroup mapped onto the mounts of /proc/self/mountinfo, versions 1 and 2, hybrid
hosts, cgroup namespaces, bind mounts of a part of the hierarchy. Which of them decides is `limit`; reading them
many times a second is `meters`.

Sources: cgroups(7), proc_pid_mountinfo(5), cgroup_namespaces(7), and the kernel's cgroup-v1/memory.rst and
cgroup-v2.rst.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memflow.memory.procfs import read_number, try_read

__all__ = ["Group", "GroupChain", "droppable_bytes", "find_groups", "stat_field"]


@dataclass(frozen=True, slots=True)
class Group:
    """One memory control group."""

    version: int
    """1 or 2."""
    path: str
    """Its path as the kernel names it, or that of its directory where the kernel hides it."""
    directory: Path
    """Where its files are."""
    prefix: bytes = b""
    """What the lines of memory.stat begin with that count its children too."""

    @property
    def limit_names(self) -> tuple[str, ...]:
        """Files that bound it. memory.low and the soft limit protect or advise; they bound nothing."""
        return ("memory.max", "memory.high") if self.version == 2 else ("memory.limit_in_bytes",)

    @property
    def usage_path(self) -> Path:
        """The file that holds its use, page cache included."""
        return self.directory / ("memory.current" if self.version == 2 else "memory.usage_in_bytes")

    @property
    def stat_path(self) -> Path:
        """The file that tells page cache from the rest."""
        return self.directory / "memory.stat"

    def read_working_set(self) -> tuple[int | None, str]:
        """Use less the page cache that the kernel can drop, in bytes, and a note; None where use is not readable."""
        usage, note = read_number(self.usage_path)
        if usage is None:
            return None, f"{self.usage_path.name}: {note}"
        data, note = try_read(self.stat_path)
        droppable = droppable_bytes(data, self.prefix) if data is not None else None
        if droppable is None:
            missing = f"no {self.prefix.decode()}inactive_file"
            return usage, f"page cache is counted as use (memory.stat: {note or missing})"
        return max(0, usage - droppable), ""


@dataclass(frozen=True, slots=True)
class GroupChain:
    """This process's group and its ancestors, as far as they can be seen from here."""

    groups: tuple[Group, ...]
    """Own group first, outermost last; empty where none was found."""
    note: str = ""
    """Why groups are missing, or how the chain was found; "" in the plain case."""


@dataclass(frozen=True, slots=True)
class _Mount:
    """One mount of a memory hierarchy."""

    root: str
    """The group that is seen at the mount point."""
    point: str
    """Where it is mounted."""


def droppable_bytes(data: bytes, prefix: bytes = b"") -> int | None:
    """Return the page cache that the kernel drops before it kills, from memory.stat; None where that doesn't tell.

    All that is inactive; and of the active cache what is neither mapped into processes (programs and their libraries,
    which would be read again at once) nor waiting to be written. A file read twice is active cache, and counting that
    as use would stop a job that has read its own input (ray #35989).

    Args:
        data: The text of memory.stat.
        prefix: What its lines begin with that count children too: "total_" in version 1, nothing in version 2.
    """
    inactive = stat_field(data, prefix + b"inactive_file")
    if inactive is None:
        return None
    active = stat_field(data, prefix + b"active_file") or 0
    kept = 0
    for name, older in ((b"file_mapped", b"mapped_file"), (b"file_dirty", b"dirty"), (b"file_writeback", b"writeback")):
        found = stat_field(data, name)
        if found is None:
            found = stat_field(data, prefix + older)
        if found is None:
            return inactive
        kept += found
    return max(inactive, inactive + active - kept)


def stat_field(data: bytes, key: bytes) -> int | None:
    """Find the line `key <number>` of memory.stat; None if missing or garbage."""
    start = data.find(b"\n" + key + b" ")
    if start < 0:
        return None
    start += len(key) + 2
    end = data.find(b"\n", start)
    digits = data[start : end if end >= 0 else None]
    return int(digits) if digits.isdigit() else None


def find_groups(root: Path = Path("/")) -> GroupChain:
    """Find the memory groups that bound this process.

    On hybrid hosts the version 1 memory controller decides if it is there; version 2 has no memory controller
    then. A path that leads outside of what is mounted (`/..`, or a directory that cannot be seen from here)
    stands for the mount's root, the nearest group that can be seen.

    Args:
        root: Where /proc and the mounts are found; anything but "/" is for tests.

    Returns:
        The chain, or an empty one with the reason.
    """
    own, note = try_read(root / "proc/self/cgroup")
    if own is None:
        return GroupChain((), f"/proc/self/cgroup: {note}")
    mounts, note = try_read(root / "proc/self/mountinfo")
    if mounts is None:
        return GroupChain((), f"/proc/self/mountinfo: {note}")
    paths = _own_paths(os.fsdecode(own))
    found = _memory_mounts(os.fsdecode(mounts))
    for version in (1, 2):
        if version in paths and found[version]:
            return _chain(root, version, paths[version], found[version])
    return GroupChain((), _why_none(paths))


def _why_none(paths: dict[int, str]) -> str:
    if not paths:
        return "/proc/self/cgroup names no memory group"
    return "no mount shows the memory hierarchy that /proc/self/cgroup names"


def _own_paths(text: str) -> dict[int, str]:
    """Version to the path of this process's group, from the lines `id:controllers:path`."""
    paths = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon or not path.startswith("/"):
            continue
        if "memory" in controllers.split(","):
            paths[1] = path
        elif number == "0" and not controllers:
            # The kernel says so of a group that was removed around a process that is still in it.
            paths[2] = path.removesuffix(" (deleted)")
    return paths


@functools.lru_cache(maxsize=4)  # half of what a look-up of the limit costs; the text hardly ever changes
def _memory_mounts(text: str) -> Mapping[int, Sequence[_Mount]]:
    """Version to its mounts that show memory groups, in the order of mounting."""
    mounts: dict[int, list[_Mount]] = {1: [], 2: []}
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, ends = before.split(" "), after.split(" ")
        if not dash or len(fields) < 5 or len(ends) < 3:
            continue
        mount = _Mount(_unescape(fields[3]), _unescape(fields[4]))
        if ends[0] == "cgroup" and "memory" in ends[2].split(","):
            mounts[1].append(mount)
        elif ends[0] == "cgroup2":
            mounts[2].append(mount)
    return mounts


def _unescape(field: str) -> str:
    """Undo the octal escapes of mountinfo: space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _chain(root: Path, version: int, path: str, mounts: Sequence[_Mount]) -> GroupChain:
    """The chain through the mount that shows most of it, or else through the root of the one mounted last."""
    latest_first = mounts[::-1]  # a later mount hides an earlier one at the same place
    for mount in sorted(latest_first, key=lambda each: len(each.root)):
        below = _below(path, mount.root)
        if below is not None and _directory(root, mount, below).is_dir():
            return _counted(list(_ancestry(root, version, mount, below)), "")
    for mount in latest_first:
        if _directory(root, mount, "").is_dir():
            note = f"{path} cannot be seen from here; {mount.point} stands for it"
            return _counted(list(_ancestry(root, version, mount, "")), note)
    return GroupChain((), f"none of the memory hierarchy's mounts can be seen: {', '.join(m.point for m in mounts)}")


def _below(path: str, mount_root: str) -> str | None:
    """`path` relative to the group at the mount point; None if it lies outside."""
    if path != mount_root and not path.startswith(mount_root.rstrip("/") + "/"):
        return None
    below = path[len(mount_root) :].strip("/")
    return None if ".." in below.split("/") else below


def _directory(root: Path, mount: _Mount, below: str) -> Path:
    return root / mount.point.lstrip("/") / below


def _ancestry(root: Path, version: int, mount: _Mount, below: str) -> Iterator[Group]:
    """The group `below` a mount's root and every ancestor up to that root."""
    while True:
        directory = _directory(root, mount, below)
        hidden = ".." in mount.root.split("/")
        path = posixpath.join(mount.point if hidden else mount.root, below) if below else ""
        yield _group(version, path or (mount.point if hidden else mount.root), directory)
        if not below:
            return
        below = posixpath.dirname(below)


def _group(version: int, path: str, directory: Path) -> Group:
    if version == 2 or not _counts_children(directory):
        return Group(version, path, directory)
    return Group(version, path, directory, b"total_")


def _counts_children(directory: Path) -> bool:
    """Whether a version 1 group is charged for its children; only kernels before 5.11 could say no."""
    return read_number(directory / "memory.use_hierarchy")[0] != 0


def _counted(groups: list[Group], note: str) -> GroupChain:
    """Cut the chain at the first ancestor that is not charged for its children, since it bounds only itself."""
    for index, group in enumerate(groups[1:], 1):
        if group.version == 1 and not group.prefix:
            cut = f"{group.path} does not count its children (memory.use_hierarchy is 0)"
            return GroupChain(tuple(groups[:index]), "; ".join(filter(None, (note, cut))))
    return GroupChain(tuple(groups), note)
