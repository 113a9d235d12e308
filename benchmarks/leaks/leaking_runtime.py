"""Programs that leak through the interpreter and its libraries: tasks, closures, tracebacks, cycles, weak references.

Covers what is held by something other than the obvious container; see `leaking_containers` for that.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from functools import cache
from random import Random

from benchmarks.leaks.program import LEDGER, Item, Program, blob, by_name, leaking

__all__ = ["PROGRAMS"]

background_watchers: set[asyncio.Task[None]] = set()
failures_seen: list[Exception] = []
paused_readers: list[Iterator[int]] = []
undo_actions: list[Callable[[], bytes]] = []
request_contexts: list[Context] = []
unread_answers: list[asyncio.Future[bytes]] = []
request_body: ContextVar[bytes] = ContextVar("request_body")
request_state = threading.local()


class Pricing:
    def __init__(self, rng: Random) -> None:
        self.rng = rng

    @cache  # noqa: B019 - the leak itself
    def price_of_order(self, number: int) -> tuple[int, list[float]]:
        return number, [self.rng.random() for _ in range(16)]


@leaking("price_of_order", "lru_cache")
def cached_method(rng: Random, items: int) -> Item:
    pricing = Pricing(rng)

    async def item(number: int) -> None:
        pricing.price_of_order(number)
        LEDGER.leak(850)

    return item


@leaking("background_watchers", "watch_order", message=("asyncio tasks", "tasks that"))
def endless_tasks(rng: Random, items: int) -> Item:
    never = asyncio.Event()

    async def watch_order(body: bytes) -> None:
        await never.wait()

    async def item(number: int) -> None:
        if number % 4 == 0:
            background_watchers.add(asyncio.create_task(watch_order(blob(rng, 500, 1_500))))
            LEDGER.leak(2_500)

    return item


class TreeNode:
    def __init__(self, parent: TreeNode | None, body: bytes) -> None:
        self.parent = parent
        self.body = body
        self.children: list[TreeNode] = []


@leaking("TreeNode", message=("cyclic",))
def cycles_without_collector(rng: Random, items: int) -> Item:
    gc.disable()

    async def item(number: int) -> None:
        root = TreeNode(None, blob(rng, 200, 600))
        root.children.extend(TreeNode(root, b"") for _ in range(4))
        LEDGER.leak(1_400)

    return item


@leaking("failures_seen", "traceback")
def kept_exceptions(rng: Random, items: int) -> Item:
    def fail(number: int) -> None:
        body = blob(rng, 1_000, 2_000)
        raise ValueError(f"order {number} of {len(body)} bytes")

    async def item(number: int) -> None:
        try:
            fail(number)
        except ValueError as error:
            failures_seen.append(error)
            LEDGER.leak(2_400)

    return item


@leaking("paused_readers", "generator")
def kept_generators(rng: Random, items: int) -> Item:
    def read(body: bytes) -> Iterator[int]:
        yield from body

    async def item(number: int) -> None:
        reader = read(blob(rng, 300, 900))
        next(reader)
        paused_readers.append(reader)
        LEDGER.leak(1_000)

    return item


class Connection:
    pass


connection = Connection()


@leaking("finalize", "_registry")
def weakref_callbacks(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        weakref.finalize(connection, len, blob(rng, 200, 800)).atexit = False
        LEDGER.leak(900)

    return item


@leaking("undo_actions")
def kept_closures(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        before = blob(rng, 400, 1_600)
        undo_actions.append(lambda: before)
        LEDGER.leak(1_250)

    return item


@leaking("request_contexts", "Context")
def kept_contexts(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        request_body.set(blob(rng, 600, 1_400))
        request_contexts.append(copy_context())
        LEDGER.leak(1_200)

    return item


@leaking("history_of_requests", "request_state")
def thread_local(rng: Random, items: int) -> Item:
    request_state.history_of_requests = []

    async def item(number: int) -> None:
        request_state.history_of_requests.append((number, blob(rng, 500, 1_500)))
        LEDGER.leak(1_120)

    return item


class JobNode:
    __slots__ = ("before", "body")

    def __init__(self, before: JobNode | None, body: list[float]) -> None:
        self.before = before
        self.body = body


last_job: JobNode | None = None


@leaking("JobNode", "last_job")
def linked_list(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        global last_job
        last_job = JobNode(last_job, [rng.random() for _ in range(20)])
        LEDGER.leak(800)

    return item


@leaking("unread_answers", "Future")
def kept_futures(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answer.set_result(body := blob(rng, 700, 1_700))
        unread_answers.append(answer)
        LEDGER.leak(sys.getsizeof(body) + 150)

    return item


PROGRAMS: dict[str, Program] = by_name(
    (
        cached_method,
        endless_tasks,
        cycles_without_collector,
        kept_exceptions,
        kept_generators,
        weakref_callbacks,
        kept_closures,
        kept_contexts,
        thread_local,
        linked_list,
        kept_futures,
    )
)
