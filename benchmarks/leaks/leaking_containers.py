"""Programs that leak into containers: lists, dicts, sets, deques, queues, and attributes that hold one.

Covers what a look at growing containers can find by itself; tasks, tracebacks, natives and the like are
`leaking_runtime`'s and `leaking_outside`'s.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import sys
from collections import defaultdict, deque
from random import Random

from benchmarks.leaks.program import LEDGER, Item, Program, blob, by_name, leaking

__all__ = ["PROGRAMS"]

received_orders: list[bytes] = []
orders_cache: dict[int, dict[str, object]] = {}
events_by_customer: defaultdict[int, list[tuple[int, float, bytes]]] = defaultdict(list)
recent_lines: deque[str] = deque()
seen_pairs: set[tuple[int, int, str]] = set()
names_known: dict[str, str] = {}
addresses_by_token: dict[int, bytes] = {}
thumbnails: list[bytes] = []
late_orders: list[dict[str, object]] = []
visits_by_day: dict[int, dict[int, list[float]]] = {}
log_buffer = bytearray()


@leaking("received_orders")
def module_list(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        received_orders.append(order := blob(rng, 500, 1_500))
        LEDGER.leak(sys.getsizeof(order))

    return item


@leaking("orders_cache")
def dict_cache(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        orders_cache[number] = {"id": number, "lines": [rng.random() for _ in range(12)], "note": blob(rng, 50, 300)}
        LEDGER.leak(1_000)

    return item


@leaking("events_by_customer")
def defaultdict_of_lists(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        for _ in range(5):
            events_by_customer[rng.randrange(400)].append((number, rng.random(), blob(rng, 20, 80)))
            LEDGER.leak(200)

    return item


@leaking("recent_lines")
def unbounded_deque(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        for each in range(8):
            recent_lines.append(line := f"{number}.{each} " + "x" * rng.randint(40, 160))
            LEDGER.leak(sys.getsizeof(line))

    return item


@leaking("seen_pairs")
def set_of_tuples(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        for each in range(4):
            seen_pairs.add((number, each, f"key {rng.random()}"))
            LEDGER.leak(230)

    return item


@leaking("names_known")
def interning_dict(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        for _ in range(6):
            name = f"customer-{rng.getrandbits(60):x}"
            names_known.setdefault(name, name)
            LEDGER.leak(170)

    return item


@leaking("addresses_by_token")
def slow_dict(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        if number % 10 == 0:
            addresses_by_token[rng.getrandbits(48)] = blob(rng, 4_000, 6_000)
            LEDGER.leak(5_150)

    return item


@leaking("thumbnails")
def rare_and_large(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        if number % 20 == 7:
            thumbnails.append(blob(rng, 45_000, 55_000))
            LEDGER.leak(50_040)

    return item


@leaking("late_orders", begins=0.5)
def late_list(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        if number >= items // 2:
            late_orders.append({"id": number, "body": blob(rng, 1_000, 3_000)})
            LEDGER.leak(2_300)

    return item


@leaking("visits_by_day")
def nested_dicts(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        visits_by_day.setdefault(number // 1_000, {})[number] = [rng.random() for _ in range(30)]
        LEDGER.leak(1_200)

    return item


@leaking("log_buffer", message=("native", "C library's heap"))
def growing_bytearray(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        log_buffer.extend(line := blob(rng, 1_000, 3_000))
        LEDGER.leak(len(line))

    return item


audit_queue: asyncio.Queue[tuple[int, bytes]] | None = None


@leaking("audit_queue", "_queue")
def queue_never_drained(rng: Random, items: int) -> Item:
    global audit_queue
    queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
    audit_queue = queue

    async def item(number: int) -> None:
        queue.put_nowait((number, blob(rng, 300, 1_200)))
        LEDGER.leak(850)

    return item


class Session:
    live_sessions: list[Session] = []  # noqa: RUF012 - the leak itself

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.live_sessions.append(self)


@leaking("live_sessions", "Session")
def class_registry(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        Session(blob(rng, 400, 900))
        LEDGER.leak(780)

    return item


class Client:
    def __init__(self) -> None:
        self.responses: list[dict[str, object]] = []


client = Client()


@leaking("responses")
def instance_attribute(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        client.responses.append({"status": 200, "number": number, "headers": [("etag", f"{rng.random()}")] * 3})
        LEDGER.leak(600)

    return item


class Bus:
    def __init__(self) -> None:
        self.handlers: list[object] = []


signal_bus = Bus()


@leaking("handlers")
def event_handlers(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        body = blob(rng, 200, 800)

        def on_change(change: object) -> tuple[object, bytes]:
            return change, body

        signal_bus.handlers.append(on_change)
        LEDGER.leak(750)

    return item


@leaking("MemoryHandler", "buffer")
def log_handler_buffer(rng: Random, items: int) -> Item:
    log = logging.getLogger("benchmarks.leaks.orders")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(logging.handlers.MemoryHandler(10**9))

    async def item(number: int) -> None:
        log.info("order %d took %f s", number, rng.random())
        LEDGER.leak(1_000)

    return item


PROGRAMS: dict[str, Program] = by_name(
    (
        module_list,
        dict_cache,
        defaultdict_of_lists,
        unbounded_deque,
        set_of_tuples,
        interning_dict,
        slow_dict,
        rare_and_large,
        late_list,
        nested_dicts,
        growing_bytearray,
        queue_never_drained,
        class_registry,
        instance_attribute,
        event_handlers,
        log_handler_buffer,
    )
)
