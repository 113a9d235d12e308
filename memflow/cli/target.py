"""Finds what the command line names: `pkg.mod:function`.

Covers importing from the current directory too (console scripts lack it on `sys.path`), and saying what was looked
for, where, and what was nearly meant. Calling it is the processor's work.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from memflow.cli.usage import nearest
from memflow.exceptions import TargetError
from memflow.execution.base import is_async

__all__ = ["contain_exit", "find_function", "find_target"]


def find_function(name: str, *, takes: str = "one item") -> Callable[[Any], Any]:
    """Find a function of one argument.

    Args:
        name: Where it is, as `pkg.mod:function` or `pkg.mod:Class.method`.
        takes: What it will be called with, for messages.

    Raises:
        TargetError: It does not exist, or cannot be called so.
    """
    function = find_target(name)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TargetError(f"{name} is a generator function, and its items would never run; return results instead")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise TargetError(f"{name} cannot be called with {takes}: {error}; let it take exactly that") from None
    except ValueError:
        pass  # some built-in functions have no signature to look at
    return function


def contain_exit(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let `sys.exit()` inside a function fail its item, as any error does, instead of ending the whole run."""
    if is_async(function):

        @functools.wraps(function)
        async def call_async(item: Any) -> Any:
            try:
                return await function(item)
            except SystemExit as error:
                raise RuntimeError(f"the function called sys.exit({error.code!r})") from error

        return call_async

    @functools.wraps(function)
    def call(item: Any) -> Any:
        try:
            return function(item)
        except SystemExit as error:
            raise RuntimeError(f"the function called sys.exit({error.code!r})") from error

    return call


def find_target(name: str) -> Callable[..., Any]:
    """Find anything callable.

    Raises:
        TargetError: It does not exist, or is not callable.
    """
    module_name, colon, path = name.partition(":")
    if not colon or not path or not module_name:
        raise TargetError(_describe_form(name))
    module = _import(module_name)
    found: Any = module
    for part in path.split("."):
        found = _get(found, part, name, module)
    if not callable(found):
        raise TargetError(f"{name} is not callable, it is {_kind(found)}; name a function")
    return found  # type: ignore[no-any-return]


def _describe_form(name: str) -> str:
    form = "a function is named by its module, a colon and its name, such as jobs:embed or pkg.jobs:embed"
    if ":" in name or "." not in name:
        return f"{name!r} names no function; {form}"
    head, _, last = name.rpartition(".")
    return f"{name!r} has no colon; did you mean {head}:{last}? {form}"


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(_describe_broken(name, error)) from error
        raise TargetError(_describe_missing(name, error.name, here)) from error
    except Exception as error:
        raise TargetError(_describe_broken(name, error)) from error


def _describe_missing(name: str, missing: str, here: str) -> str:
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").strip("./").replace("/", ".")
        return f"{name} is a path, and a module is needed; did you mean {module}:…?"
    near = nearest(missing, _modules_in(here)) if "." not in missing else ""
    places = [path or "." for path in sys.path if path != here]
    return (
        f"there is no module {missing} (looked in {here}, and in {', '.join(places)})"
        + (f"; did you mean {near}?" if near else "; run from the folder it lies in, or install it")
    )  # fmt: skip


def _modules_in(folder: str) -> list[str]:
    """Modules and packages that lie in a folder."""
    with os.scandir(folder) as entries:
        return [each.name.removesuffix(".py") for each in entries if each.name.endswith(".py") or each.is_dir()]


def _describe_broken(name: str, error: BaseException) -> str:
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "importlib" not in each.filename]
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
    if isinstance(error, SyntaxError):
        where = f" at {error.filename}:{error.lineno}"
    kind = type(error).__name__
    return f"importing {name} raised {kind}: {error}{where}; mend the module (--debug shows the traceback)"


def _get(owner: Any, part: str, name: str, module: ModuleType) -> Any:
    try:
        return getattr(owner, part)
    except AttributeError:
        pass
    names = [each for each in vars(owner) if not each.startswith("_") and callable(getattr(owner, each, None))]
    near = nearest(part, names)
    own = [each for each in names if getattr(getattr(owner, each), "__module__", None) == module.__name__]
    has = f"; it has {', '.join(sorted(own)[:8])}" if own else "; it has no functions"
    what = f"module {module.__name__} ({getattr(module, '__file__', None) or 'built in'})"
    raise TargetError(f"there is no {part} in {what}, looked for {name}" + (f"; did you mean {near}?" if near else has))


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
