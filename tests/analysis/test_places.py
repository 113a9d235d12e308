"""Whose a file is, and which function a line belongs to."""

import asyncio.events
import functools
import json.decoder
import sys
import sysconfig
import tracemalloc
from pathlib import Path
from types import ModuleType

import anyio
import pytest

import memflow.analysis.inquiry
from memflow.analysis.places import belongs, function_at
from memflow.analysis.sites import Belongs, Frame


@pytest.mark.parametrize(
    ("file", "whose"),
    [
        (__file__, Belongs.PROGRAM),
        (pytest.__file__, Belongs.PROGRAM),
        ("relative.py", Belongs.PROGRAM),
        ("<string>", Belongs.PROGRAM),
        ("/home/you/anyio/app.py", Belongs.PROGRAM),
        ("/home/you/asyncio/events.py", Belongs.PROGRAM),
        (memflow.analysis.inquiry.__file__, Belongs.OURS),
        (str(Path(memflow.analysis.inquiry.__file__).parent.parent / "examples" / "demo.py"), Belongs.PROGRAM),
        (tracemalloc.__file__, Belongs.OURS),
        (str(Path(sysconfig.get_path("purelib")) / "memray" / "_thread.py"), Belongs.OURS),
        (json.decoder.__file__, Belongs.LIBRARY),
        (anyio.__file__, Belongs.LIBRARY),
        ("<frozen importlib._bootstrap>", Belongs.LIBRARY),
        (asyncio.events.__file__, Belongs.LOOP),
    ],
)
def test_a_file_is_told_by_where_it_lies(file, whose):
    assert belongs(file) is whose


def plain():
    return sys._getframe().f_lineno


def outer():
    def inner():
        return sys._getframe().f_lineno

    return inner()


@functools.lru_cache(maxsize=1)
def cached():
    return sys._getframe().f_lineno


def passing_on(function):
    @functools.wraps(function)
    def wrapper():
        return function()

    return wrapper


@passing_on
def wrapped():
    return sys._getframe().f_lineno


class Kind:
    @staticmethod
    def static():
        return sys._getframe().f_lineno

    @classmethod
    def of_class(cls):
        return sys._getframe().f_lineno

    @property
    def computed(self):
        return sys._getframe().f_lineno

    class Inner:
        def method(self):
            return sys._getframe().f_lineno


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (plain, "plain"),
        (outer, "outer.<locals>.inner"),
        (cached, "cached"),
        (wrapped, "wrapped"),
        (Kind.static, "Kind.static"),
        (Kind.of_class, "Kind.of_class"),
        (lambda: Kind().computed, "Kind.computed"),
        (Kind.Inner().method, "Kind.Inner.method"),
    ],
)
def test_a_line_is_of_the_innermost_function_around_it(call, name):
    assert function_at(Frame(plain.__code__.co_filename, call())) == name


def test_nobody_is_named_where_no_module_that_is_loaded_has_the_line():
    assert function_at(Frame(__file__, 1)) == ""
    assert function_at(Frame("/nowhere/at_all.py", 10)) == ""


def test_a_module_that_loads_itself_when_it_is_asked_is_not_asked(monkeypatch):
    class Lazy(ModuleType):
        def __getattribute__(self, name):
            raise AssertionError(f"was asked for {name}")

    monkeypatch.setitem(sys.modules, "lazy_one", Lazy("lazy_one"))
    monkeypatch.setitem(sys.modules, "none_at_all", None)
    assert function_at(Frame("/nowhere/lazy_one.py", 10)) == ""
