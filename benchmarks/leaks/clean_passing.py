"""Clean programs that keep nothing beyond an item or a few: whatever they allocate passes.

Covers work that grows with the run as well, which is load and no leak; see `clean_kept` for caches and pools.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import threading
import zlib
from array import array
from random import Random

from benchmarks.leaks.leaking_outside import allocate, free
from benchmarks.leaks.program import ITEMS_OF_A_BATCH, Item, Program, blob, by_name, clean

__all__ = ["PROGRAMS"]


@clean()
def nothing_kept(rng: Random, items: int) -> Item:
    async def item(number: int) -> int:
        return len(blob(rng, 100, 2_000))

    return item


@clean()
def growing_items(rng: Random, items: int) -> Item:
    async def item(number: int) -> bytes:
        body = bytes(1_000 + 200_000 * number // items)
        await asyncio.sleep(0.001)
        return body[:100]

    return item


def _more_and_more(share: float) -> int:
    return max(1, int(ITEMS_OF_A_BATCH * (0.2 + 1.6 * share)))


@clean(batch_items=_more_and_more)
def growing_batches(rng: Random, items: int) -> Item:
    async def item(number: int) -> bytes:
        return blob(rng, 2_000, 10_000)

    return item


@clean()
def rising_concurrency(rng: Random, items: int) -> Item:
    async def wait() -> int:
        body = blob(rng, 5_000, 15_000)
        await asyncio.sleep(0.001)
        return len(body)

    async def item(number: int) -> int:
        return sum(await asyncio.gather(*(wait() for _ in range(1 + 5 * number // items))))

    return item


@clean()
def temporary_arrays(rng: Random, items: int) -> Item:
    async def item(number: int) -> float:
        numbers = array("d", bytes(8 * rng.randint(500, 20_000)))
        await asyncio.sleep(0)
        return sum(numbers[:100])

    return item


@clean(streams=True)
def big_results(rng: Random, items: int) -> Item:
    async def item(number: int) -> bytearray:
        return bytearray(rng.randint(20_000, 200_000))

    return item


@clean(streams=True)
def streamed_documents(rng: Random, items: int) -> Item:
    async def item(number: int) -> list[dict[str, float]]:
        return [{"x": rng.random(), "y": rng.random()} for _ in range(rng.randint(1, 30))]

    return item


class Part:
    def __init__(self, whole: Part | None, body: bytes) -> None:
        self.whole = whole
        self.body = body
        self.parts: list[Part] = []


@clean()
def cycles_with_collector(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        root = Part(None, blob(rng, 200, 600))
        root.parts.extend(Part(root, b"") for _ in range(4))

    return item


@clean()
def regex_cache(rng: Random, items: int) -> Item:
    async def item(number: int) -> bool:
        width = rng.randrange(1_500) if number % 5 == 0 else rng.randrange(20)
        return re.search(rf"order-\d{{1,{width + 1}}}", f"order-{number}") is not None

    return item


@clean()
def json_documents(rng: Random, items: int) -> Item:
    async def item(number: int) -> int:
        lines = [{"sku": f"{rng.random()}", "tags": ["a", "b", {"n": each}]} for each in range(rng.randint(2, 20))]
        return len(json.loads(json.dumps({"id": number, "lines": lines}))["lines"])

    return item


@clean()
def ending_threads(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        if number % 50 == 0:
            threading.Timer(rng.uniform(0.01, 0.2), blob, (rng, 10, 100)).start()

    return item


@clean()
def late_tasks(rng: Random, items: int) -> Item:
    tasks: set[asyncio.Task[None]] = set()

    async def settle(body: bytes) -> None:
        await asyncio.sleep(rng.uniform(0.1, 1.0))

    async def item(number: int) -> None:
        if number % 4 == 0:
            tasks.add(task := asyncio.create_task(settle(blob(rng, 500, 3_000))))
            task.add_done_callback(tasks.discard)

    return item


@clean()
def caught_exceptions(rng: Random, items: int) -> Item:
    async def item(number: int) -> str:
        body = blob(rng, 500, 2_000)
        try:
            raise ValueError(f"order {number} of {len(body)} bytes")
        except ValueError as error:
            return str(error)

    return item


@clean()
def logging_lines(rng: Random, items: int) -> Item:
    log, lines = logging.getLogger("benchmarks.leaks.lines"), io.StringIO()
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(lines))

    async def item(number: int) -> None:
        log.info("order %d took %f s", number, rng.random())
        if lines.tell() > 100_000:  # as a file that is rotated
            lines.seek(0)
            lines.truncate()

    return item


@clean()
def string_building(rng: Random, items: int) -> Item:
    async def item(number: int) -> int:
        text = ""
        for _ in range(rng.randint(5, 60)):
            text += f"<td>{rng.random()}</td>"
        return len(text)

    return item


@clean()
def freed_native(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        addresses = [allocate(rng.randint(16, 20_000)) for _ in range(6)]
        await asyncio.sleep(0.001)
        for address in addresses:
            free(address)

    return item


@clean()
def files_closed(rng: Random, items: int) -> Item:
    async def item(number: int) -> None:
        with open(os.devnull, "rb") as file:
            await asyncio.sleep(0)
            file.read()

    return item


@clean()
def compression(rng: Random, items: int) -> Item:
    async def item(number: int) -> int:
        text = blob(rng, 100, 400) * rng.randint(2, 20)
        return len(zlib.decompress(zlib.compress(text)))

    return item


PROGRAMS: dict[str, Program] = by_name(
    (
        nothing_kept,
        growing_items,
        growing_batches,
        rising_concurrency,
        temporary_arrays,
        big_results,
        streamed_documents,
        cycles_with_collector,
        regex_cache,
        json_documents,
        ending_threads,
        late_tasks,
        caught_exceptions,
        logging_lines,
        string_building,
        freed_native,
        files_closed,
        compression,
    )
)
