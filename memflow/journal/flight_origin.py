"""What the kernel says about a process, its boot and its control group, at the start of a record and after its end.

Covers the counters of processes killed for want of memory, and telling a process, a boot and a group from later ones
with their names. Judging what changed is `memflow.journal.autopsy`'s.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from memflow.journal.autopsy import Aftermath
from memflow.journal.flight_format import FlightHeader, Origin
from memflow.memory.cgroup import Group, find_groups, stat_field
from memflow.memory.procfs import read_number, try_read

__all__ = ["boot_id", "is_alive", "process_start", "read_aftermath", "read_origin"]

_ROOT = Path("/")


def read_origin(root: Path = _ROOT) -> Origin:
    """Describe this process.

    Args:
        root: Where /proc and the groups are found; anything but "/" is for tests.
    """
    groups = find_groups(root).groups
    # The kernel counts a kill in the group that the killed process is in, whichever group's limit was met.
    own = groups[0] if groups else None
    return Origin(
        pid=os.getpid(),
        started=process_start(os.getpid()),
        host=socket.gethostname(),
        boot_id=boot_id(root),
        group_path=own.path if own else "",
        group_directory=str(own.directory) if own else "",
        group_version=own.version if own else 0,
        group_inode=_inode(own.directory) if own else 0,
        oom_kills=_oom_kills(own.directory, own.version) if own else None,
        machine_oom_kills=_machine_oom_kills(root),
    )


def read_aftermath(header: FlightHeader, root: Path = _ROOT) -> Aftermath:
    """Look at what a record's machine and group say now.

    Args:
        header: The record's.
        root: Where /proc is found; anything but "/" is for tests.
    """
    origin = header.origin
    if not _is_here(origin, root):
        return Aftermath()
    directory = Path(origin.group_directory)
    exists = origin.group_version > 0 and _inode(directory) == origin.group_inode != 0
    group = Group(origin.group_version, origin.group_path, directory)
    limits = [read_number(directory / name)[0] for name in group.limit_names] if exists else []
    return Aftermath(
        same_boot=True,
        group_exists=exists,
        oom_kills=_oom_kills(directory, origin.group_version) if exists else None,
        machine_oom_kills=_machine_oom_kills(root),
        limit_bytes=min((limit for limit in limits if limit is not None and limit < 2**62), default=None),
    )


def is_alive(origin: Origin) -> bool:
    """Whether the process that began a record still runs: on this host, in this boot, and not another one by now."""
    return _is_here(origin, _ROOT) and origin.started != "" and process_start(origin.pid) == origin.started


def _is_here(origin: Origin, root: Path) -> bool:
    return origin.host == socket.gethostname() and origin.boot_id == boot_id(root)


def boot_id(root: Path = _ROOT) -> str:
    """Return what tells this boot of the machine from others; "" where nothing does."""
    data, _ = try_read(root / "proc/sys/kernel/random/boot_id")
    return data.decode(errors="replace").strip() if data else ""


def process_start(pid: int) -> str:
    """When a process was started, in whatever the machine counts; "" for none, and for one that is dead already."""
    data, _ = try_read(Path(f"/proc/{pid}/stat"))
    if data is not None:
        fields = data.rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    import psutil  # not before it is needed: it takes time to load

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def _inode(directory: Path) -> int:
    try:
        return directory.stat().st_ino
    except OSError:
        return 0


def _oom_kills(directory: Path, version: int) -> int | None:
    data, _ = try_read(directory / ("memory.events" if version == 2 else "memory.oom_control"))
    return stat_field(b"\n" + data, b"oom_kill") if data is not None else None


def _machine_oom_kills(root: Path) -> int | None:
    data, _ = try_read(root / "proc/vmstat")
    return stat_field(b"\n" + data, b"oom_kill") if data is not None else None
