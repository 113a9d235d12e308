"""The journal's values, and the Protocol that every journal keeps.

Covers what goes in and comes out; not covered: how it is stored (`memflow.journal.sqlite`, `memflow.journal.memory`),
when it is committed (`memflow.journal.writer`).

An item is known by its position in the input, or in a keyed run by the digest of its key: `ItemId` is either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

from memflow.exceptions import ConfigurationError
from memflow.journal.done import Digests, Positions
from memflow.journal.keys import Key, cut_text

__all__ = [
    "NOTHING",
    "Commit",
    "DeathRecord",
    "FailureKind",
    "FailureRecord",
    "Finished",
    "ItemId",
    "Journal",
    "JournalSummary",
    "KeptResult",
    "Opened",
    "RunIdentity",
    "Selection",
    "Settled",
    "differences",
]

ItemId = int | bytes
FailureKind = Literal["error", "poison"]


class _Nothing(Enum):
    NOTHING = "no result kept"

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing.NOTHING
"""Stands where no result is kept, since None is a result."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Which run a journal is of."""

    operation: str
    """The operation's name."""
    keyed: bool
    """Items are known by key; otherwise by position."""
    fingerprint: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """What is known of the input, such as its path and size; names that only one run has are not compared."""


def differences(recorded: RunIdentity, now: RunIdentity) -> list[str]:
    """Say in what two runs differ, a sentence for each; an empty list where the second may resume the first."""
    pairs: list[tuple[str, Any, Any]] = [
        ("operation", recorded.operation, now.operation),
        ("keyed", recorded.keyed, now.keyed),
    ]
    pairs += [
        (name, value, now.fingerprint[name]) for name, value in recorded.fingerprint.items() if name in now.fingerprint
    ]
    return [f"{name}: the journal has {was!r}, this run {is_now!r}" for name, was, is_now in pairs if was != is_now]


class Finished(NamedTuple):
    """An item that was finished. A plain tuple of the same three will do, and is what the hot path hands in."""

    position: int
    """Its position in the input."""
    result: Any = NOTHING
    """Its result, or `NOTHING` where results are not kept."""
    key: Key | None = None
    """Its key in a keyed run."""


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """An item that was given up. That is final, as finishing is, until it is released."""

    position: int
    """Its position in the input."""
    key: Key | None
    """Its key in a keyed run."""
    kind: FailureKind
    """"error": the function raised; "poison": it was in flight at too many deaths."""
    error_type: str
    """The error's class."""
    message: str
    """The error's text."""
    attempts: int = 1
    """How often it was tried."""
    input: bytes | None = None
    """The item itself, as the caller wrote it down; None where it did not."""

    @property
    def key_text(self) -> str | None:
        """The key in words, None in a run without keys."""
        return None if self.key is None else self.key[1]

    @property
    def item(self) -> ItemId:
        """What the item is known by: the digest of its key, or its position."""
        return self.position if self.key is None else self.key[0]


@dataclass(frozen=True, slots=True)
class Settled:
    """How much is in the hands of the outside world: what was written there need not be kept here."""

    items: int
    """Every item before this position is delivered."""
    offsets: Mapping[str, int] = field(default_factory=dict)
    """How long each output file was then, in bytes, by name."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else the writer wants to find again."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What is recorded in one transaction."""

    finished: Sequence[tuple[int, Any, Key | None]] = ()
    """Items finished: position, result or `NOTHING`, key or None."""
    failures: Sequence[FailureRecord] = ()
    """Items given up."""
    settled: Settled | None = None
    """What is delivered, once all of the above is recorded."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a journal held when it was opened; later commits don't change it."""

    fresh: bool
    """Nothing was there: this run is the first."""
    complete: bool
    """The run was closed as complete."""
    finished: Positions
    """Positions that need not run, failed ones among them; empty in a keyed run."""
    digests: Digests | None
    """Digests of the keys that need not run, failed ones among them; None in a run without keys."""
    failures: Mapping[ItemId, FailureRecord]
    """Items given up."""
    deaths: Mapping[ItemId, int]
    """At how many deaths each unfinished item was in flight."""
    settled: Settled | None
    """What was delivered; None where nothing was."""
    first: int = 0
    """Position of the first item that the run is given; those before it are not given again."""


