"""The errors that memflow raises.

Covers every exception a caller can meet. What the user's own function raises is never replaced, only
carried: inside `BatchFailed`, or as the cause of `SourceFailed`.

    MemflowError
    ├── ConfigurationError (ValueError)      a setting or argument that cannot work
    ├── InstallationError (ImportError)      another distribution's files stand where ours should
    ├── ProcessorClosedError (RuntimeError)  used after closing
    ├── SizeHintError                        a size hint raised or returned nonsense
    ├── BatchResultError                     a batch function returned the wrong number of results
    ├── SourceFailed                         the source raised midway; carries what was finished
    ├── ItemTimeoutError (TimeoutError)      an item or batch ran longer than `item_timeout_s`
    ├── RecordError                          a record could not be read or written
    ├── FlightRecordError                    a flight record could not be made or read
    ├── TargetError                          a function named on the command line was not found
    ├── MemoryPressureError                  no schedule fits the memory that is left
    ├── JournalError                         a journal cannot be used; nothing acknowledged is lost
    │   ├── JournalLockedError               another run has it open
    │   ├── JournalExistsError               it holds a run, and resuming was not asked for
    │   ├── JournalMismatchError             it is of another operation or input
    │   ├── JournalVersionError              a newer memflow wrote it
    │   ├── JournalCorruptError              it cannot be read
    │   ├── JournalWriteError                it cannot be written: the disk is full, read-only or failing
    │   ├── DuplicateKeyError                two items have one key
    │   ├── KeyFunctionError                 `key=` raised, or returned no key
    │   └── ResultNotStorableError           a result is of a type that is not stored
    └── BatchFailed (ExceptionGroup)         the function failed; names the items

Errors format themselves from values, and the message ends with what to do next. The journal's are defined in
`memflow.journal_errors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from memflow.base_error import MemflowError
from memflow.journal_errors import (
    DuplicateKeyError,
    JournalCorruptError,
    JournalError,
    JournalExistsError,
    JournalLockedError,
    JournalMismatchError,
    JournalVersionError,
    JournalWriteError,
    KeyFunctionError,
    ResultNotStorableError,
)
from memflow.units import format_bytes

__all__ = [
    "BatchFailed",
    "BatchResultError",
    "ConfigurationError",
    "DuplicateKeyError",
    "FlightRecordError",
    "InstallationError",
    "ItemTimeoutError",
    "JournalCorruptError",
    "JournalError",
    "JournalExistsError",
    "JournalLockedError",
    "JournalMismatchError",
    "JournalVersionError",
    "JournalWriteError",
    "KeyFunctionError",
    "MemflowError",
    "MemoryPressureError",
    "ProcessorClosedError",
    "RecordError",
    "ResultNotStorableError",
    "SizeHintError",
    "SourceFailed",
    "TargetError",
]


class ConfigurationError(MemflowError, ValueError):
    """A setting or an argument cannot work; the message names it and what would."""


class InstallationError(MemflowError, ImportError):
    """Another distribution's files stand where memflow's should."""


class ProcessorClosedError(MemflowError, RuntimeError):
    """A processor was used after `aclose()`."""

    def __init__(self, process_name: str) -> None:
        self.process_name = process_name
        super().__init__(
            f"processor {process_name!r} is closed and takes no further work; "
            "make a new BatchProcessor, or close it only after the last call"
        )


class SizeHintError(MemflowError):
    """The `size_hint` callable raised, or returned something that is no size in bytes."""

    def __init__(self, index: int, problem: str) -> None:
        self.index = index
        self.problem = problem
        super().__init__(
            f"size_hint {problem} for item {index}; it must return a finite number of bytes >= 0 "
            "for every item (return 0 where the size is unknown)"
        )


class BatchResultError(MemflowError):
    """A batch function returned something other than one result per item."""

    def __init__(self, operation: str, due: int, came: int | None, returned: str) -> None:
        self.operation = operation
        self.due = due
        self.came = came
        what = f"{came} results" if came is not None else f"a {returned}, which has no length"
        super().__init__(
            f"{operation} got a batch of {due} items and returned {what}; "
            f"it must return a sequence of exactly {due} results, in the order of the items"
        )


class SourceFailed(MemflowError):
    """The source raised midway. The original error is the `__cause__`.

    Attributes:
        pulled: items that the source had delivered before it failed.
        results: from `process` and `process_batches`, the results of those items, in order;
            None from a stream, which has delivered them already.
    """

    def __init__(self, operation: str, pulled: int, error: BaseException, results: list[Any] | None) -> None:
        self.operation = operation
        self.pulled = pulled
        self.results = results
        kept = "they are in .results" if results is not None else "their results were delivered first"
        super().__init__(
            f"the source of {operation} raised {type(error).__name__}: {error} after {pulled} items; "
            f"{kept}; mend the source, or skip those {pulled} items and go on behind them"
        )


class ItemTimeoutError(MemflowError, TimeoutError):
    """An item (or a batch of them) ran longer than `item_timeout_s` allows."""

    def __init__(self, operation: str, timeout_s: float) -> None:
        self.operation = operation
        self.timeout_s = timeout_s
        super().__init__(
            f"{operation} took longer than item_timeout_s={timeout_s:g}; raise it, or make the work smaller"
        )


class RecordError(MemflowError):
    """A record of an input or output file could not be read or written.

    Attributes:
        path: the file.
        line: the line, counted from 1, or None where no line applies.
    """

    def __init__(self, path: str, line: int | None, problem: str, advice: str = "") -> None:
        self.path = path
        self.line = line
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {problem}" + (f"; {advice}" if advice else ""))


class FlightRecordError(MemflowError):
    """A flight record could not be made or read.

    Attributes:
        path: the file.
    """

    def __init__(self, path: str, problem: str, advice: str) -> None:
        self.path = path
        super().__init__(f"{path} {problem}; {advice}")


class TargetError(MemflowError):
    """The function named on the command line does not exist or cannot be called."""


class MemoryPressureError(MemflowError):
    """No schedule fits the memory that is left.

    Attributes:
        operation: whose batch was to start.
        requested_bytes: what it was predicted to need.
        in_use_bytes: what was in use.
        limit_bytes: the effective limit.
        limit_source: where that limit came from, in words.
        waited_s: how long admission was tried.
    """

    def __init__(
        self,
        *,
        operation: str,
        requested_bytes: int,
        in_use_bytes: int,
        limit_bytes: int,
        limit_source: str,
        waited_s: float,
        advice: str = "",
    ) -> None:
        self.operation = operation
        self.requested_bytes = requested_bytes
        self.in_use_bytes = in_use_bytes
        self.limit_bytes = limit_bytes
        self.limit_source = limit_source
        self.waited_s = waited_s
        super().__init__(
            f"{operation} needs {format_bytes(requested_bytes)} and {format_bytes(in_use_bytes)} of "
            f"{format_bytes(limit_bytes)} ({limit_source}) are in use, after {waited_s:.1f} s of waiting; "
            + (advice or "raise the limit, free memory held elsewhere, or make single items smaller")
        )


class BatchFailed(ExceptionGroup[Exception], MemflowError):
    """The function failed for some items; the exceptions inside are the function's own.

    Attributes:
        operation: whose function failed.
        indices: positions of the failed items in the input, one tuple for each exception inside.
    """

    operation: str
    indices: tuple[tuple[int, ...], ...]

    def __new__(
        cls, operation: str, exceptions: Sequence[Exception], indices: Sequence[tuple[int, ...]]
    ) -> BatchFailed:
        """Make the group, and its message from the first few items."""
        named = ", ".join(_name_items(each) for each in indices[:3])
        more = f" and {len(indices) - 3} more" if len(indices) > 3 else ""
        first = f"{type(exceptions[0]).__name__}: {exceptions[0]}" if exceptions else "no error"
        self = super().__new__(
            cls, f'{operation} failed for {named}{more}: {first}; on_error="collect" goes on past failures', exceptions
        )
        self.operation = operation
        self.indices = tuple(indices)
        return self

    def __init__(self, operation: str, exceptions: Sequence[Exception], indices: Sequence[tuple[int, ...]]) -> None:
        """The group's own state is set in `__new__`, as exception groups require."""

    def derive(self, excs: Sequence[Exception]) -> BatchFailed:  # type: ignore[override]
        """Keep the names of the items when the group is split, inside of groups too."""
        names = {id(leaf): i for e, i in zip(self.exceptions, self.indices, strict=True) for leaf in _leaves(e)}
        return BatchFailed(self.operation, list(excs), [names.get(id(next(_leaves(e))), ()) for e in excs])

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchFailed, (self.operation, list(self.exceptions), self.indices)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _name_items(indices: tuple[int, ...]) -> str:
    if len(indices) == 1:
        return f"item {indices[0]}"
    if not indices:
        return "an item"
    first, last = indices[0], indices[-1]
    if last - first >= len(indices):  # what an earlier run finished lies between them
        return f"{len(indices)} items from {first} to {last}"
    return f"items {first} to {last}"
