"""Small files of the kernel, read one at a time, with a note instead of an error.

Covers numbers and `kB` fields of /proc, and the two snapshots that limits are compared with: this process and
the host. Control groups are `cgroup`; files that are kept open and read thousands of times a second are
`peaks` and `meters`.

Every function takes the `root` under which /proc is found, so that a fixture tree can stand in for it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HostMemory", "ProcessMemory", "kib_field", "read_host", "read_number", "read_process", "try_read"]

# The process is short of descriptors or memory: that says nothing about the file. Taking it for "no limit
# here" would raise the limit at the worst moment, so these errors reach the caller, who keeps what it knew.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What this process holds, in bytes; None where the kernel does not tell."""

    rss_bytes: int | None
    """Resident pages, in bytes."""
    vm_size_bytes: int | None
    """Address space, which RLIMIT_AS bounds, in bytes."""
    vm_data_bytes: int | None
    """Private writable address space, which RLIMIT_DATA bounds, in bytes."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """The host's RAM, in bytes."""

    total_bytes: int
    """RAM that the kernel manages, in bytes."""
    available_bytes: int | None
    """What can be had without swapping, in bytes; None where the kernel does not tell."""
    note: str = ""
    """Why a figure is missing or second best."""


def try_read(path: Path) -> tuple[bytes | None, str]:
    """Read a small file.

    Returns:
        Its bytes and "", or None and the reason in words.

    Raises:
        OSError: Only when the process itself is out of descriptors or memory.
    """
    try:
        return path.read_bytes(), ""
    except FileNotFoundError:
        return None, "no such file"
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise
        return None, f"not readable ({error.strerror})"


def read_number(path: Path) -> tuple[int | None, str]:
    """Read a file that holds one number of bytes, or `max`.

    Returns:
        The number and "", None and "" for `max`, or None and the reason in words.
    """
    data, note = try_read(path)
    if data is None:
        return None, note
    text = data.strip()
    if text == b"max":
        return None, ""
    if not text.isdigit() or len(text) > 20:
        return None, f"holds {text[:32]!r}, which is no size"
    return int(text), ""


def kib_field(data: bytes, name: bytes) -> int | None:
    """Find `name` in a file of lines such as `VmRSS:    1024 kB`.

    Args:
        data: The whole file.
        name: The field with its colon; start it with a newline where an earlier line could hold the same text
            (a process may be called `VmRSS:`).

    Returns:
        Bytes, or None if the field is missing or holds no number.
    """
    start = data.find(name)
    if start < 0:
        return None
    start += len(name)
    try:
        return int(data[start : data.index(b"kB", start)]) * 1024
    except ValueError:
        return None


def read_process(root: Path = Path("/")) -> ProcessMemory:
    """Take a snapshot of this process."""
    data, _ = try_read(root / "proc/self/status")
    data = data or b""
    return ProcessMemory(
        rss_bytes=kib_field(data, b"\nVmRSS:"),
        vm_size_bytes=kib_field(data, b"\nVmSize:"),
        vm_data_bytes=kib_field(data, b"\nVmData:"),
    )


def read_host(root: Path = Path("/")) -> HostMemory:
    """Take a snapshot of the host's RAM; without /proc/meminfo, what sysconf says."""
    data, note = try_read(root / "proc/meminfo")
    total = kib_field(data or b"", b"MemTotal:")
    if data is None or total is None:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return HostMemory(pages, None, f"/proc/meminfo: {note or 'no MemTotal'}; RAM taken from sysconf")
    available = kib_field(data, b"\nMemAvailable:")
    if available is not None:
        return HostMemory(total, available)
    free = kib_field(data, b"\nMemFree:")
    return HostMemory(total, free, "no MemAvailable; page cache is counted as in use")
