"""What can go wrong with a journal; import them from `memflow.exceptions`, whose docstring draws the tree.

None of these means that something acknowledged was lost: what was committed is still in the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from memflow.base_error import MemflowError

__all__ = [
    "DuplicateKeyError",
    "JournalCorruptError",
    "JournalError",
    "JournalExistsError",
    "JournalLockedError",
    "JournalMismatchError",
    "JournalVersionError",
    "JournalWriteError",
    "KeyFunctionError",
    "ResultNotStorableError",
]


class JournalError(MemflowError):
    """A journal cannot be used.

    Attributes:
        path: the journal's file, or "in memory".
    """

    def __init__(self, path: str, problem: str, advice: str = "") -> None:
        self.path = path
        super().__init__(f"journal {path}: {problem}" + (f"; {advice}" if advice else ""))


class KeyFunctionError(JournalError):
    """The `key` callable raised, or returned what cannot be a key; the error is the cause.

    Attributes:
        position: of the item, in the input.
    """

    def __init__(self, path: str, position: int, error: Exception) -> None:
        self.position = position
        super().__init__(
            path,
            f"key= failed for item {position} with {type(error).__name__}: {error}",
            "it must return a text, a number, bytes or a tuple of those, one that no other item has",
        )


class JournalLockedError(JournalError):
    """Another run has the journal open. The system frees it when that process ends, however it ends.

    Attributes:
        pid: the other process, or None where it could not be read.
        host: its machine.
        since: when it opened the journal, in words.
    """

    def __init__(self, path: str, pid: int | None, host: str, since: str) -> None:
        self.pid = pid
        self.host = host
        self.since = since
        who = "another process has it open" if pid is None else f"process {pid} on {host} has had it open since {since}"
        super().__init__(path, who, "wait for it to end or end it, or give this run another path")


class JournalExistsError(JournalError):
    """The journal holds a run, and resuming was not asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path, "it holds a run already", "resume that run (resume=True, or --resume), or give another path"
        )


class JournalMismatchError(JournalError):
    """The journal is of another operation or input.

    Attributes:
        differences: what differs, a sentence for each.
    """

    def __init__(self, path: str, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        super().__init__(
            path,
            f"it is of another run ({'; '.join(differences)})",
            "give the function and input that it was made with, or another path",
        )


class JournalVersionError(JournalError):
    """A newer memflow wrote the journal.

    Attributes:
        format: the journal's format.
        known: the newest format that this memflow reads.
    """

    def __init__(self, path: str, written: int, known: int) -> None:
        self.format = written
        self.known = known
        super().__init__(
            path,
            f"it was written by a newer memflow (format {written}, this one reads {known})",
            "upgrade memflow, or give another path",
        )


class JournalCorruptError(JournalError):
    """The journal cannot be read; the file is left as it is.

    Attributes:
        where: what was being read.
    """

    def __init__(self, path: str, problem: str, where: str) -> None:
        self.where = where
        super().__init__(
            path,
            f"it cannot be read ({where}): {problem}",
            f"the file is left as it is; `sqlite3 {path} .recover` may save what is in it, or give another path",
        )


class JournalWriteError(JournalError):
    """The journal cannot be written: the disk is full, read-only or failing. What was committed stays."""


class DuplicateKeyError(JournalError):
    """Two items have one key, so that nobody could tell which of them was finished.

    Attributes:
        key: the key's text.
        first: position of the item that was finished first.
        second: position of the other one, which is not recorded.
    """

    def __init__(self, path: str, key: str, first: int, second: int) -> None:
        self.key = key
        self.first = first
        self.second = second
        super().__init__(
            path,
            f"items {first} and {second} have the same key {key!r}",
            "give each item a key of its own, or leave key= out to go by position",
        )


class ResultNotStorableError(JournalError):
    """A result holds something that is not stored; the item is not recorded as finished.

    Attributes:
        type_name: the type that is not stored.
        position: the item's position, or None where no item applies.
    """

    def __init__(self, path: str, type_name: str, position: int | None, problem: str = "") -> None:
        self.type_name = type_name
        self.position = position
        whose = "a result" if position is None else f"the result of item {position}"
        super().__init__(
            path,
            f"{whose} {problem or f'holds a {type_name}, which is not stored'}",
            "give encode= and decode=, which turn a result into plain values (bytes, text, numbers, lists, dicts) and "
            "back, or run without keep_results",
        )
