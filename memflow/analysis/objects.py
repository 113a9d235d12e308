"""Reading objects of the program's without running any of their code.

Covers names of types, code and functions, lengths, entries, attributes and sizes.

Users' classes are hostile here: a `__len__`, a `__repr__` or a property may hang, raise or change what it is asked
about. Only descriptors of builtin types are called.
"""

from __future__ import annotations

import _io
import _socket
import gc
import re
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain, compress, islice, repeat, starmap
from operator import attrgetter, indexOf, is_, is_not
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

__all__ = [
    "LRU_TYPE",
    "WORKER_CODES",
    "attributes",
    "bases",
    "cached_name",
    "entries_of",
    "frame_name",
    "frame_of",
    "frozen_objects",
    "function_name",
    "group_of",
    "is_a",
    "is_container",
    "is_flat",
    "is_grouped",
    "is_sized",
    "length_of",
    "local_name",
    "module_dicts",
    "module_of",
    "name_in",
    "pinned_by",
    "place",
    "referrers",
    "safe_size",
    "thread_group",
    "tracked_objects",
    "type_name",
    "without_tuples",
    "worker_name",
]

LRU_TYPE: type = type(lru_cache(lambda: None))
"""What `functools.lru_cache` returns."""
# By the ids of types: a metaclass may have a `__hash__` and an `__eq__` of its own.
WORKER_CODES: dict[int, tuple[str, Callable[[Any], CodeType]]] = {
    id(CoroutineType): ("coroutine", attrgetter("cr_code")),
    id(GeneratorType): ("generator", attrgetter("gi_code")),
    id(AsyncGeneratorType): ("async generator", attrgetter("ag_code")),
}
_CONTAINERS = set(map(id, (dict, list, set, tuple, deque, frozenset)))
# A frame's locals are a view from 3.13 on; before, reading them leaves a copy behind in the frame.
_LOCALS_ARE_A_VIEW = sys.version_info >= (3, 13)
_OPTIMIZED = 1
_MOST_TUPLES = 100

_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_class_dict: Callable[[type], Any] = type.__dict__["__dict__"].__get__
_module_dict: Callable[[ModuleType], Any] = vars(ModuleType)["__dict__"].__get__
_class_module: Callable[[type], Any] = type.__dict__["__module__"].__get__
_file_closed: Callable[[Any], bool] = _io.FileIO.__dict__["closed"].__get__
_class_qualname: Callable[[type], str] = type.__dict__["__qualname__"].__get__


def bases(cls: type) -> tuple[type, ...]:
    """Return the method resolution order, whatever the metaclass says."""
    return _mro(cls)


def is_a(cls: type, base: type) -> bool:
    """Return `issubclass`, asking no metaclass."""
    return any(each is base for each in bases(cls))


def is_container(cls: type) -> bool:
    """True for the builtin containers themselves."""
    return id(cls) in _CONTAINERS


def type_name(cls: type) -> str:
    """Name a class as "app.Order"; builtins go without their module."""
    try:
        module = _class_module(cls)
    except AttributeError:
        module = None
    name = str(_class_qualname(cls))
    return name if type(module) is not str or module == "builtins" else f"{module}.{name}"


def place(code: CodeType) -> str:
    """Say where code is, as "jobs.py:12"."""
    return f"{code.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{code.co_firstlineno}"


def function_name(function: FunctionType) -> str:
    """Name a function as "app.Model.score"."""
    module, name = function.__module__, function.__qualname__
    return f"{module}.{name}" if type(module) is str else name


def module_of(names: dict[str, Any]) -> str:
    """Return the name of the module whose names these are."""
    name = dict.get(names, "__name__")
    return name if type(name) is str else "?"


def frame_name(frame: FrameType) -> str:
    """Name a frame's function as "app.poll (jobs.py:12)"."""
    return f"{module_of(frame.f_globals)}.{frame.f_code.co_qualname} ({place(frame.f_code)})"


def frame_of(worker: Any) -> FrameType | None:
    """Return the frame of a coroutine or generator; None where it has ended."""
    kind = type(worker)
    prefix = "cr" if kind is CoroutineType else "gi" if kind is GeneratorType else "ag"
    frame = getattr(worker, f"{prefix}_frame")
    return frame if type(frame) is FrameType else None


def module_dicts() -> dict[int, tuple[str, Any]]:
    """Return the attributes of all modules that are loaded: by their id, with the module's name."""
    found: dict[int, tuple[str, Any]] = {}
    for name, module in sys.modules.copy().items():
        if type(name) is str and is_a(type(module), ModuleType):
            found.setdefault(id(_module_dict(module)), (name, _module_dict(module)))
    return found


