"""Clean programs that keep something for a while: caches, pools, queues, windows, warm-ups.

Covers what looks like a leak until it levels off or is let go; see `clean_passing` for programs that keep nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import sys
import types
from collections import OrderedDict, deque
from functools import lru_cache
from random import Random
from weakref import WeakValueDictionary

from benchmarks.leaks.program import Item, Program, blob, by_name, clean

__all__ = ["PROGRAMS"]

_LATE_MODULES = (
    "xml.dom.minidom",
    "email.mime.multipart",
    "http.server",
    "sqlite3",
    "unittest.mock",
    "difflib",
    "tarfile",
    "pydoc",
    "multiprocessing.pool",
    "xmlrpc.client",
    "configparser",
    "ftplib",
    "turtledemo",
    "wsgiref.simple_server",
    "lib2to3.pgen2.driver",
    "smtplib",
)


@clean()
def warm_up(rng: Random, items: int) -> Item:
    tables: list[bytes] = []

    async def item(number: int) -> None:
        if rng.random() < math.exp(-8 * number / items):  # levels off
            tables.append(blob(rng, 1_000, 3_000))

    return item


@clean()
def step_up(rng: Random, items: int) -> Item:
    rules: list[list[float]] = []

    async def item(number: int) -> None:
        if number == items * 2 // 5:  # a configuration is loaded again, and is larger now
            rules.extend([rng.random() for _ in range(20)] for _ in range(4_000))

    return item


@clean()
def second_level(rng: Random, items: int) -> Item:
    at, table = int(rng.uniform(0.25, 0.7) * items), list[list[int]]()

    async def item(number: int) -> None:
        if number == at:  # another region is served from now on, and its prices are kept
            table.extend([rng.randrange(1_000_000) for _ in range(10)] for _ in range(3_000))

    return item


@clean()
def lazy_modules(rng: Random, items: int) -> Item:
    due = sorted((rng.uniform(0.05, 0.8) * items, number) for number in range(30))

    async def item(number: int) -> None:
        while due and due[0][0] <= number:
            name = f"memflow_corpus_plugin_{due.pop(0)[1]}"
            module = types.ModuleType(name)
            body = "".join(f"def f{n}(a, b={n}):\n    return a + b * {n}\n" for n in range(rng.randint(30, 300)))
            exec(compile(body, name, "exec"), vars(module))
            sys.modules[name] = module

    return item


@clean()
def sawtooth(rng: Random, items: int) -> Item:
    pending: list[bytes] = []

    async def item(number: int) -> None:
        pending.append(blob(rng, 500, 3_000))
        if len(pending) >= 500:
            pending.clear()

    return item


@clean()
def rebuilt_dict(rng: Random, items: int) -> Item:
    index: dict[int, list[float]] = {}

    async def item(number: int) -> None:
        nonlocal index
        index[number] = [rng.random() for _ in range(20)]
        if number % 1_000 == 999:
            index = {}

    return item


@clean()
def fragmentation(rng: Random, items: int) -> Item:
    held: list[bytearray] = []

    async def item(number: int) -> None:
        held.append(bytearray(int(2 ** rng.uniform(6, 16))))
        if len(held) > 400:
            where = rng.randrange(len(held))
            held[where], held[-1] = held[-1], held[where]
            held.pop()

    return item


@clean()
def late_imports(rng: Random, items: int) -> Item:
    due = sorted((rng.uniform(0.1, 0.9) * items, name) for name in _LATE_MODULES)

    async def item(number: int) -> None:
        while due and due[0][0] <= number:
            try:
                importlib.import_module(due.pop(0)[1])
            except ImportError:  # not every Python has all of them
                continue

    return item


@clean()
def periodic_load(rng: Random, items: int) -> Item:
    sessions: list[bytes] = []
    phase = rng.uniform(0, 2 * math.pi)

    async def item(number: int) -> None:
        wanted = int(400 * (1 + math.sin(phase + 2 * math.pi * number / 1_500)))
        if len(sessions) < wanted:
            sessions.append(blob(rng, 1_000, 4_000))
        del sessions[wanted:]

    return item


@clean()
def breathing_queue(rng: Random, items: int) -> Item:
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def item(number: int) -> None:
        fills = number // 300 % 2 == 0
        if rng.random() < (0.8 if fills else 0.2):
            queue.put_nowait(blob(rng, 500, 2_000))
        elif not queue.empty():
            queue.get_nowait()
        if number % 2_400 == 2_399:
            while not queue.empty():
                queue.get_nowait()

    return item


@clean(may_suspect=True)
def slow_bounded_cache(rng: Random, items: int) -> Item:
    cache: OrderedDict[int, bytes] = OrderedDict()
    each = 2_000 / (items / 2)

    async def item(number: int) -> None:
        if int(number * each) > int((number - 1) * each):
            cache[number] = blob(rng, 500, 2_000)
        if len(cache) > 2_000:
            cache.popitem(last=False)

    return item


@clean(may_suspect=True)
def slow_table(rng: Random, items: int) -> Item:
    rows: list[dict[str, float]] = []
    each = 1_500 / (0.4 * items)

    async def item(number: int) -> None:
        if len(rows) < 1_500 and int(number * each) > int((number - 1) * each):
            rows.append({"mean": rng.random(), "spread": rng.random(), "count": rng.random()})

    return item


@clean(may_suspect=True)
def key_space(rng: Random, items: int) -> Item:
    known: dict[int, bytes] = {}

    async def item(number: int) -> None:
        key = rng.randrange(1_200)
        if key not in known:
            known[key] = blob(rng, 500, 2_000)

    return item


@clean()
def small_lru_cache(rng: Random, items: int) -> Item:
    @lru_cache(maxsize=128)
    def price(key: int) -> bytes:
        return blob(rng, 500, 3_000)

    async def item(number: int) -> None:
        price(rng.randrange(5_000))

    return item


@clean()
def bounded_deque(rng: Random, items: int) -> Item:
    recent: deque[bytes] = deque(maxlen=500)

    async def item(number: int) -> None:
        recent.append(blob(rng, 500, 2_000))

    return item


@clean()
def saturating_pool(rng: Random, items: int) -> Item:
    idle: list[bytearray] = []

    async def item(number: int) -> None:
        taken = [idle.pop() if idle else bytearray(8_000) for _ in range(rng.randint(1, 6))]
        await asyncio.sleep(0)
        idle.extend(taken)
        del idle[300:]

    return item


class Entry:
    def __init__(self, body: bytes) -> None:
        self.body = body


@clean()
def weak_cache(rng: Random, items: int) -> Item:
    entries: WeakValueDictionary[int, Entry] = WeakValueDictionary()
    recent: deque[Entry] = deque(maxlen=100)

    async def item(number: int) -> None:
        entries[number] = entry = Entry(blob(rng, 500, 2_000))
        recent.append(entry)

    return item


PROGRAMS: dict[str, Program] = by_name(
    (
        warm_up,
        step_up,
        second_level,
        lazy_modules,
        sawtooth,
        rebuilt_dict,
        fragmentation,
        late_imports,
        periodic_load,
        breathing_queue,
        slow_bounded_cache,
        slow_table,
        key_space,
        small_lru_cache,
        bounded_deque,
        saturating_pool,
        weak_cache,
    )
)
