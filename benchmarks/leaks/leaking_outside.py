"""Programs that leak outside of Python's own objects: the C library's heap, descriptors, threads.

Covers Linux and macOS; leaked bytes of descriptors are what the kernel keeps for each, roughly.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import threading
from random import Random

from benchmarks.leaks.program import LEDGER, Item, Program, blob, by_name, leaking

__all__ = ["PROGRAMS", "allocate", "free"]

open_connections: list[socket.socket] = []
frames_kept: list[ctypes.Array[ctypes.c_char]] = []

_DESCRIPTOR_BYTES = 256
_SPARE_DESCRIPTORS = 100
_NATIVE = ("native", "C library's heap")
_DESCRIPTORS = ("descriptors",)
_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


def allocate(size: int) -> int:
    """Take bytes from the C library, and write to them so that they are resident."""
    address = int(_libc.malloc(size) or 0)
    if not address:
        raise MemoryError(f"the C library gave no {size} bytes; lower the items of the run")
    ctypes.memset(address, 1, size)
    return address


def free(address: int) -> None:
    """Give bytes back to the C library."""
    _libc.free(address)


@leaking(message=_NATIVE)
def malloc_small(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        for _ in range(12):
            allocate(size := rng.randint(16, 128))
            LEDGER.leak(size)

    return item


@leaking(message=_NATIVE)
def malloc_medium(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        allocate(size := rng.randint(500, 3_500))
        LEDGER.leak(size)

    return item


@leaking(message=_NATIVE)
def malloc_large_and_rare(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        if number % 100 == 31:
            allocate(size := rng.randint(150_000, 300_000))
            LEDGER.leak(size)

    return item


@leaking(message=_NATIVE, begins=0.5)
def late_malloc(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        if number >= items // 2:
            allocate(size := rng.randint(1_000, 4_000))
            LEDGER.leak(size)

    return item


@leaking("frames_kept")
def ctypes_buffers(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        frames_kept.append(ctypes.create_string_buffer(blob(rng, 1_000, 3_000)))
        LEDGER.leak(2_200)

    return item


def _descriptors_to_leak(items: int, each: int) -> int:
    """Raise the limit of descriptors, and return one of how many items may leak one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = items // each + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = items if soft == resource.RLIM_INFINITY else soft - _SPARE_DESCRIPTORS
    return max(each, -(-items // room))


@leaking(message=_DESCRIPTORS)
def open_files(rng: Random, items: int) -> Item:
    each = _descriptors_to_leak(items, 15)

    async def item(number: int) -> None:
        if number % each == 0:
            os.open(os.devnull, os.O_RDONLY)
            LEDGER.leak(_DESCRIPTOR_BYTES)

    return item


@leaking("open_connections", "socket", message=_DESCRIPTORS)
def open_sockets(rng: Random, items: int) -> Item:
    each = _descriptors_to_leak(items, 25)

    async def item(number: int) -> None:
        if number % each == 0:
            open_connections.append(socket.socket())
            LEDGER.leak(_DESCRIPTOR_BYTES + 800)

    return item


@leaking("wait_for_end", "Thread", message=("threads have grown", "threads that"))
def endless_threads(rng: Random, items: int) -> Item:
    never = threading.Event()
    threading.stack_size(256 << 10)

    def wait_for_end(body: bytes) -> None:
        never.wait()

    async def item(number: int) -> None:
        if number % max(150, items // 200) == 0:
            threading.Thread(target=wait_for_end, args=(blob(rng, 60_000, 90_000),), daemon=True).start()
            LEDGER.leak(90_000)

    return item


PROGRAMS: dict[str, Program] = by_name(
    (
        malloc_small,
        malloc_medium,
        malloc_large_and_rare,
        late_malloc,
        ctypes_buffers,
        open_files,
        open_sockets,
        endless_threads,
    )
)
