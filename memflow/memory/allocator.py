"""The heaps inside the process: what they hold, what they keep though it was freed, and handing that back.

Covers CPython's own allocator (its count of blocks) and the C library's (glibc's figures, `malloc_trim`, the mmap
threshold, the number of arenas). When to trim is decided in `memflow.memory.reclaim`; RSS is `memflow.memory.probe`.

Everything here is guarded: on musl, macOS and Windows, or under another allocator, the native figures are None
and the functions return False. `allocator_notes()` says what is missing and why.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import os
import sys
import time
from typing import Any

from memflow.memory.readings import AllocatorReading

__all__ = [
    "MMAP_THRESHOLD",
    "allocator_name",
    "allocator_notes",
    "mmap_threshold_is_set",
    "pin_mmap_threshold",
    "read_allocator",
    "share_arena",
    "trim",
    "unpin_mmap_threshold",
]

# mallinfo2 walks every free chunk: 1 µs on a fresh heap, 150 ms on a badly fragmented one.
_SLOW_S = 0.005
MMAP_THRESHOLD = 128 * 1024
"""What glibc itself starts with, bytes; pinned, it no longer rises."""

_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8  # malloc.h
_MOST_MMAP_THRESHOLD = 32 * 1024 * 1024
_RIVALS = {"mallctl": "jemalloc", "tc_version": "tcmalloc", "mi_version": "mimalloc"}
_MALLINFO_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`; see mallinfo(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO_FIELDS]


class _Glibc:
    """The C library's malloc, as far as it can be reached: each function is None where it cannot."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.name = _libc_name()
        library = _load()
        self.rival = next((name for symbol, name in _RIVALS.items() if hasattr(library, symbol)), None)
        reachable = library if self.rival is None and self.name.startswith("glibc") else None
        self.mallinfo2 = _function(reachable, "mallinfo2", _MallInfo)
        self.malloc_trim = _function(reachable, "malloc_trim", ctypes.c_int, ctypes.c_size_t)
        self.mallopt = _function(reachable, "mallopt", ctypes.c_int, ctypes.c_int, ctypes.c_int)
        if self.mallinfo2 is None:
            self.notes.append(f"{self.rival or self.name} does not tell what its heap holds; only RSS does")

    def read(self) -> _MallInfo | None:
        """The heap's figures, or None; given up for good after one slow call."""
        mallinfo2 = self.mallinfo2
        if mallinfo2 is None:
            return None
        # Processor time of this thread: waiting for the interpreter's lock afterwards is no fault of the heap.
        start = time.thread_time()
        found: _MallInfo = mallinfo2()
        spent = time.thread_time() - start
        if spent > _SLOW_S:
            self.mallinfo2 = None
            self.notes.append(
                f"mallinfo2 took {spent * 1000:.0f} ms on this fragmented heap and is not called again; "
                "native heap figures are missing from here on"
            )
        return found


def _load() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # TypeError on Windows, where there is no global namespace of symbols
        return None


def _function(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name, None)
    if function is not None:
        function.restype, function.argtypes = result, arguments
    return function


def _libc_name() -> str:
    if sys.platform == "win32":
        return "Windows heap"
    if sys.platform == "darwin":
        return "macOS libmalloc"
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        version = None
    return version or ("musl" if glob.glob("/lib/ld-musl-*") else "an unknown C library")


@functools.cache
def _glibc() -> _Glibc:
    return _Glibc()


def read_allocator() -> AllocatorReading:
    """Ask the allocators themselves.

    Takes microseconds on a small heap and grows with it: CPython's count takes 50 µs at a million objects. A call
    to the C library that takes longer than 5 ms is the last one.

    Returns:
        Blocks of CPython's allocator, and live and freed bytes of the C library's, or None where it cannot tell.
    """
    found = _glibc().read()
    if found is None:
        return AllocatorReading(sys.getallocatedblocks(), None, None)
    return AllocatorReading(
        blocks=sys.getallocatedblocks(),
        native_live_bytes=found.uordblks + found.hblkhd,
        native_free_bytes=found.fordblks,
    )


