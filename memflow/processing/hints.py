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


def weigh(hint: SizeHint, items: Sequence[Any], start: int) -> list[float]:
    """Return the hint of each item, in bytes.

    Args:
        hint: the user's callable.
        items: the items.
        start: position of the first of them in the input, for messages.

    Raises:
        SizeHintError: the callable raised (its error is the cause), or returned no finite number >= 0.
    """
    weights = []
    for index, item in enumerate(items, start):
        try:
            value = hint(item)
        except Exception as error:
            raise SizeHintError(index, f"raised {type(error).__name__}: {error}") from error
        weights.append(_checked(value, index))
    return weights


def _checked(value: Any, index: int) -> float:
    try:
        number = float(value)
    except Exception:  # whatever a foreign `__float__` may raise
        raise SizeHintError(index, f"returned {type(value).__name__} {value!r:.40}") from None
    if not math.isfinite(number) or number < 0 or isinstance(value, str | bytes):
        raise SizeHintError(index, f"returned {value!r:.40}")
    return number
