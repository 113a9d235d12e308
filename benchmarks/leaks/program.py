"""What a program of the corpus is, how one is declared, and the ledger in which it counts what it leaked.

Covers no program: those that leak are `leaking`'s, the others `clean`'s. What became of runs is judged in `score`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from benchmarks.leaks.score import Truth

__all__ = ["LEDGER", "ITEMS_OF_A_BATCH", "Item", "Make", "Program", "blob", "by_name", "clean", "leaking"]

ITEMS_OF_A_BATCH = 50
"""Items of a batch, unless the program says otherwise."""

Item = Callable[[int], Awaitable[object]]
"""Works on one item, given its number; what it returns is handed out and dropped."""
Make = Callable[[Random, int], Item]
"""Sets a program up: given its randomness and the items of the whole run, returns what works on an item."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program."""

    name: str
    """What it is called."""
    make: Make
    """Sets it up."""
    truth: Truth
    """What is right to say about it."""
    streams: bool = False
    """True: one stream for the whole run, instead of one call for each batch."""
    batch_items: Callable[[float], int] | None = None
    """From the share of the run that is done to the items of the next batch; None: always the same."""


class _Ledger:
    """Counts what was leaked, in bytes; a plain number, so that counting leaks nothing."""

    __slots__ = ("leaked_bytes",)

    def __init__(self) -> None:
        self.leaked_bytes = 0

    def leak(self, size: int) -> None:
        """Count so many bytes more."""
        self.leaked_bytes += size


LEDGER = _Ledger()


def leaking(
    *culprit: str, message: tuple[str, ...] = (), begins: float = 0.0, streams: bool = False
) -> Callable[[Make], Program]:
    """Declare a program that leaks.

    Args:
        culprit: Words of which a right suspect contains one.
        message: Words of which a right kind, message or advice contains one, where no Python object is to blame.
        begins: Share of the run after which it begins to leak.
        streams: As in `Program`.
    """
    truth = Truth(leaks=True, begins=begins, suspect_words=culprit, message_words=message)
    return lambda make: Program(make.__name__, make, truth, streams)


def clean(
    *, may_suspect: bool = False, streams: bool = False, batch_items: Callable[[float], int] | None = None
) -> Callable[[Make], Program]:
    """Declare a program that keeps nothing for ever.

    Args:
        may_suspect: A suspicion is forgiven if it is taken back before the end.
        streams: As in `Program`.
        batch_items: As in `Program`.
    """
    truth = Truth(leaks=False, may_suspect=may_suspect)
    return lambda make: Program(make.__name__, make, truth, streams, batch_items)


def blob(rng: Random, least: int, most: int) -> bytes:
    """Return between `least` and `most` random bytes."""
    return rng.randbytes(rng.randint(least, most))


def by_name(programs: tuple[Program, ...]) -> dict[str, Program]:
    """Return programs by name, each once."""
    found = {each.name: each for each in programs}
    if len(found) < len(programs):
        raise ValueError("two programs have the same name; rename one")
    return found
