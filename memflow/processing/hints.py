"""Size hints: from the user's callable to weights that can be relied on.

Covers calling and checking. What a hint is worth in real bytes is learnt in `memflow.sizing.cost`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, SupportsFloat

from memflow.exceptions import SizeHintError

__all__ = ["SizeHint", "weigh"]

SizeHint = Callable[[Any], SupportsFloat]


def weigh(
    hint: SizeHint, items: Sequence[Any], start: int, place: Callable[[int], int] = lambda ordinal: ordinal
) -> list[float]:
    """Return the hint of each item, in bytes.

    Args:
        hint: the user's callable.
        items: the items.
        start: number of the first of them, for messages.
        place: gives the position in the input of the n-th of them.

    Raises:
        SizeHintError: the callable raised (its error is the cause), or returned no finite number >= 0.
    """
    weights = []
    for index, item in enumerate(items, start):
        try:
            value = hint(item)
        except Exception as error:
            raise SizeHintError(place(index), f"raised {type(error).__name__}: {error}") from error
        try:
            weights.append(_checked(value))
        except ValueError as error:
            raise SizeHintError(place(index), str(error)) from None
    return weights


def _checked(value: Any) -> float:
    try:
        number = float(value)
    except Exception:  # whatever a foreign `__float__` may raise
        raise ValueError(f"returned {type(value).__name__} {value!r:.40}") from None
    if not math.isfinite(number) or number < 0 or isinstance(value, str | bytes):
        raise ValueError(f"returned {value!r:.40}")
    return number
