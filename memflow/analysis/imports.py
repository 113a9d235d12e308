"""What modules take that are imported while a program runs: growth that ends by itself. *Pure*.

Covers leaving out of each signal what it rose by while modules were imported. Nothing is left out where modules come
without end (programs that make them as they go): that is a leak like any other.
"""

from __future__ import annotations

__all__ = ["Imports"]

_MOST_SHARE = 0.5
_MEMORY = 0.95


class Imports:
    """Follows the number of modules from sample to sample."""

    def __init__(self) -> None:
        self._modules = 0
        self._share = 0.0
        self._last: dict[str, float] = {}
        self._left_out: dict[str, float] = {}

    def has_imported(self, modules: int) -> bool:
        """True where modules have come since the last sample, which they have in few samples before.

        Args:
            modules: how many are loaded.
        """
        came = modules > self._modules > 0
        self._modules = modules
        self._share = _MEMORY * self._share + (1 - _MEMORY) * came
        return came and self._share <= _MOST_SHARE

    def without(self, name: str, value: float, *, imported: bool) -> float:
        """Return a signal's value less what it has risen by in samples with imports.

        Args:
            name: the signal.
            value: what was measured, in the signal's unit.
            imported: what `has_imported` said of this sample.
        """
        left_out = self._left_out.get(name, 0.0)
        if imported:
            left_out += max(0.0, value - self._last.get(name, value))
            self._left_out[name] = left_out
        self._last[name] = value
        return value - left_out
