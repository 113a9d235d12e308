"""What one result weighs: blocks of CPython's allocator and bytes beside them, found by walking what it leads to.

Covers `weigh`. It runs none of the user's code, and takes what others hold as well for somebody else's: small numbers,
names that are interned, classes, modules. So it tells what would be given back if the result were let go, roughly.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import islice
from sys import getrefcount
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from memflow.analysis.objects import safe_size

__all__ = ["BLOCK_BYTES", "weigh"]

BLOCK_BYTES = 512
"""Larger ones come from the C library."""
_LEVELS, _MOST = 5, 32
_LONG, _LEVELS_OF_LONG = 1_000, 2
"""Entries above which a list or dict is long, and levels that are looked at below it: such may hold each other."""
_OWN_REFERENCES = 4
"""References to an object that one holder holds, while it is looked at: that, the list here, the name and the call."""
_ROOT_REFERENCES = 1
"""A further one to the result itself, by the name that it was passed by."""
_HEADER_BYTES = 16
_SHARED = set(map(id, (type, ModuleType, FunctionType, CodeType, FrameType)))
_LEADING = set(map(id, (list, dict, tuple)))
_flags: Callable[[type], int] = type.__dict__["__flags__"].__get__
_MANAGED_DICT = 1 << 4
_HAS_VALUES = (3, 11) <= sys.version_info < (3, 13)
"""Attributes of an instance are in a block of their own, which no size tells of."""
_HEADS = {id(kind): kind.__basicsize__ + _HEADER_BYTES for kind in (list, dict)}


def weigh(result: Any) -> tuple[float, float]:
    """Return the blocks and the bytes beside them that a result holds by itself.

    Of more than 32 objects at a level some stand for all, what is below five levels does not count, and of a long list
    or dict some entries are looked at, so that it takes no longer for a million entries than for a thousand.
    """
    return _weigh([result], _OWN_REFERENCES + _ROOT_REFERENCES, _LEVELS)


def _weigh(level: list[Any], owned: int, levels: int) -> tuple[float, float]:
    blocks = native = 0.0
    seen: set[int] = set()
    each_for = 1.0
    for depth in range(levels):
        leading: list[Any] = []
        names: list[Any] = []
        for each in level:
            kind = type(each)
            if id(each) in seen or id(kind) in _SHARED or getrefcount(each) > owned:
                continue
            seen.add(id(each))
            tracked = gc.is_tracked(each)
            own_blocks, own_bytes = _alone(each, tracked)
            if id(kind) in _HEADS and len(each) > _LONG:
                share = len(each) / _MOST
                below = _weigh(_some_of(each), _OWN_REFERENCES, min(levels - depth - 1, _LEVELS_OF_LONG))
                own_blocks, own_bytes = own_blocks + share * below[0], own_bytes + share * below[1]
            elif tracked or id(kind) in _LEADING:
                leading.append(each)
                if kind is dict:  # the collector is not told of them
                    names += [key for key in list(each) if type(key) is str]
            blocks, native = blocks + each_for * own_blocks, native + each_for * own_bytes
        level, owned = names + (gc.get_referents(*leading) if leading else []), _OWN_REFERENCES
        if len(level) > _MOST:
            stride = -(-len(level) // _MOST)
            level, each_for = level[::stride], each_for * stride
    return blocks, native


def _some_of(container: Any) -> list[Any]:
    """Return 32 entries of a long list, from all over it, or 32 keys and values of a dict."""
    if type(container) is list:
        return container[:: len(container) // _MOST][:_MOST]
    return [*islice(container, _MOST), *islice(container.values(), _MOST)]


def _alone(thing: Any, tracked: bool) -> tuple[float, float]:
    """Return the blocks and bytes of one object, without what it leads to."""
    kind = type(thing)
    size = safe_size(thing) + _HEADER_BYTES * tracked
    blocks = 0
    if id(kind) in _HEADS:  # its head, and its table of entries
        blocks, size = 1, size - _HEADS[id(kind)]
    elif _HAS_VALUES and _flags(kind) & _MANAGED_DICT:
        blocks = 1
    if size > BLOCK_BYTES:
        return blocks, size
    return blocks + (size > 0), 0