def trim() -> bool:
    """Hand freed heap back to the kernel, on glibc.

    Takes about 44 ms for each GiB given back, without holding the interpreter's lock: call it off the event loop.

    Returns:
        True if anything was given back.
    """
    malloc_trim = _glibc().malloc_trim
    return malloc_trim is not None and malloc_trim(0) == 1


def pin_mmap_threshold(threshold_bytes: int) -> bool:
    """Have blocks of at least this size come from the kernel, and go back there once freed, on glibc.

    Otherwise glibc raises the threshold by itself, up to 32 MiB, with the first large block that is freed, and
    keeps freed blocks below it from then on: the usual reason for RSS that never falls.

    Args:
        threshold_bytes: From 0 to 32 MiB; 128 KiB is what glibc starts with.

    Returns:
        True if it took effect. It holds until it is set anew; glibc does not raise it by itself any more.
    """
    mallopt = _glibc().mallopt
    if mallopt is None or not 0 <= threshold_bytes < 2**31 or mallopt(_M_MMAP_THRESHOLD, threshold_bytes) != 1:
        return False
    _move_trim_threshold(MMAP_THRESHOLD)
    return True


def unpin_mmap_threshold(untrimmed_bytes: int) -> bool:
    """Have blocks of up to 32 MiB come from the heap, and stay there once freed, on glibc.

    As glibc itself has it once a block of 32 MiB was freed.

    Args:
        untrimmed_bytes: What glibc leaves free at the heap's end; at most 64 MiB, which is what it leaves then.

    Returns:
        True if it took effect.
    """
    mallopt = _glibc().mallopt
    if mallopt is None or mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP_THRESHOLD) != 1:
        return False
    _move_trim_threshold(min(untrimmed_bytes, 2 * _MOST_MMAP_THRESHOLD))
    return True


def _move_trim_threshold(threshold_bytes: int) -> None:
    mallopt = _glibc().mallopt
    if mallopt is not None and not _is_set("MALLOC_TRIM_THRESHOLD_", "trim_threshold"):
        mallopt(_M_TRIM_THRESHOLD, threshold_bytes)


def mmap_threshold_is_set() -> bool:
    """True where whoever started this process chose the threshold, so that it should be left alone."""
    return _is_set("MALLOC_MMAP_THRESHOLD_", "mmap_threshold")


def share_arena() -> bool:
    """Have threads that are started from now on allocate from the arenas that there are: mostly from one, on glibc.

    Otherwise each gets one of its own, up to eight for each processor. What one thread has freed is no use to another
    then, and its addresses count against RLIMIT_DATA for good. There is no way back; see mallopt(3), M_ARENA_MAX.

    Returns:
        True if it took effect; False too where the environment says how many arenas there are to be.
    """
    mallopt = _glibc().mallopt
    if mallopt is None or _is_set("MALLOC_ARENA_MAX", "arena_max"):
        return False
    return bool(mallopt(_M_ARENA_MAX, 1) == 1)


def _is_set(variable: str, tunable: str) -> bool:
    return variable in os.environ or f"glibc.malloc.{tunable}" in os.environ.get("GLIBC_TUNABLES", "")


def allocator_name() -> str:
    """Name the allocators in use, such as `pymalloc over glibc 2.36`."""
    libc = _glibc()
    native = f"{libc.rival} in place of {libc.name}" if libc.rival else libc.name
    # Under PYTHONMALLOC=malloc, CPython counts no blocks at all.
    if sys.getallocatedblocks() == 0:
        return f"{native} (PYTHONMALLOC={os.environ.get('PYTHONMALLOC', 'malloc')}, no pymalloc)"
    chosen = os.environ.get("PYTHONMALLOC", "").removesuffix("_debug")
    return f"{chosen if chosen == 'mimalloc' else 'pymalloc'} over {native}"


def allocator_notes() -> tuple[str, ...]:
    """What the allocators cannot tell here, and why; empty where everything is known."""
    off = "CPython's allocator is switched off, so its blocks are not counted (PYTHONMALLOC)"
    return (*_glibc().notes, *((off,) if sys.getallocatedblocks() == 0 else ()))