def without_tuples(source: Callable[..., list[Any]], *args: Any) -> list[Any]:
    """Return what a function of `gc` does, but for tuples, none of which is ever at hand in Python.

    A tuple that another thread is building may be among them, and while anybody else holds it, it cannot be resized:
    that thread would meet a SystemError. So it is all one call of C, which the interpreter's lock is not taken from:
    fill a list, keep what is no tuple, empty the list.
    """
    every: list[Any] = []
    kept: list[Any] = []
    references = sys.getrefcount(kept)
    nothing = repeat(False)
    fill = compress(map(every.extend, starmap(source, [args])), nothing)
    keep = compress(every, map(is_not, map(type, every), repeat(tuple)))
    clear = compress(starmap(every.clear, [()]), nothing)
    kept.extend(chain(fill, keep, clear))
    if sys.getrefcount(kept) > references:  # it is an object itself, and would hold itself for ever
        with suppress(ValueError):  # or somebody else who looks holds it
            del kept[indexOf(map(id, kept), id(kept))]
    return kept


def referrers(*things: Any) -> list[Any]:
    """Return what the collector knows to refer to some objects; of tuples, closures and defaults, and some others.

    One call of C (about 50 ms for a million objects, twice where there are tuples) in which no other thread runs; to go
    through the heap in slices takes ten times as long, and keeps alive meanwhile whatever the program lets go of.
    """
    every: list[Any] = []
    kept: list[Any] = []
    functions: list[FunctionType] = []
    tuples: list[Any] = []
    second: list[Any] = []
    nothing = repeat(False)
    fill = compress(map(every.extend, starmap(gc.get_referrers, [things])), nothing)
    keep = compress(every, map(is_not, map(type, every), repeat(tuple)))
    found = compress(every, map(is_, map(type, every), repeat(tuple)))
    pick = compress(map(tuples.extend, [islice(found, _MOST_TUPLES)]), nothing)
    ask = compress(map(second.extend, starmap(gc.get_referrers, filter(None, [tuples]))), nothing)
    those = compress(second, map(is_, map(type, second), repeat(FunctionType)))
    close = compress(map(functions.extend, [those]), nothing)
    clear = compress(map(list.clear, [every, second]), nothing)
    kept.extend(chain(fill, keep, pick, ask, close, clear))
    held = set(map(id, things))
    closures = (each for function in functions for each in (function.__closure__, function.__defaults__))
    kept += (each for each in closures if each and not held.isdisjoint(map(id, each)))
    known = {id(things), *map(id, kept)}
    return kept + [each for each in tuples if id(each) not in known]


def tracked_objects(generation: int) -> list[Any]:
    """Return what the collector knows of a generation, but for tuples; see `without_tuples`."""
    return without_tuples(gc.get_objects, generation)


def frozen_objects() -> list[Any]:
    """Return what modules hold and `gc.freeze` has hidden, with what that holds; empty where nothing is frozen."""
    if not gc.get_freeze_count():
        return []
    first = [values for _, values in module_dicts().values()]
    second = [each for each in gc.get_referents(*first) if gc.is_tracked(each) and type(each) is not ModuleType]
    third = [each for each in gc.get_referents(*second[:100_000]) if gc.is_tracked(each)]
    return list({id(each): each for each in [*first, *second, *third]}.values())


_LENGTHS: dict[int, Callable[[Any], int]] = {id(cls): cls.__len__ for cls in (dict, list, set, deque, bytearray, array)}
_TRACE = BaseException.__dict__["__traceback__"].__get__
_lru_dict: Callable[[Any], Any] = LRU_TYPE.__dict__["__dict__"].__get__
_thread_dict = threading.Thread.__dict__["__dict__"].__get__
_GROUPED = {*WORKER_CODES, *map(id, (TracebackType, _io.FileIO, _socket.socket))}


def is_sized(cls: type) -> bool:
    """True for a container whose length is known without running a class's own code."""
    return cls is LRU_TYPE or any(id(base) in _LENGTHS for base in bases(cls))


def is_flat(cls: type) -> bool:
    """True for what holds plain numbers in one block, of which the collector knows nothing."""
    return cls is bytearray or cls is array


def length_of(thing: Any) -> int:
    """Return the entries of a container; 0 for anything else."""
    cls = type(thing)
    if cls is LRU_TYPE:
        return int(LRU_TYPE.__dict__["cache_info"](thing).currsize)
    return next((_LENGTHS[id(base)](thing) for base in bases(cls) if id(base) in _LENGTHS), 0)


