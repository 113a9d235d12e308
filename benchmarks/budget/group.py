"""A memory group of one's own with a hard limit, on control groups of version 1 or 2.

Covers making it, running a command inside, moving its limit, and what it says afterwards. Groups are named
`memflow_test_budget_<pid>_<n>` and removed when they are left, after an interrupt too.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Group", "NoGroup", "find_top"]

_V1_TOP = Path("/sys/fs/cgroup/memory")
_V2_TOP = Path("/sys/fs/cgroup")
_numbers = itertools.count(1)


class NoGroup(Exception):
    """No memory group can be made here."""


def find_top() -> tuple[Path, int]:
    """Return where groups can be made, and their version.

    Raises:
        NoGroup: nowhere.
    """
    if (_V1_TOP / "memory.limit_in_bytes").exists():
        top, version = _V1_TOP, 1
    elif "memory" in _read(_V2_TOP / "cgroup.controllers").split():
        top, version = _V2_TOP, 2
        if "memory" not in _read(top / "cgroup.subtree_control").split():
            try:
                (top / "cgroup.subtree_control").write_text("+memory")
            except OSError as error:
                raise NoGroup(f"the memory controller can't be switched on: {error}") from None
    else:
        raise NoGroup("there is no memory controller under /sys/fs/cgroup")
    if not os.access(top, os.W_OK):
        raise NoGroup(f"{top} is not writable: run it as root")
    return top, version


class Group:
    """One memory group.

    Args:
        limit_bytes: Its limit.

    Raises:
        NoGroup: It can't be made.
    """

    def __init__(self, limit_bytes: int) -> None:
        top, self.version = find_top()
        self.directory = top / f"memflow_test_budget_{os.getpid()}_{next(_numbers)}"
        try:
            self.directory.mkdir()
            self.set_limit(limit_bytes)
            if self.version == 2 and (self.directory / "memory.swap.max").exists():
                (self.directory / "memory.swap.max").write_text("0")
        except OSError as error:
            raise NoGroup(f"{self.directory}: {error}") from None

    def set_limit(self, limit_bytes: int) -> None:
        """Move the limit; OSError where more than that is in use and can't be given back."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        (self.directory / name).write_text(str(limit_bytes))

    def command(self, command: Sequence[str]) -> list[str]:
        """Return what runs a command inside, from its first instruction on."""
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.directory), *command]

    @property
    def peak_bytes(self) -> int:
        """The most that was ever charged, page cache included; 0 where the kernel doesn't tell."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        return int(_read(self.directory / name) or 0)

    @property
    def kills(self) -> int:
        """Processes that the kernel killed in it."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in _read(self.directory / name).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for _ in range(200):
            try:
                self.directory.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{self.directory} can't be removed; a process is left in it")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
