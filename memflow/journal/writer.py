"""The thread that commits: it takes whatever waits, and records it as one group.

Covers grouping, waiting until something is recorded, and what becomes of errors. Not covered: what a group becomes in
the file (`memflow.journal.sqlite`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from memflow.exceptions import DuplicateKeyError, JournalError, ResultNotStorableError
from memflow.journal.base import NOTHING, Commit, FailureRecord, Journal, Settled
from memflow.journal.keys import Key

__all__ = ["JournalWriter"]

_Entry = tuple[int, Any, Key | None]
_Batch = tuple[Sequence[int], Sequence[Any] | None, Sequence[Key] | None]

_REST_S = 0.05
"""Between two looks while nothing comes. An append wakes nobody, so that it costs next to nothing."""
_GROUP = 10_000
"""Items of one transaction, at most."""


class JournalWriter:
    """Records what is finished from a thread of its own, in groups.

    After an error the thread is gone and nothing more is recorded: `error` says why, and every method that promises
    something raises it. What was not recorded still waits; what had been recorded is in the journal.

    Args:
        journal: an open journal.
        interval_s: how long a group gathers, in seconds: what a crash may cost.
        most_waiting: entries at which `crowded` says so.
    """

    def __init__(self, journal: Journal, *, interval_s: float = 0.02, most_waiting: int = 100_000) -> None:
        self._journal = journal
        self._interval_s = interval_s
        self._most_waiting = most_waiting
        self._waiting: deque[_Entry] = deque()
        self._batches: deque[_Batch] = deque()
        # Items of batches; each of the two is counted by one thread alone.
        self._came = self._went = 0
        self._failures: deque[FailureRecord] = deque()
        self._settled: Settled | None = None
        self._held: Commit | None = None
        self._wake = threading.Event()
        self._recorded = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._closing = False
        self._ended = False
        self.finished: Callable[[_Entry], None] = self._waiting.append
        """Takes `(position, result or NOTHING, key or None)`. The deque's own method: no cheaper call exists."""
        self.error: Exception | None = None
        """What ended the thread; None while all is well."""
        self._thread = threading.Thread(target=self._run, name="memflow-journal", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many finished items are not recorded yet."""
        return self._still_here() + (len(self._held.finished) if self._held else 0)

    @property
    def crowded(self) -> bool:
        """Whether too much waits; let `flush` return before more is finished."""
        return self._still_here() > self._most_waiting

    def _still_here(self) -> int:
        return len(self._waiting) + self._came - self._went

    def finished_all(
        self, positions: Sequence[int], results: Sequence[Any] | None = None, keys: Sequence[Key] | None = None
    ) -> None:
        """Take the items of a batch, as one: entries are made of it in the writer's thread.

        Args:
            positions: in the input.
            results: one for each, nobody else's to change; None where they are not kept.
            keys: one for each; None in a run without keys.
        """
        self._came += len(positions)
        self._batches.append((positions, results, keys))

    def failed(self, record: FailureRecord) -> None:
        """Record a failure, with the next group."""
        self._check()
        self._failures.append(record)

    def settle(self, settled: Settled) -> None:
        """Record what is delivered, with all that was handed in before; the latest stands for those before it."""
        self._check()
        self._settled = settled

    def flush(self) -> None:
        """Wait until all that was handed in before is recorded.

        Raises:
            JournalError: it could not be.
        """
        self._check()
        with self._recorded:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            while self._answered < mine and not self._ended:
                self._recorded.wait()
        if self._answered < mine:
            self._check()

    def close(self, complete: bool) -> None:
        """Record what waits, end the thread and close the journal; as incomplete where something was not recorded.

        Raises:
            JournalError: something was not recorded.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._journal.close(complete and self.error is None and not self._anything())
        if self.error is not None or self._anything():
            self._check()

    def _check(self) -> None:
        if self.error is not None:
            raise self.error
        if self._ended:
            raise JournalError("of this run", "it is closed, and something came after", "close it after the last item")

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except Exception as error:
            self.error = error
        finally:
            with self._recorded:
                self._ended = True
                self._recorded.notify_all()

    def _step(self) -> bool:
        """Record one group; false when there will be no more."""
        closing, asked = self._closing, self._asked
        if self._anything():
            self._record_all()
        if asked > self._answered:
            with self._recorded:
                self._answered = asked
                self._recorded.notify_all()
        if closing:
            return self._anything()
        self._rest()
        return True

    def _rest(self) -> None:
        """Let a group gather: the interval from the first of it, or a little longer where nothing has come yet."""
        if not self._anything() and self._wake.wait(_REST_S):
            self._wake.clear()
            return
        if self._anything() and self._wake.wait(self._interval_s):
            self._wake.clear()

    def _anything(self) -> bool:
        return bool(self._waiting or self._batches or self._failures or self._settled is not None)

    def _record_all(self) -> None:
        """Record all that waits now. What is delivered is taken first, since the items it speaks of came before it."""
        settled, self._settled = self._settled, None
        failures = [self._failures.popleft() for _ in range(len(self._failures))]
        left, batches = len(self._waiting), len(self._batches)
        problem: JournalError | None = None
        while True:
            group = [self._waiting.popleft() for _ in range(min(left, _GROUP))]
            left -= len(group)
            while batches and len(group) < _GROUP:
                positions, results, keys = self._batches.popleft()
                group += zip(positions, results or repeat(NOTHING), keys or repeat(None), strict=False)
                batches -= 1
                self._went += len(positions)
            self._held = Commit(group, failures, None if left or batches else settled)
            try:
                self._journal.commit(self._held)
            except (DuplicateKeyError, ResultNotStorableError) as error:  # the others of the group are recorded
                problem = problem or error
            except Exception:
                self._settled = self._settled or settled
                raise
            self._held, failures = None, []
            if not left and not batches:
                break
        if problem is not None:
            raise problem
