"""Results on their way out: `memflow.cli.sink`."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from memflow.cli.record_writer import encode_json
from memflow.cli.sink import Sink
from memflow.exceptions import RecordError
from memflow.processing.outcome import ItemFailure

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Memory:
    """An output in memory; fails from a given write on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.writes: list[bytes] = []
        self._fails_at = fails_at

    def write(self, records: bytes) -> None:
        if self._fails_at is not None and len(self.writes) >= self._fails_at:
            raise RecordError("memory", None, "is full")
        self.writes.append(records)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.writes).splitlines()]


def make(output: Memory, failures: Memory | None = None, **options: Any) -> Sink:
    return Sink(output, encoder=encode_json, failures=failures, **options)  # type: ignore[arg-type]


@BACKENDS
def test_records_are_written_in_order_in_few_writes(backend: str) -> None:
    output = Memory()

    async def main() -> Sink:
        sink = make(output)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.run)
            for each in range(5000):
                sink.put(each, name=str(each), item=each)
                if each % 100 == 0:
                    await anyio.sleep(0)
            sink.finish()
        return sink

    sink = anyio.run(main, backend=backend)
    assert output.lines == list(range(5000))
    assert len(output.writes) < 10
    assert (sink.written, sink.settled, sink.succeeded) == (5000, 5000, 5000)
    assert sink.written_all.is_set()


@BACKENDS
def test_what_comes_while_the_writer_rests_is_written_at_the_end(backend: str) -> None:
    output = Memory()

    async def main() -> None:
        sink = make(output)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.run)
            sink.put(1, name="", item=None)
            while not output.writes:
                await anyio.sleep(0.001)
            sink.put(2, name="", item=None)
            sink.finish()

    anyio.run(main, backend=backend)
    assert output.lines == [1, 2]


@BACKENDS
def test_a_slow_disk_holds_the_work_back_before_memory_fills(backend: str) -> None:
    output = Memory()
    waited = 0

    async def main() -> None:
        nonlocal waited
        sink = make(output)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.run)
            for each in range(100):
                sink.put("x" * 100_000, name="", item=each)
                if not sink.has_room:
                    waited += 1
                    await sink.wait_room()
                    assert sink.has_room
            sink.finish()

    anyio.run(main, backend=backend)
    assert waited >= 8
    assert max(map(len, output.writes)) < 1_300_000
    assert len(output.lines) == 100


@BACKENDS
def test_failures_are_counted_named_and_written_with_their_input(backend: str) -> None:
    output, failures = Memory(), Memory()

    async def main() -> Sink:
        sink = make(output, failures, first_index=10)
        sink.put({"fine": 1}, name="a:1", item="first")
        sink.put(ItemFailure(1, "ValueError", "no", 3), name="a:2", item={"x": 2})
        sink.put(object(), name="a:3", item=object)
        sink.report_bad_record(RecordError("a", 4, "torn"))
        sink.finish()
        await sink.run()
        return sink

    sink = anyio.run(main, backend=backend)
    assert (sink.delivered, sink.succeeded, sink.failed) == (13, 1, 2)
    assert str(sink.named[0]) == "a:2: ValueError: no"
    assert output.lines == [{"fine": 1}]
    first, second, third = failures.lines
    assert first == {"index": 11, "error_type": "ValueError", "message": "no", "attempts": 3, "input": {"x": 2}}
    assert second["index"] == 12
    assert second["input"] == "<class 'object'>"
    assert third == {"index": None, "error_type": "RecordError", "message": "a:4: torn", "attempts": 0}


def test_only_the_first_failures_are_named_and_no_item_is_kept() -> None:
    async def main() -> Sink:
        sink = make(Memory())
        for each in range(1000):
            sink.put(ItemFailure(each, "E", "m", 1), name=str(each), item="x" * 1000)
        return sink

    sink = anyio.run(main)
    assert sink.failed == 1000
    assert [each.name for each in sink.named] == ["0", "1", "2", "3", "4"]
    assert sink.has_room


@BACKENDS
def test_a_file_that_cannot_be_written_ends_the_writer_with_the_counts_right(backend: str) -> None:
    async def main() -> Sink:
        sink = make(Memory(fails_at=1))
        sink.put(1, name="", item=None)
        await sink.flush()
        sink.put(2, name="", item=None)
        with pytest.raises(RecordError, match="memory: is full"):
            await sink.run()
        return sink

    sink = anyio.run(main, backend=backend)
    assert (sink.written, sink.settled, sink.succeeded) == (1, 1, 2)
    assert sink.written_all.is_set()
