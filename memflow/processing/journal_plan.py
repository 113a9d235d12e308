"""What the user asked of a journal, checked. Opening it is `memflow.processing.journal_opening`'s."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from memflow.exceptions import ConfigurationError
from memflow.journal.base import Journal
from memflow.processing.plan import JournalPlan

__all__ = ["JournalPath", "plan_journal"]

JournalPath = str | os.PathLike[str] | Journal | None
"""What `journal=` takes: a path, or a journal of one's own."""


def plan_journal(
    journal: JournalPath,
    *,
    key: Callable[[Any], Any] | None,
    keep_results: bool | None,
    gathers: bool,
    synchronous: Literal["NORMAL", "FULL"],
) -> JournalPlan | None:
    """Check what the user passed.

    Args:
        journal: a path, a journal, or None for none.
        key: tells items apart; None: their positions do.
        keep_results: keep results in the journal; None: if all of them make one list.
        gathers: results make one list.
        synchronous: how safe a path's journal is against a power cut.

    Raises:
        ConfigurationError: something cannot be meant so.
    """
    if journal is None:
        if key is not None or keep_results is not None:
            name = "key" if key is not None else "keep_results"
            raise ConfigurationError(f"{name}= needs a journal; give journal= a path, or leave {name}= out")
        return None
    if key is not None and not callable(key):
        raise ConfigurationError(f"key must be callable, not {type(key).__name__}, such as key=lambda item: item.id")
    if isinstance(journal, str | os.PathLike):
        if not os.fspath(journal):
            raise ConfigurationError("journal must be a path, not an empty text")
        from memflow.journal.sqlite import SqliteJournal  # not before it is needed: SQLite takes time to load

        journal = SqliteJournal(journal, synchronous=synchronous)
    elif not hasattr(journal, "commit"):
        raise ConfigurationError(f"journal must be a path or a journal, not {type(journal).__name__}")
    keep = gathers if keep_results is None else keep_results
    return JournalPlan(journal, key, keep=keep, fills=gathers and not keep, hands_on=not gathers and not keep)
