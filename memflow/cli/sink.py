"""Where results go: encoded at once, written in order, a burst at a time.

Covers the counts that the summary and the exit status are made of, and the failures file. The files are `output`'s,
the bytes `record_writer`'s. Nothing counts as written before the kernel has it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread

from memflow.cli.output import OutputFile
from memflow.cli.record_writer import Encoder, ResultError, encode_json
from memflow.exceptions import RecordError
from memflow.processing.outcome import ItemFailure

__all__ = ["FailedItem", "Sink", "Written"]

_PENDING_BYTES = 1 << 20
_PAUSE_S = 0.05
_NAMED_FAILURES = 5


@dataclass(frozen=True, slots=True)
class FailedItem:
    """A failure as the summary names it."""

    name: str
    """Which item: a line of the input, a path, or a number."""
    error_type: str
    """The error's class."""
    message: str
    """The error's text."""

    def __str__(self) -> str:
        return f"{self.name}: {self.error_type}: {self.message}"


class Sink:
    """Takes results in input order and writes them while more come.

    Args:
        output: Where records go.
        encoder: How a result becomes a record.
        failures: Where failed items go as JSON Lines; None counts them only.
        first_index: The index of the first item that comes, after skipped ones.
        note: Called with what is in the files each time they were written to, in the writing thread.
        before: What an earlier run that this one goes on with had written.

    Attributes:
        delivered: items that came (and skipped ones): the index of the next.
        settled: the same, as far as their records are with the kernel.
        succeeded: items whose record was made.
        failed: items that failed, or whose result could not be written.
        written: records that the kernel has.
        named: the first failures.
        written_all: set when `run` has ended.
    """

    def __init__(
        self,
        output: OutputFile,
        *,
        encoder: Encoder,
        failures: OutputFile | None = None,
        first_index: int = 0,
        note: Callable[[int, Written], None] | None = None,
        before: Written | None = None,
    ) -> None:
        self.delivered = self.settled = first_index
        self.written = 0
        self._note = note
        self._so_far = before if before is not None else Written()
        self.succeeded, self.failed = self._so_far.succeeded, self._so_far.failed
        self.named: list[FailedItem] = []
        self.written_all = anyio.Event()
        self._output = output
        self._encoder = encoder
        self._failures = failures
        self._pending: deque[_Entry] = deque()
        self._pending_bytes = 0
        self._writing = threading.Lock()
        self._arrival = anyio.Event()
        self._room = anyio.Event()
        self._hurry = anyio.Event()
        self._finished = False

    def put(self, result: Any, *, name: str, item: Any, line: int = 0) -> None:
        """Take the next result, or the failure in its place; never waits.

        Args:
            result: What the function returned, or an `ItemFailure`.
            name: Which item it was, for people.
            item: The item itself, for the failures file.
            line: The line of the input that it came from; 0 where it came from none.
        """
        if isinstance(result, ItemFailure):
            report = self._fail(name, item, result.error_type, result.message, result.attempts)
            self._append(_Entry(report, items=1, line_number=line))
        else:
            try:
                self._append(_Entry(self._encoder(result), items=1, is_record=True, line_number=line))
                self.succeeded += 1
            except ResultError as error:
                report = self._fail(name, item, type(error).__name__, str(error), 1)
                self._append(_Entry(report, items=1, line_number=line))
        self.delivered += 1

    def report_bad_record(self, error: RecordError) -> None:
        """Note a record that was passed over in the failures file."""
        report = {"index": None, "error_type": "RecordError", "message": str(error), "attempts": 0}
        self._append(_Entry(encode_json(report), items=0, line_number=error.line or 0))

    @property
    def has_room(self) -> bool:
        """Whether `wait_room` would return at once."""
        return self._pending_bytes <= _PENDING_BYTES

    async def wait_room(self) -> None:
        """Wait until less than 1 MiB waits to be written, so that a slow disk slows the work and not the memory."""
        while not self.has_room:
            self._room = anyio.Event()
            self._hurry.set()
            await self._room.wait()

    async def run(self) -> None:
        """Write what comes until `finish`; runs beside the work.

        Raises:
            RecordError: A file cannot be written on.
        """
        try:
            while not self._finished:
                await self._arrival.wait()
                self._arrival = anyio.Event()
                await self.flush()
                # Results gather meanwhile: a write for each would cost more than the results.
                with anyio.move_on_after(_PAUSE_S):
                    await self._hurry.wait()
                self._hurry = anyio.Event()
            await self.flush()
        finally:
            self.written_all.set()

    def finish(self) -> None:
        """Let `run` return once everything is written."""
        self._finished = True
        self._arrival.set()
        self._hurry.set()

    async def flush(self) -> None:
        """Write what is pending now."""
        self._pending_bytes -= await anyio.to_thread.run_sync(self.write_pending)
        self._room.set()

    def write_pending(self) -> int:
        """Write what is pending, in the calling thread; also once the event loop is gone.

        Entries are taken in here, under a lock: whoever is cancelled around it can neither lose nor repeat one.

        Returns:
            Bytes taken.
        """
        with self._writing:
            entries = [self._pending.popleft() for _ in range(len(self._pending))]
            records = [each.line for each in entries if each.is_record]
            reports = [each.line for each in entries if not each.is_record]
            if self._failures is not None and reports:
                self._failures.write(b"".join(reports))
            if records:
                self._output.write(b"".join(records))
            self.written += len(records)
            self.settled += sum(each.items for each in entries)
            self._so_far = self._so_far.with_entries(entries)
            if self._note is not None and entries:
                self._note(self.settled, self._so_far)
            return sum(len(each.line) for each in entries)

    def _fail(self, name: str, item: Any, error_type: str, message: str, attempts: int) -> bytes:
        """Count a failed item, and give its line of the failures file."""
        if len(self.named) < _NAMED_FAILURES:
            self.named.append(FailedItem(name, error_type, message))
        self.failed += 1
        if self._failures is None:
            return b""
        report = {"index": self.delivered, "error_type": error_type, "message": message, "attempts": attempts}
        try:
            return encode_json({**report, "input": item})
        except ResultError:
            return encode_json({**report, "input": repr(item)})

    def _append(self, entry: _Entry) -> None:
        self._pending.append(entry)
        self._pending_bytes += len(entry.line)
        self._arrival.set()


@dataclass(frozen=True, slots=True)
class Written:
    """What has become of the items whose records are in the files."""

    succeeded: int = 0
    """Records."""
    failed: int = 0
    """Failed items."""
    skipped: int = 0
    """Bad records that were passed over."""
    line: int = 0
    """The line of the input that the last item came from."""
    bad_line: int = 0
    """The last line of the input that was reported as a bad record."""

    def with_entries(self, entries: Sequence[_Entry]) -> Written:
        """Return the same after more was written."""
        items = [each for each in entries if each.items]
        bad = [each for each in entries if not each.items]
        records = sum(each.is_record for each in items)
        return Written(
            self.succeeded + records,
            self.failed + len(items) - records,
            self.skipped + len(bad),
            items[-1].line_number if items else self.line,
            max([self.bad_line, *(each.line_number for each in bad)]),
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line on its way to a file."""

    line: bytes
    """The line, break included; empty where nothing is to be written."""
    items: int
    """Items that are settled once it is written: 1, or 0 for a bad record."""
    is_record: bool = False
    """True for the output, False for the failures file."""
    line_number: int = 0
    """The line of the input that it is about; 0 where there is none."""
