"""`assert_no_leak`: what fails, what passes, and what is said."""

import asyncio
import gc
import os

import anyio
import pytest

from memflow.testing import assert_no_leak, assert_no_leak_async

KEPT: list = []


@pytest.fixture(autouse=True)
def emptied():
    yield
    KEPT.clear()


def keeps_one():
    KEPT.append([1])


def keeps_some():
    if len(KEPT) < 50:
        KEPT.append([1])


def makes_cycles():
    a: list = []
    a.append(a)


class Cache:
    def __init__(self):
        self.entries = {}

    def ask(self):
        self.entries[len(self.entries)] = object()


def test_what_keeps_an_object_a_call_fails_and_is_named():
    with pytest.raises(AssertionError) as failed:
        assert_no_leak(keeps_one)
    message = str(failed.value)
    assert "keeps_one leaks, as 200 calls show" in message
    assert "blocks of Python's a call" in message
    assert "confidence" in message
    assert "KEPT" in message


def test_a_cache_in_an_attribute_is_named():
    cache = Cache()
    with pytest.raises(AssertionError, match="entries"):
        assert_no_leak(cache.ask)


@pytest.mark.parametrize("fn", [keeps_some, makes_cycles, lambda: [object() for _ in range(1000)]])
def test_what_is_let_go_passes(fn):
    assert_no_leak(fn, warm_up=100)


def test_cycles_pass_whether_the_collector_is_on_or_off():
    gc.disable()
    try:
        assert_no_leak(makes_cycles)
    finally:
        gc.enable()


def test_descriptors_are_counted():
    opened = []

    def opens():
        opened.append(os.open(os.devnull, os.O_RDONLY))

    try:
        with pytest.raises(AssertionError, match="descriptors a call"):
            assert_no_leak(opens, iterations=100)
    finally:
        for each in opened:
            os.close(each)


def test_native_memory_is_weighed():
    with pytest.raises(AssertionError, match="of the C library's heap a call"):
        assert_no_leak(lambda: KEPT.append(bytearray(10_000)))


def test_a_coroutine_function_has_a_loop_of_its_own():
    async def keeps():
        KEPT.append([1])

    async def passes():
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="keeps leaks"):
        assert_no_leak(keeps)
    assert_no_leak(passes)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_inside_a_loop_it_is_awaited(backend):
    async def keeps():
        KEPT.append([1])

    async def passes():
        await anyio.sleep(0)

    async def main():
        with pytest.raises(TypeError, match="await assert_no_leak_async"):
            assert_no_leak(keeps)
        with pytest.raises(AssertionError, match="keeps leaks"):
            await assert_no_leak_async(keeps)
        await assert_no_leak_async(passes)

    anyio.run(main, backend=backend)


def test_tasks_that_never_end_are_counted():
    async def starts():
        KEPT.append(asyncio.create_task(asyncio.sleep(3600)))
        await asyncio.sleep(0)

    async def main():
        with pytest.raises(AssertionError, match="asyncio tasks a call"):
            await assert_no_leak_async(starts)
        for task in KEPT:
            task.cancel()
        await asyncio.gather(*KEPT, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("bad", [{"iterations": 99}, {"warm_up": -1}])
def test_too_few_calls_are_refused(bad):
    with pytest.raises(ValueError, match="must"):
        assert_no_leak(keeps_one, **bad)
    assert KEPT == []
