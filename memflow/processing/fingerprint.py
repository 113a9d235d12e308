"""A fingerprint of the input, where one can be had without reading it: its length, its first and its last item.

Covers sequences. Of a generator nothing is known before it runs; a run over one is recognised by its operation alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

__all__ = ["fingerprint_of"]

_PLAIN = (str, bytes, int, float, bool, type(None))


def fingerprint_of(items: Any) -> dict[str, str | int]:
    """Return what tells one input from another, by name; empty where nothing does.

    Only plain items (texts, numbers, tuples of them) are looked at: the `repr` of others may differ from run to run.
    """
    if not isinstance(items, Sequence):
        return {}
    try:
        found: dict[str, str | int] = {"length": len(items)}
        if found["length"]:
            ends = {"first item": items[0], "last item": items[-1]}
            found |= {name: _digest(item) for name, item in ends.items() if _is_plain(item)}
    except Exception:  # a sequence of the user's own, which says what it will when it is read
        return {}
    return found


def _is_plain(item: Any) -> bool:
    return type(item) in _PLAIN or (type(item) is tuple and all(map(_is_plain, item)))


def _digest(item: Any) -> str:
    return blake2b(repr(item).encode(errors="surrogatepass"), digest_size=8).hexdigest()
