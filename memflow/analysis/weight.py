"""What one result weighs: blocks of CPython's allocator and bytes beside them, found by walking what it leads to.

Covers `weigh`. It runs none of the user's code, and takes what others hold as well for somebody else's: small numbers,
names that are interned, classes, modules. So it tells what would be given back if the result were let go, roughly.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from sys import getrefcount
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from memflow.analysis.objects import safe_size

__all__ = ["BLOCK_BYTES", "weigh"]

BLOCK_BYTES = 512
"""Larger ones come from the C library."""
_LEVELS, _MOST = 5, 32
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

    Of more than 32 objects at a level some stand for all, and what is below five levels does not count: it takes
    0.3 ms at most.
    """
    blocks = native = 0.0
    seen: set[int] = set()
    level, owned, each_for = [result], _OWN_REFERENCES + _ROOT_REFERENCES, 1.0
    for _ in range(_LEVELS):
        leading: list[Any] = []
        names: list[Any] = []
        for each in level:
            kind = type(each)
            if id(each) in seen or id(kind) in _SHARED or getrefcount(each) > owned:
                continue
            seen.add(id(each))
            tracked = gc.is_tracked(each)
            if tracked or id(kind) in _LEADING:
                leading.append(each)
            if kind is dict:  # the collector is not told of them
                names += [key for key in list(each) if type(key) is str]
            own_blocks, own_bytes = _alone(each, tracked)
            blocks, native = blocks + each_for * own_blocks, native + each_for * own_bytes
        level, owned = names + (gc.get_referents(*leading) if leading else []), _OWN_REFERENCES
        if len(level) > _MOST:
            stride = -(-len(level) // _MOST)
            level, each_for = level[::stride], each_for * stride
    return blocks, native


def _alone(thing: Any, tracked: bool) -> tuple[int, int]:
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
