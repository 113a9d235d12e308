"""Addresses whose pages went back to the kernel, told from those that were never touched. Pure.

Covers the count alone. Why it matters to a bound of address space is told in `memflow.memory.datalimit`.
"""

from __future__ import annotations

__all__ = ["Holes"]


class Holes:
    """Counts holes from one look at the process to the next.

    Args:
        count: How much of them there is at first, in bytes.

    Attributes:
        bytes: how much of them there is.
    """

    __slots__ = ("_data_bytes", "_resident_bytes", "bytes")

    def __init__(self, count: int = 0) -> None:
        self.bytes = count
        self._resident_bytes: int | None = None
        self._data_bytes = 0

    def add(self, *, resident_bytes: int, data_bytes: int) -> int:
        """Take note of the pages and addresses there are now; returns the holes among them.

        Pages that went while their addresses stayed are holes; pages that came without addresses have filled some.
        """
        if self._resident_bytes is not None:
            came = resident_bytes - self._resident_bytes
            widened = data_bytes - self._data_bytes - came
            if widened < 0:
                self.bytes = max(0, self.bytes + widened)
            elif came < 0:
                self.bytes += min(widened, -came)
        self._resident_bytes, self._data_bytes = resident_bytes, data_bytes
        return self.bytes
