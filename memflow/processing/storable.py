"""The input of a failed item, as it is recorded: JSON where it can be, its `repr` otherwise."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

__all__ = ["input_of"]

_MOST_BYTES = 1 << 20
_MOST_TEXT = 1_000


def input_of(item: Any) -> bytes | None:
    """Return an item in JSON, at most 1 MiB of it; None where it says nothing of itself that can be kept."""
    try:
        found = to_json(item)
    except Exception:  # no JSON, or a class of the user's own that raises
        try:
            found = to_json(repr(item)[:_MOST_TEXT])
        except Exception:
            return None
    return found if len(found) <= _MOST_BYTES else None
