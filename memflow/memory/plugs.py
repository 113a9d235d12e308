"""Holding the holes of the heap, so that nothing fills them while one item runs alone.

Covers taking and releasing them. A heap that was trimmed has addresses without pages. What an item asks for either
fits into them or needs addresses of its own, and nobody knows which; a bound of address space that allows for both lets
in twice as much (`memflow.memory.datalimit`). Once the holes are taken, there is only the bound.

How: with RLIMIT_DATA at exactly what there is, whatever `malloc` still gives comes out of what the heap has free, from
whichever arena, since glibc tries the first one again when its own is refused. It is never written to, so that it costs
a page for each piece. The interpreter's lock is held meanwhile: no other thread of Python meets that limit.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Plugs"]

_LARGEST_BYTES = 256 << 20
_SMALLEST_BYTES = 1 << 20


class Plugs:
    """Pieces of the heap's free memory that are held.

    Attributes:
        bytes: how much.
    """

    def __init__(self) -> None:
        self._held: list[int] = []
        self.bytes = 0
        self._library: Any = None

    def take(self, stop_growth: Callable[[], bool], *, most_bytes: int) -> None:
        """Take what the heap has free, in pieces of at least 1 MiB.

        Args:
            stop_growth: Sets the limit to what there is; False where it can't, and then nothing is taken. Whoever calls
                this sets the limit anew afterwards.
            most_bytes: When to stop, should the limit be none.
        """
        library = self._find()
        if library is None or self._held or not stop_growth():
            return
        size = _LARGEST_BYTES
        try:
            while size >= _SMALLEST_BYTES and self.bytes < most_bytes:
                place = library.malloc(size)
                if place:
                    self._held.append(place)
                    self.bytes += size
                else:
                    size //= 2
        except MemoryError:
            pass  # the interpreter itself found no room: what is held by now has to do

    def release(self) -> None:
        """Give everything back to the heap."""
        held, self._held, self.bytes = self._held, [], 0
        for place in held:
            self._library.free(place)

    def _find(self) -> Any:
        if self._library is None and sys.platform == "linux":
            try:
                library = ctypes.PyDLL(None)
                library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
                library.free.restype, library.free.argtypes = None, (ctypes.c_void_p,)
                self._library = library
            except (OSError, AttributeError):
                return None
        return self._library
