"""Who traces allocations: the standard library's tracemalloc, and memray where it is installed.

Covers beginning, reading and ending, behind one Protocol; each is used from one thread. When to trace and for how long
is `memflow.analysis.allocation_sites`', ranking what was seen `memflow.analysis.sites`', whose a file is
`memflow.analysis.places`'.

Neither is imported before it is asked for. What somebody else traces is left alone: snapshots of a running tracemalloc
are compared, and a running memray makes ours impossible for as long.
"""

from __future__ import annotations

import heapq
import importlib
import os
import shutil
import sys
import tempfile
import threading
from types import ModuleType
from typing import Any, Literal, Protocol

from memflow.analysis.pace import Pace
from memflow.analysis.sites import Frame, Live, Stack
from memflow.exceptions import ConfigurationError

__all__ = ["CannotTrace", "MemrayTracer", "TracemallocTracer", "Tracer", "make_tracer"]

TRACEMALLOC_BYTES = 8_000_000
"""Of tracemalloc's own, at which a look ends: 150,000 blocks at 53 bytes; a snapshot holds the lock 0.4 µs a block."""
TRACEMALLOC_TIMES = 4.2
"""What reading it takes at most, beside its own: a snapshot has 170 bytes a block, where the tracer has 53."""
ROOM_SHARE = 0.05
"""Share of the room left that tracemalloc's own may take."""
LEAST_ROOM_BYTES = 32_000_000
"""Room below which nothing is traced. memray keeps some 110 bytes a block that lives."""
MOST_RECORDS = 1_000
"""Of a capture, those that weigh most, whose stacks are read."""
READ_S = 2.0
"""Processor seconds over which reading gives way to others."""


class CannotTrace(Exception):
    """Why nothing can be traced now, in words; no error: somebody else traces, or the room is too small."""


class Tracer(Protocol):
    """Sees what is allocated, and where. Used from one thread, but for `refuse`."""

    name: str
    """What it is called."""
    keeps_baseline: bool
    """True where somebody else traces, so that looks are differences to what there was before."""

    def refuse(self, room_bytes: int) -> None:
        """Raise `CannotTrace` where it could not begin now; in the thread that asks."""

    def begin(self, room_bytes: int) -> None:
        """Trace from now on, at a cost that fits the room left; raises `CannotTrace`."""

    @property
    def is_full(self) -> bool:
        """True once it has seen as much as it may."""

    def read(self) -> Live:
        """Return what was allocated since it began and lives, and end; raises `CannotTrace`."""

    def stop(self) -> None:
        """End, if it has begun, and leave nothing behind."""

    def forked(self) -> None:
        """End in a child that was forked meanwhile."""


def make_tracer(name: Literal["tracemalloc", "memray"], *, frames: int) -> Tracer:
    """Return the tracer of that name.

    Raises:
        ConfigurationError: memray is asked for and cannot be imported.
    """
    return MemrayTracer(frames=frames) if name == "memray" else TracemallocTracer(frames=frames)


def check_room(room_bytes: int) -> None:
    """Raise `CannotTrace` where the room left is too small for what any tracer costs."""
    if room_bytes < LEAST_ROOM_BYTES:
        left = max(0, room_bytes) / 1e6
        raise CannotTrace(f"allocations are not traced: {left:.0f} MB left are less than {LEAST_ROOM_BYTES / 1e6:.0f}")


class TracemallocTracer:
    """Sees blocks of Python's allocators, with those of libraries that tell it theirs (NumPy does).

    Args:
        frames: of each stack.
    """

    name = "tracemalloc"

    def __init__(self, *, frames: int) -> None:
        self.keeps_baseline = False
        self._frames = frames
        self._module: Any = importlib.import_module("tracemalloc")
        self._is_ours = False
        self._most_bytes = TRACEMALLOC_BYTES

    def refuse(self, room_bytes: int) -> None:
        """Raise where the room is too small, or where somebody else traces more than can be copied."""
        check_room(room_bytes)
        size = self._module.get_tracemalloc_memory() if self._module.is_tracing() else 0
        if size > self._allowed(room_bytes):
            raise CannotTrace(
                f"tracemalloc is running already, and has seen too much to be compared: {size / 1e6:.0f} MB of its own"
            )

    def begin(self, room_bytes: int) -> None:
        """Start tracemalloc unless somebody else has."""
        self.refuse(room_bytes)
        self._most_bytes = self._allowed(room_bytes)
        self._is_ours = not self._module.is_tracing()
        self.keeps_baseline = not self._is_ours
        if self._is_ours:
            self._module.start(self._frames)

    @staticmethod
    def _allowed(room_bytes: int) -> int:
        return min(TRACEMALLOC_BYTES, int(ROOM_SHARE * room_bytes))

    @property
    def is_full(self) -> bool:
        """True once its own tables have reached their bound."""
        return bool(self._module.get_tracemalloc_memory() >= self._most_bytes)

    def read(self) -> Live:
        """Take a snapshot, end, and add it up by stack."""
        try:
            traces = self._module.take_snapshot().traces._traces
        except RuntimeError as error:
            raise CannotTrace("tracemalloc was stopped by somebody else meanwhile") from error
        finally:
            self.stop()
        sums: dict[Any, list[int]] = {}
        pace = Pace(READ_S)
        for number, (_, size, stack, *_) in enumerate(traces):
            added = sums.setdefault(stack, [0, 0])
            added[0] += size
            added[1] += 1
            if number % 1_000 == 999:
                pace.give_way()
        del traces
        # Somebody else's stacks may be longer, and several of them one here.
        live: dict[Stack, tuple[int, int]] = {}
        for stack, (size, blocks) in sums.items():
            _add(live, tuple(Frame(*each) for each in stack[: self._frames]), size, blocks)
        return live

    def stop(self) -> None:
        """Stop tracemalloc where it was started here."""
        if self._is_ours:
            self._is_ours = False
            self._module.stop()

    def forked(self) -> None:
        """Stop it in the child too."""
        self.stop()


