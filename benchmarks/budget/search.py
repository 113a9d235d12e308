"""The best fixed setting that a patient person would find by hand: the fastest one that survives every seed.

Covers the search and its cache. It goes downwards from where everything dies, since a killed run is short, and stops
once two settings in a row were slower than the best, or one by a fifth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

__all__ = ["Best", "Cache", "search", "search_grid"]

_SLOWER = 0.95
_FINALISTS = 3
_FAR_SLOWER = 0.8


@dataclass(frozen=True, slots=True)
class Best:
    """What was found."""

    setting: int | None
    """The setting; None where none survived."""
    rate: float
    """Its median of pieces a second over the seeds."""
    killed: tuple[int, ...]
    """Settings that were killed on some seed."""


def search(ladder: Sequence[int], seeds: Sequence[int], rate: Callable[[int, int], float]) -> Best:
    """Find the best setting.

    Args:
        ladder: Settings to try.
        seeds: All of which it must survive.
        rate: (setting, seed) -> pieces a second, 0 where it did not survive.
    """
    best: tuple[float, int] | None = None
    killed: list[int] = []
    slower = 0
    for setting in sorted(ladder, reverse=True):
        rates: list[float] = []
        for seed in seeds:
            rates.append(rate(setting, seed))
            if not rates[-1]:
                break
        if not rates[-1]:
            killed.append(setting)
            continue
        found = median(rates)
        slower = slower + 1 if best is not None and found < _SLOWER * best[0] else 0
        if best is None or found > best[0]:
            best = (found, setting)
        if slower == 2 or found < _FAR_SLOWER * best[0]:
            break
    if best is None:
        return Best(None, 0.0, tuple(killed))
    return Best(best[1], best[0], tuple(killed))


def search_grid(grid: Sequence[int], seeds: Sequence[int], rate: Callable[[int, int], float]) -> Best:
    """Find the best setting where neighbours in the grid need not be alike: all on one seed, the best three on all.

    Args:
        grid: Settings to try.
        seeds: All of which it must survive.
        rate: (setting, seed) -> pieces a second, 0 where it did not survive.
    """
    first = {setting: rate(setting, seeds[0]) for setting in grid}
    killed = [setting for setting, found in first.items() if not found]
    finalists: dict[int, float] = {}
    for setting in sorted(first, key=lambda each: first[each], reverse=True):
        if not first[setting] or len(finalists) == _FINALISTS:
            break
        rates = [first[setting]]
        for seed in seeds[1:]:
            rates.append(rate(setting, seed))
            if not rates[-1]:
                killed.append(setting)
                break
        else:
            finalists[setting] = median(rates)
    if not finalists:
        return Best(None, 0.0, tuple(killed))
    best = max(finalists, key=lambda each: finalists[each])
    return Best(best, finalists[best], tuple(killed))


class Cache:
    """Keeps what was found, so that tuning needs no search each time.

    Args:
        path: A file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found = json.loads(path.read_text()) if path is not None and path.exists() else {}

    def get(self, key: str, find: Callable[[], Best]) -> Best:
        """Return what is known under a key, or find and keep it."""
        if key in self._found:
            setting, rate, killed = self._found[key]
            return Best(setting, rate, tuple(killed))
        best = find()
        self._found[key] = (best.setting, best.rate, best.killed)
        if self._path is not None:
            self._path.write_text(json.dumps(self._found))
        return best
