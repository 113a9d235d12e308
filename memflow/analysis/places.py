"""What is known of a place in the code: whose file it is, and which function the line belongs to.

Covers looking that up, by paths and in the modules that are loaded; no source is read. What it is used for is
`memflow.analysis.sites`'.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from memflow.analysis.objects import LRU_TYPE
from memflow.analysis.sites import Belongs, Frame

__all__ = ["belongs", "function_at"]

_LOOPS = ("anyio", "trio", "outcome", "sniffio")
_TRACERS = ("memray",)
_DEPTH = 3
"""Of classes within classes."""


def belongs(file: str) -> Belongs:
    """Say whose a file is, by where it lies."""
    if file.startswith("<frozen"):
        return Belongs.LIBRARY
    return next((whose for part, whose in _parts() if part in file), Belongs.PROGRAM)


@lru_cache(maxsize=1)
def _parts() -> tuple[tuple[str, Belongs], ...]:
    """Return parts of paths, the more special before the more general, and whose they are."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    library = os.path.abspath(sysconfig.get_path("stdlib")) + os.sep
    return (
        (os.path.join(ours, "examples") + os.sep, Belongs.PROGRAM),
        (ours, Belongs.OURS),
        (os.path.join(library, "asyncio", "events.py"), Belongs.LOOP),
        (os.path.join(library, "tracemalloc.py"), Belongs.OURS),
        *((f"-packages{os.sep}{name}{os.sep}", Belongs.LIBRARY) for name in _LOOPS),
        *((f"-packages{os.sep}{name}{os.sep}", Belongs.OURS) for name in _TRACERS),
        (f"-packages{os.sep}", Belongs.PROGRAM),
        (library, Belongs.LIBRARY),
    )


def function_at(frame: Frame) -> str:
    """Return the qualified name of the function that a line belongs to; "" where none of the loaded modules has it."""
    found = ""
    for code in _codes_of(frame.file):
        lines = [line for _, _, line in code.co_lines() if line]
        # The innermost comes last: a function's code is among the constants of what defines it.
        if lines and min(lines) <= frame.line <= max(lines) and frame.line in lines:
            found = code.co_qualname
    return found


def _codes_of(file: str) -> Iterator[CodeType]:
    name = os.path.basename(file)
    for module_name, module in list(sys.modules.items()):
        names = _names_of(module)
        if module_name != "__main__" and os.path.basename(names.get("__file__") or "") != name:
            continue
        for function in _functions_in(names, names.get("__name__")):
            if function.__code__.co_filename == file:
                yield from _with_inner(function.__code__)


def _names_of(module: object) -> Mapping[str, Any]:
    # Past the attributes of a module that is loaded when somebody asks for one.
    return ModuleType.__getattribute__(module, "__dict__") if issubclass(type(module), ModuleType) else {}


def _functions_in(names: Mapping[str, Any], module: object, depth: int = 0) -> Iterator[FunctionType]:
    """Yield functions and methods; by exact types, so that nobody's attributes are computed."""
    for thing in list(names.values()):
        if issubclass(type(thing), type):
            own = type.__getattribute__(thing, "__dict__")
            if depth < _DEPTH and own.get("__module__") == module:
                yield from _functions_in(own, module, depth + 1)
            continue
        if type(thing) is property:
            thing = thing.fget
        elif type(thing) in (staticmethod, classmethod):
            thing = thing.__func__
        if type(thing) is LRU_TYPE:
            thing = vars(thing).get("__wrapped__")
        while type(thing) is FunctionType:
            yield thing
            thing = thing.__dict__.get("__wrapped__")


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)