@dataclass(frozen=True, slots=True)
class JournalSummary:
    """A journal in figures, for showing."""

    identity: RunIdentity
    """Which run it is of."""
    created_s: float
    """When it was made, in seconds since 1970."""
    memflow: str
    """The version of memflow that made it."""
    finished: int
    """Items finished, failures not among them."""
    failed: int
    """Items given up since the function raised."""
    quarantined: int
    """Items given up since they kill."""
    settled: Settled | None
    """What was delivered; None where nothing was."""
    complete: bool
    """The run was closed as complete."""
    size_bytes: int
    """Size of its files, bytes; 0 in memory."""


@dataclass(frozen=True, slots=True)
class DeathRecord:
    """An unfinished item that was in flight when a run died."""

    position: int | None
    """Its position in the input; None in a keyed run, where the key stands for it."""
    key: Key | None
    """Its key in a keyed run."""
    deaths: int
    """At how many deaths."""

    @property
    def key_text(self) -> str | None:
        """The key in words, None in a run without keys."""
        return None if self.key is None else self.key[1]


class KeptResult(NamedTuple):
    """A result that a journal keeps."""

    position: int
    """The item's position in the input of the run that finished it."""
    digest: bytes | None
    """The digest of its key; None in a run without keys."""
    result: Any
    """What the function returned."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which failures to release; a failure is chosen when any part names it."""

    kinds: frozenset[str] = frozenset()
    """"error", "poison" or both."""
    positions: frozenset[int] = frozenset()
    """Positions in the input."""
    keys: frozenset[str] = frozenset()
    """Keys, in words."""

    @classmethod
    def parse(cls, words: Iterable[str]) -> Selection:
        """Read "all", "error", "poison", a position, or a key; "key:TEXT" is always a key.

        Raises:
            ConfigurationError: no word was given.
        """
        kinds, positions, keys = set[str](), set[int](), set[str]()
        for word in words:
            if word == "all":
                kinds |= {"error", "poison"}
            elif word in ("error", "poison"):
                kinds.add(word)
            elif word.isdecimal():
                positions.add(int(word))
            else:
                keys.add(cut_text(word.removeprefix("key:")))
        if not (kinds or positions or keys):
            raise ConfigurationError("nothing is selected; give all, error, poison, positions or keys")
        return cls(frozenset(kinds), frozenset(positions), frozenset(keys))

    def takes(self, failure: FailureRecord) -> bool:
        """Whether a failure is chosen."""
        return failure.kind in self.kinds or failure.position in self.positions or failure.key_text in self.keys


class Journal(Protocol):
    """Where a run writes down what it finished. Every method blocks; several threads may use one journal."""

    @property
    def path(self) -> Path | None:
        """The file; None where there is none. What else a run leaves for the next one stands beside it."""

    def open(self, identity: RunIdentity, *, resume: bool = True) -> Opened:
        """Lock the journal and read what it holds.

        Raises:
            JournalLockedError: another run has it open.
            JournalExistsError: it holds a run, and `resume` is false.
            JournalMismatchError: it is of another run.
            JournalError: it cannot be read or written.
        """

    def commit(self, commit: Commit) -> None:
        """Record all of it in one transaction. Of an item recorded before, what was recorded first stays.

        Raises:
            DuplicateKeyError: two items have one key; everything else is recorded.
            ResultNotStorableError: a result is not stored; everything else is recorded.
            JournalWriteError: nothing of it is recorded.
        """

    def count_deaths(self, items: Iterable[int | Key]) -> Mapping[ItemId, int]:
        """Add one death to each item that was in flight at one, on disk before this returns; give their totals.

        Items that are finished or given up are left out.
        """

    def results(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """Give the kept results of the positions from `first` to `last`, both included, in order."""

    def result(self, digest: bytes) -> Any:
        """Give the kept result of a key's digest, or `NOTHING`."""

    def release(self, selection: Selection) -> int:
        """Let failures run again, forgetting their deaths; give how many there were."""

    def summary(self) -> JournalSummary:
        """Give the journal in figures."""

    def failures(self) -> Iterator[FailureRecord]:
        """Give every failure, in order of position."""

    def close(self, complete: bool) -> None:
        """Write down whether the run is complete, and unlock. Closing twice does nothing."""
