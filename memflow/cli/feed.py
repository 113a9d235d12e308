"""Items on their way into a run: from an input's records, from paths, from a function of the user's.

Covers pulling in a thread of its own, naming every item for messages, and the counts that progress shows. Reading
records is `record_reader`'s.
"""

from __future__ import annotations

import glob
import inspect
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import anyio.to_thread

from memflow.cli.record_reader import RecordReader
from memflow.cli.records import BadRecordPolicy, InputFile, RecordFormat
from memflow.cli.usage import UsageError
from memflow.exceptions import RecordError

__all__ = ["Feed", "feed_files", "feed_function", "feed_input", "line_of"]

T = TypeVar("T")
Chunk = list[tuple[str, Any]]
"""Items with the names that messages give them."""
_CHUNK_ITEMS = 1024
_CHUNK_S = 0.02


class Feed:
    """Items of a run, pulled lazily, and what is to be known about each until its result has come.

    Args:
        skip: How many items to pass over first.
        total_items: How many there are, where that is known.

    Attributes:
        keep_items: whether items are kept until their results come, for the failures file.
        on_bad_record: told of bad records that were passed over, in the loop's thread.
    """

    def __init__(self, chunks: AsyncGenerator[Chunk, None], *, skip: int = 0, total_items: int | None = None) -> None:
        self.total_items = max(0, total_items - skip) if total_items is not None else None
        self.keep_items = False
        self.on_bad_record: Callable[[RecordError], None] = lambda error: None
        self.input: InputFile | None = None
        self.bad_records: list[RecordError] = []
        """Bad records that were passed over and not told yet."""
        self._chunks = chunks
        self._skip = skip
        self._waiting: deque[tuple[str, Any]] = deque()

    @property
    def read_fraction(self) -> float | None:
        """How much of the input was read, from 0 to 1, where its size is known."""
        if self.input is None or not self.input.size_bytes:
            return None
        return min(1.0, self.input.position_bytes / self.input.size_bytes)

    async def items(self) -> AsyncIterator[Any]:
        """The items, in order."""
        try:
            async for chunk in self._chunks:
                self.tell_bad_records()
                for name, item in chunk:
                    if self._skip:
                        self._skip -= 1
                        continue
                    self._waiting.append((name, item if self.keep_items else None))
                    yield item
            self.tell_bad_records()
        finally:
            await self._chunks.aclose()

    def tell_bad_records(self) -> None:
        """Pass on what was skipped since the last time."""
        bad = self.bad_records[:]
        del self.bad_records[: len(bad)]  # the reader's thread may be adding to it
        for each in bad:
            self.on_bad_record(each)

    def close(self) -> None:
        """Close the input."""
        if self.input is not None:
            self.input.close()

    def take_next(self) -> tuple[str, Any]:
        """The name of the item whose result comes next, and the item itself where items are kept."""
        return self._waiting.popleft()


class _OwnThread:
    """Runs calls in one thread, always the same: what an iterator opened (a database, say) may insist on that."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="memflow source")

    async def call(self, function: Callable[[], T]) -> T:
        # Abandoned on cancellation: a pipe may stay silent for ever.
        return await anyio.to_thread.run_sync(lambda: self._pool.submit(function).result(), abandon_on_cancel=True)

    def close(self) -> None:
        self._pool.shutdown(wait=False)


def feed_input(
    path: str,
    *,
    record_format: RecordFormat,
    on_bad_record: BadRecordPolicy,
    skip: int = 0,
    passed_lines: int = 0,
    told_line: int = 0,
    field: str | None = None,
) -> Feed:
    """Records of a file, or of standard input for "-".

    Args:
        path: The file.
        record_format: How it is to be read.
        on_bad_record: What becomes of a record that cannot be read.
        skip: Records to pass over first.
        passed_lines: Lines to pass over first, unread.
        told_line: The last line whose bad record was told in an earlier run.
        field: The field of each record that is the item; None: the whole record.

    Raises:
        UsageError: The file cannot be opened.
    """
    file = InputFile(path)
    bad: list[RecordError] = []

    def on_skip(error: RecordError) -> None:
        if (error.line or 0) > told_line:
            bad.append(error)

    reader = RecordReader(
        file,
        record_format=record_format,
        on_bad_record=on_bad_record,
        on_skip=on_skip,
        passed_lines=passed_lines,
        field=field,
    )
    feed = Feed(_read(reader, file.path), skip=skip)
    feed.input = file
    feed.bad_records = bad
    return feed


async def _read(reader: RecordReader, path: str) -> AsyncGenerator[Chunk, None]:
    thread = _OwnThread()
    try:
        while entries := await thread.call(reader.read_chunk):
            yield [(f"{path}:{line}", record) for line, record in entries]
    finally:
        thread.close()


def feed_files(globs: Iterable[str], *, skip: int = 0) -> Feed:
    """Paths of files, sorted, each once; `**` goes into folders.

    Raises:
        UsageError: A glob matches no file.
    """
    found: set[str] = set()
    for pattern in globs:
        matches = {path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path)}
        if not matches:
            raise UsageError(f"--files {pattern} matches no file (looked in {os.getcwd()}); quote it against the shell")
        found |= matches
    paths = sorted(found)
    return Feed(_once([(path, path) for path in paths]), skip=skip, total_items=len(paths))


async def _once(chunk: Chunk) -> AsyncGenerator[Chunk, None]:
    yield chunk


def feed_function(function: Callable[[], Any], name: str, *, skip: int = 0) -> Feed:
    """What a function of the user's returns: an iterable or async iterable of items."""
    return Feed(_pull(function, name), skip=skip)


async def _pull(function: Callable[[], Any], name: str) -> AsyncGenerator[Chunk, None]:
    thread, numbers = _OwnThread(), count()
    try:
        # In a tuple, since trio takes a coroutine that comes from a thread for a mistake.
        (made,) = await thread.call(lambda: (function(),))
        if inspect.isawaitable(made):
            made = await made
        if hasattr(made, "__aiter__"):
            async for item in made:
                yield [(_name_item(item, next(numbers)), item)]
            return
        if isinstance(made, str | bytes) or not isinstance(made, Iterable):
            raise UsageError(f"--source {name} returned a {type(made).__name__}; it must return an iterable of items")
        taker = _Taker(made)
        while taken := await thread.call(taker.take):
            yield [(_name_item(item, next(numbers)), item) for item in taken]
    finally:
        thread.close()


class _Taker:
    """Takes some items at a time, as many as come soon: a slow iterator must not hold back what it gave."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def take(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        taken: list[Any] = []
        until_s = time.monotonic() + _CHUNK_S
        try:
            for item in self._items:
                taken.append(item)
                if len(taken) >= _CHUNK_ITEMS or time.monotonic() >= until_s:
                    break
        except Exception as error:
            if not taken:
                raise
            self._error = error  # what came before it is given out first
        return taken


def _name_item(item: object, number: int) -> str:
    """A short text names itself; anything else goes by its number."""
    return item if isinstance(item, str) and len(item) <= 200 and item.isprintable() else f"item {number}"


def line_of(name: str) -> int:
    """Return the line of the input that a name tells of; 0 where it tells of none."""
    number = name.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdecimal() else 0