class MemrayTracer:
    """Sees blocks of the C library's heap and mappings, whoever asks for them: extensions, and Python for its own.

    Small objects of Python live in arenas, which it sees as a whole. What is asked for through a pointer that was
    looked up before it began, as ctypes has, goes past it. It is told which Python code was running; native stacks
    would name the C functions too, at several times the cost, and are not taken.

    Args:
        frames: of each stack.

    Raises:
        ConfigurationError: memray cannot be imported.
    """

    name = "memray"
    keeps_baseline = False

    def __init__(self, *, frames: int) -> None:
        self._memray = _import_memray()
        self._frames = frames
        self._tracker: Any = None
        self._folder = ""

    def refuse(self, room_bytes: int) -> None:
        """Raise where the room is too small, or where a profiler would be thrown out."""
        check_room(room_bytes)
        # Its tracker takes the place of whatever was set by sys.setprofile, in every thread.
        if sys.getprofile() is not None or threading.getprofile() is not None:
            raise CannotTrace("allocations are not traced: a profiler is running, which memray would end")

    def begin(self, room_bytes: int) -> None:
        """Have a tracker write a capture into a folder of its own."""
        self.refuse(room_bytes)
        self._folder = tempfile.mkdtemp(prefix="memflow-sites-")
        memray = self._memray
        tracker = memray.Tracker(
            destination=memray.FileDestination(self._capture, overwrite=True, compress_on_exit=False),
            native_traces=False,
            memory_interval_ms=1_000,
            # Added up while it is written: what is read at the end is small, whatever went on.
            file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS,
        )
        try:
            tracker.__enter__()
        except RuntimeError as error:
            self.stop()
            raise CannotTrace("allocations are not traced: a memray tracker is running already") from error
        self._tracker = tracker

    @property
    def _capture(self) -> str:
        return os.path.join(self._folder, "capture.bin")

    @property
    def is_full(self) -> bool:
        """False: it does not tell what it keeps."""
        return False

    def read(self) -> Live:
        """End the tracker, and read the capture back."""
        self._leave()
        live: dict[Stack, tuple[int, int]] = {}
        with self._memray.FileReader(self._capture) as reader:
            records = reader.get_leaked_allocation_records(merge_threads=True)
            largest = heapq.nlargest(MOST_RECORDS, records, key=lambda record: record.size)
            pace = Pace(READ_S)
            for record in largest:
                stack = tuple(Frame(file, line, name) for name, file, line in record.stack_trace(self._frames))
                _add(live, stack, record.size, record.n_allocations)
                pace.give_way()
        self.stop()
        return live

    def _leave(self) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.__exit__(None, None, None)

    def stop(self) -> None:
        """End the tracker, and delete the capture."""
        try:
            self._leave()
        finally:
            folder, self._folder = self._folder, ""
            if folder:
                shutil.rmtree(folder, ignore_errors=True)

    def forked(self) -> None:
        """Leave all to the parent: a tracker does not follow a fork, and the capture is the parent's."""
        self._tracker, self._folder = None, ""


def _add(live: dict[Stack, tuple[int, int]], stack: Stack, size: int, blocks: int) -> None:
    before = live.get(stack, (0, 0))
    live[stack] = before[0] + size, before[1] + blocks


def _import_memray() -> ModuleType:
    try:
        return importlib.import_module("memray")
    except ImportError as error:
        raise ConfigurationError(
            f'heap_analyzer.allocation_sites="memray" needs memray, which cannot be imported ({error}): '
            "pip install 'memflow-async[memray]' (Linux and macOS), or choose \"tracemalloc\""
        ) from error