def entries_of(thing: Any, most: int) -> list[Any]:
    """Return the newest entries of a container, keys and values; fewer where it changes meanwhile."""
    cls = type(thing)
    try:
        if is_a(cls, list):
            return list.__getitem__(thing, slice(-most, None))
        if is_a(cls, dict):
            return list(islice(reversed(dict.values(thing)), most)) or []
        if is_a(cls, deque):
            return list(islice(deque.__reversed__(thing), most))
        if is_a(cls, set):
            return list(islice(set.__iter__(thing), most))
    except RuntimeError:
        return []
    if cls is not LRU_TYPE or length_of(thing) > 100_000:
        return []
    other = set(map(id, (type, FunctionType, dict)))
    return [each for each in gc.get_referents(thing) if id(type(each)) not in other][-most:]


def is_grouped(cls: type) -> bool:
    """True for objects that are counted by more than their type: by their code, or whether they are open."""
    return any(id(base) in _GROUPED for base in bases(cls))


def group_of(thing: Any) -> tuple[str, str]:
    """Return the kind and the name under which an object is counted."""
    cls = type(thing)
    if id(cls) in WORKER_CODES:
        kind, member = WORKER_CODES[id(cls)]
        code = member(thing)
        return kind, f"{code.co_qualname} ({place(code)})"
    if cls is TracebackType:
        code = thing.tb_frame.f_code
        return "traceback", f"{code.co_qualname} ({place(code)})"
    if is_a(cls, _io.FileIO) and not _file_closed(thing):
        return "file", type_name(cls)
    if is_a(cls, _socket.socket) and _socket.socket.fileno(thing) >= 0:
        return "socket", type_name(cls)
    return "type", type_name(cls)


def worker_name(worker: Any) -> str:
    """Name the function of a coroutine or generator, with its module where that is known."""
    frame = frame_of(worker) if id(type(worker)) in WORKER_CODES else None
    return group_of(worker)[1] if frame is None else frame_name(frame)


def thread_group(thread: Any) -> tuple[str, str]:
    """Return "thread", and the function that a thread runs, or the pattern of its name."""
    values = _thread_dict(thread)
    target = values.get("_target")
    target = target.__func__ if type(target) is MethodType else target
    if type(target) is FunctionType:
        return "thread", f"{function_name(target)} ({place(target.__code__)})"
    name = values.get("_name")
    return "thread", f"{type_name(type(thread))} {re.sub('[0-9]+', 'N', name) if type(name) is str else ''}"


def pinned_by(thing: Any) -> list[str]:
    """Return the functions whose frames an exception's traceback keeps."""
    if not is_a(type(thing), BaseException):
        return []
    names: list[str] = []
    trace = _TRACE(thing)
    while trace is not None and len(names) < 10:
        names.append(f"{trace.tb_frame.f_code.co_qualname} ({place(trace.tb_frame.f_code)})")
        trace = trace.tb_next
    return names


def safe_size(thing: Any) -> int:
    """Return the bytes of an object by itself; a `__sizeof__` written in Python is passed over."""
    for cls in bases(type(thing)):
        method = _class_dict(cls).get("__sizeof__")
        if type(method) is MethodDescriptorType:
            return int(method(thing))
    return 16


def attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values that an object holds, in slots and in its `__dict__`."""
    with_dict = False
    for cls in bases(type(thing)):
        for name, descriptor in list(_class_dict(cls).items()):
            if type(descriptor) is MemberDescriptorType:
                try:
                    yield name, descriptor.__get__(thing)
                except AttributeError:  # a slot that is empty
                    continue
            elif name == "__dict__" and type(descriptor) is GetSetDescriptorType and not with_dict:
                with_dict = True
                yield from (item for item in dict.copy(descriptor.__get__(thing)).items() if type(item[0]) is str)


def name_in(pairs: Iterable[tuple[Any, Any]], thing: Any) -> str | None:
    """Return the name under which something is held; None where it is not."""
    try:
        return next((name for name, value in pairs if value is thing and type(name) is str), None)
    except (RuntimeError, ValueError, TypeError, AttributeError):  # changed while it was read
        return None


def local_name(frame: FrameType, thing: Any) -> str | None:
    """Return the local variable that holds something; None where none does."""
    if not frame.f_code.co_flags & _OPTIMIZED or (frame.f_trace is not None and not _LOCALS_ARE_A_VIEW):
        return None  # a module or a class body, whose locals are no variables; or a debugger's, who writes them back
    values = frame.f_locals
    try:
        return name_in(list(values.items()), thing)
    finally:
        # The copy would keep what the frame lets go. Two are the frame's reference and ours: nobody called `locals()`.
        if not _LOCALS_ARE_A_VIEW and sys.getrefcount(values) <= 3:
            values.clear()


def cached_name(wrapper: Any) -> str:
    """Name the function that an `lru_cache` is on."""
    function = _lru_dict(wrapper).get("__wrapped__")
    return function_name(function) if type(function) is FunctionType else "a function"
