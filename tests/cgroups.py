"""Real memory groups for tests: made, used by a child process, removed.

    from tests.cgroups import memory_group  # a fixture

    def test_x(memory_group):
        group = memory_group(256 * MIB)
        shown = group.run("print('a snippet of Python, run inside')")

Groups are named `memflow_test_<pid>_<n>` and lie beside the top of version 1's memory hierarchy or of version 2's.
Where none can be made (no privilege, no memory controller, not Linux), the test is skipped and says why; with
CI=true in the environment it fails instead, so that a pipeline cannot lose these tests unnoticed.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

__all__ = ["MemoryGroup", "memory_group"]

_V1_TOP = Path("/sys/fs/cgroup/memory")
_V2_TOP = Path("/sys/fs/cgroup")
_numbers = itertools.count(1)


class MemoryGroup:
    """One memory group with a limit.

    Args:
        limit_bytes: Its limit; None for none.
        parent: The group to make it in; None for the top of the hierarchy.
    """

    def __init__(self, limit_bytes: int | None, parent: MemoryGroup | None = None) -> None:
        top, self.version = _find_top()
        if parent is not None and parent.version == 2:
            (parent.directory / "cgroup.subtree_control").write_text("+memory")
        name = f"memflow_test_{os.getpid()}_{next(_numbers)}"
        self.directory = (parent.directory if parent else top) / name
        self.path = (parent.path if parent else "") + f"/{name}"
        self.directory.mkdir()
        try:
            if limit_bytes is not None:
                self.set_limit(limit_bytes)
        except OSError:
            self.remove()
            raise

    @property
    def limit_name(self) -> str:
        """The file that holds the limit."""
        return "memory.max" if self.version == 2 else "memory.limit_in_bytes"

    @property
    def limit_path(self) -> Path:
        return self.directory / self.limit_name

    def set_limit(self, limit_bytes: int) -> None:
        self.limit_path.write_text(str(limit_bytes))
        if self.version == 2:
            # Swap would keep a group alive that version 1's tests see killed.
            swap = self.directory / "memory.swap.max"
            if swap.exists():
                swap.write_text("0")

    def command(self, snippet: str, *args: str) -> list[str]:
        """The command that runs a snippet of Python inside; the interpreter itself starts inside already."""
        script = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        code = textwrap.dedent(snippet)
        return ["/bin/sh", "-c", script, str(self.directory), sys.executable, "-c", code, *args]

    def environment(self) -> dict[str, str]:
        """That of this process, with the memflow under test on the path, and the group's limit file by name."""
        return {**os.environ, "PYTHONPATH": _memflow_home(), "MEMFLOW_TEST_LIMIT_FILE": str(self.limit_path)}

    def run(self, snippet: str, *args: str, timeout_s: float = 60.0) -> str:
        """Run a snippet of Python inside and return what it printed; it must succeed."""
        done = self.run_unchecked(snippet, *args, timeout_s=timeout_s)
        assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run_unchecked(self, snippet: str, *args: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a snippet of Python inside; it may fail or be killed (status -9)."""
        return subprocess.run(
            self.command(snippet, *args),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def remove(self) -> None:
        """Remove it; the kernel needs a moment after the last process has ended."""
        for _ in range(100):
            try:
                self.directory.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"{self.directory} cannot be removed; a process is left in it")


def _memflow_home() -> str:
    spec = importlib.util.find_spec("memflow")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]).parent)


def _find_top() -> tuple[Path, int]:
    """Where groups can be made, and their version; OSError with the reason where they cannot."""
    if (_V1_TOP / "memory.limit_in_bytes").exists():
        return _V1_TOP, 1
    controllers = _V2_TOP / "cgroup.controllers"
    if not controllers.exists() or "memory" not in controllers.read_text().split():
        raise OSError("no memory controller under /sys/fs/cgroup")
    enabled = _V2_TOP / "cgroup.subtree_control"
    if "memory" not in enabled.read_text().split():
        enabled.write_text("+memory")
    return _V2_TOP, 2


@pytest.fixture
def memory_group() -> Iterator[Callable[..., MemoryGroup]]:
    """Makes groups: `memory_group(limit_bytes, parent=None)`; all are removed after the test."""
    made: list[MemoryGroup] = []

    def make(limit_bytes: int | None, parent: MemoryGroup | None = None) -> MemoryGroup:
        try:
            made.append(MemoryGroup(limit_bytes, parent))
        except OSError as error:
            _give_up(f"no memory group can be made here: {error}")
        return made[-1]

    yield make
    for group in reversed(made):
        group.remove()


def _give_up(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
