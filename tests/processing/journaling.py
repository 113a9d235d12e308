"""Functions whose runs are counted, and journals that hold what a dead run would have left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import pytest

from memflow.journal.base import Commit, FailureRecord, RunIdentity
from memflow.journal.memory import MemoryJournal
from memflow.processing.fingerprint import fingerprint_of
from memflow.processing.processor import BatchProcessor
from memflow.testing import make_processor

OPERATION = "test.work"
KEYED = pytest.mark.parametrize("keyed", [False, True])


def processor(**changes: Any) -> BatchProcessor:
    return make_processor(**{"concurrency": 4, "batch_size": 3, "auto_optimize": False, **changes})


def options(keyed: bool, journal: Any, **more: Any) -> dict[str, Any]:
    key = {"key": str} if keyed else {}
    return {"operation": OPERATION, "journal": journal, "keep_results": True, **key, **more}


class Work:
    """Doubles; notes how often each item ran, and beside how many others."""

    def __init__(self, *, failing: Iterable[Any] = (), stops_at: Any = None) -> None:
        self.failing = set(failing)
        self.stops_at = stops_at
        self.runs: Counter[Any] = Counter()
        self.most_beside: Counter[Any] = Counter()
        self._inside: set[Any] = set()
        self.stopped = anyio.Event()

    async def __call__(self, item: Any) -> Any:
        self.runs[item] += 1
        self._inside.add(item)
        try:
            for _ in range(3):
                for each in self._inside:
                    self.most_beside[each] = max(self.most_beside[each], len(self._inside) - 1)
                await anyio.sleep(0)
            if item == self.stops_at:
                self.stopped.set()
                await anyio.sleep_forever()
            if item in self.failing:
                raise ValueError(f"no {item}")
        finally:
            self._inside.discard(item)
        return item * 2

    async def batch(self, items: list[Any]) -> list[Any]:
        return [await self(item) for item in items]


def left_by(
    items: Any,
    *,
    finished: Mapping[int, Any],
    failed: Iterable[int] = (),
    suspects: Mapping[int, int] = {},
    keep: bool = True,
) -> MemoryJournal:
    """A journal as a run without keys leaves it: results by position, failures, and deaths by position."""
    journal = MemoryJournal()
    journal.open(RunIdentity(OPERATION, False, {**fingerprint_of(items), "keep_results": keep}))
    failures = [FailureRecord(at, None, "error", "ValueError", f"no {at}", 1) for at in failed]
    journal.commit(Commit([(at, result, None) for at, result in finished.items()], failures))
    for _ in range(max(suspects.values(), default=0)):
        journal.count_deaths([at for at, deaths in suspects.items() if deaths > _])
    journal.close(complete=False)
    return journal
