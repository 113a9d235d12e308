"""One call that keeps a journal: what was finished before, what is in flight now, what is finished here.

Covers telling finished items, suspects and poison from what is to be done, and failures. Opening and closing is
`memflow.processing.journal_opening`'s; pulling items past what was finished `memflow.processing.resuming`'s; recording
around the user's function `memflow.processing.recording`'s; putting kept results in their places
`memflow.processing.resumed`'s.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

from memflow.exceptions import DuplicateKeyError, KeyFunctionError
from memflow.journal.base import NOTHING, FailureRecord, Opened
from memflow.journal.flight_format import FlightKind
from memflow.journal.keys import Key, make_key
from memflow.journal.writer import JournalWriter
from memflow.processing.leftover import Aside, Due, Suspicion, failure_of
from memflow.processing.outcome import ItemFailure
from memflow.processing.plan import CallPlan, JournalPlan
from memflow.processing.recorder import Recorder
from memflow.processing.storable import input_of

__all__ = ["Entry", "JournaledRun", "over_entries"]

Entry = tuple[int, Any, Key | None]
"""An item on its way: its position in the input, the item, and its key where there are keys."""

_NEVER = 1 << 62


class JournaledRun:
    """What a call knows of its journal.

    Args:
        plan: what the user asked of the journal.
        opened: what the journal held.
        writer: takes what is finished.
        recorder: takes what is in flight.
        suspicion: what was in flight at deaths.

    Attributes:
        asides: what is not run again, in input order, until it is delivered.
        alone: an item that must run alone was handed out, and has not come to its end.
        complete: set once nothing is left to do.
        first: position of the first item that comes.
        fail: ends the call with an error.
        on_idle: called when nothing that was handed out is unfinished; None while nobody waits for that.
    """

    def __init__(
        self,
        plan: JournalPlan,
        opened: Opened,
        writer: JournalWriter,
        recorder: Recorder,
        suspicion: Suspicion,
    ) -> None:
        self.plan = plan
        self.writer = writer
        self.recorder = recorder
        self.asides: deque[Aside] = deque()
        self.complete = False
        self.on_idle: Callable[[], None] | None = None
        self.alone = False
        self.fail: Callable[[Exception], None] | None = None
        self.first = opened.first
        self._opened = opened
        self._suspicion = suspicion
        self._handed = 0
        self._settled = 0
        # Where positions jump: from this ordinal on, the position is so much more.
        self._ordinals, self._jumps = array("q", [0]), array("q", [opened.first])
        self._untouched = (
            not opened.digests and not opened.failures and not suspicion.deaths and not opened.finished.count
        )
        self._name = str(plan.journal.path or "in memory")
        self._failed_at = sorted(each for each in opened.failures if isinstance(each, int))
        # From here on nothing was ever begun, and nobody need look.
        self._clear_from = _NEVER if plan.key is not None else _end_of(opened, suspicion)

    # ---- which items are to be run ----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """True while nothing that was handed out is unfinished."""
        return self._handed == self._settled

    def finished_from(self, position: int) -> int:
        """Return how many items from a position on were all finished, so that nobody need look at them."""
        if position >= self._clear_from or self.plan.key is not None:
            return 0
        return self._opened.finished.next_missing(position) - position

    def pass_over(self, first: int, count: int) -> None:
        """Leave out items that were finished, by position; what has failed among them is delivered as such."""
        end, failed = first + count, self._failed_at
        for at in failed[bisect_left(failed, first) : bisect_left(failed, end)]:
            self._leave_out(first, at - first, None)
            self._put_aside(at, 1, b"", failure_of(self._opened.failures[at], at))
            first = at + 1
        self._leave_out(first, end - first, None)

    def _leave_out(self, first: int, count: int, key: Key | None) -> None:
        if count and (self.plan.keep or self.plan.fills):
            self._put_aside(first, count, key[0] if key is not None and self.plan.keep else b"", None)

    def sort_out(self, first: int, items: Sequence[Any], entries: list[Entry], most: int) -> int:
        """Add those of some items that are to be run to `entries`, up to `most` of them; return how many it looked at.

        It stops before an item that must run alone; where nothing was added, and nothing handed out is unfinished, that
        one alone is added, and nothing else is handed out until it has ended.

        Raises:
            KeyFunctionError: the key function raised, or returned no key.
            DuplicateKeyError: two items have one key.
        """
        if first >= self._clear_from:
            count = min(len(items), most - len(entries))
            entries += zip(range(first, first + count), items, repeat(None, count), strict=False)
            self._hand_out(first, count)
            return count
        deaths, keyed = self._suspicion.deaths, self.plan.key is not None
        if self._untouched:
            taken = items[: most - len(entries)]
            entries += [(position, item, self._key(position, item)) for position, item in enumerate(taken, first)]
            self._hand_out(first, len(taken))
            return len(taken)
        passed = self._pass_over_keys(first, items) if keyed else 0
        for position, item in enumerate(items[passed:] if passed else items, first + passed):
            if len(entries) >= most:
                return position - first
            key = self._key(position, item) if keyed else None
            which = position if key is None else key[0]
            if self._is_left_out(position, item, key, which):
                continue
            if which not in deaths:
                entries.append((position, item, key))
                self._hand_out(position, 1)
                continue
            if entries or not self.idle:
                return position - first
            self.alone = True
            self.recorder.note(FlightKind.ALONE, position)
            entries.append((position, item, key))
            self._hand_out(position, 1)
            return position - first + 1
        return len(items)

    def _pass_over_keys(self, first: int, items: Sequence[Any]) -> int:
        """Leave out the first of some items, as far as they were finished; each line is paid a million times."""
        digests, failures, ask = self._opened.digests, self._opened.failures, self.plan.key
        assert digests is not None
        assert ask is not None
        meet, packed, passed = digests.meet, bytearray(), 0
        try:
            for item in items:
                digest = make_key(ask(item))[0]
                if (failures and digest in failures) or meet(digest) != 1:
                    break
                packed += digest
                passed += 1
        except Exception as error:
            raise KeyFunctionError(self._name, first + passed, error) from error
        if passed and (self.plan.keep or self.plan.fills):
            self._put_aside(first, passed, bytes(packed) if self.plan.keep else b"", None)
        return passed

    def _key(self, position: int, item: Any) -> Key:
        ask: Callable[[Any], Any] | None = self.plan.key
        assert ask is not None
        try:
            return make_key(ask(item))
        except Exception as error:
            raise KeyFunctionError(self._name, position, error) from error

    def _is_left_out(self, position: int, item: Any, key: Key | None, which: int | bytes) -> bool:
        """Put an item aside that was finished, or has failed for good; False for one that is to be run."""
        opened = self._opened
        if key is not None:
            assert opened.digests is not None
            met = opened.digests.meet(key[0])
            if met > 1:
                self._refuse_double(position, key)
        else:
            met = position in opened.finished
        if met:
            record = opened.failures.get(which)
            if record is None:
                self._leave_out(position, 1, key)
            else:
                self._put_aside(position, 1, b"", failure_of(record, position))
            return True
        if self._suspicion.is_poison(which):
            deaths = self._suspicion.deaths[which]
            message = (
                f"it was in flight at {deaths} deaths of the run; it is not run any more, until "
                "`memflow journal release` lets it"
            )
            failure = ItemFailure(position, "Poison", message, deaths, "poison")
            self._put_aside(position, 1, b"", failure)
            self._record_failure(failure, position, item, key)
            return True
        return False

    def _refuse_double(self, position: int, key: Key) -> None:
        """Raise for an item whose key was met before; the journal knows where the other one was, if it has moved."""
        self.writer.finished((position, NOTHING, key))
        self.writer.flush()
        raise DuplicateKeyError(self._name, key[1], position, position)

    def _put_aside(self, first: int, count: int, digests: bytes, failure: ItemFailure | None) -> None:
        asides = self.asides
        if failure is None and asides:
            last = asides[-1]
            goes_on = self.plan.key is not None or last.first + last.size == first
            if last.failure is None and last.ordinal == self._handed and goes_on:
                last.digests.extend(digests)
                last.size += count
                return
        asides.append(Aside(self._handed, first, count, bytearray(digests), failure))

    def _hand_out(self, first: int, count: int) -> None:
        jump = first - self._handed
        if jump != self._jumps[-1]:
            self._ordinals.append(self._handed)
            self._jumps.append(jump)
        self._handed += count

    def place(self, ordinal: int) -> int:
        """Return the position in the input of the item that was handed out as the n-th."""
        return ordinal + self._jumps[bisect_right(self._ordinals, ordinal) - 1]

    # ---- what becomes of them ---------------------------------------------------------------------------------

    def settle(self, count: int) -> None:
        """Take note that items that were handed out have come to their end."""
        self._settled += count
        if self.idle:
            self.alone = False
            on_idle, self.on_idle = self.on_idle, None
            if on_idle is not None:
                on_idle()
        if self.writer.error is not None and self.fail is not None:
            self.fail(self.writer.error)

    def item_failed(self, failure: ItemFailure, entry: Entry) -> None:
        """Record that an item has failed for good, and its place holds a failure."""
        self._record_failure(failure, *entry)
        self.settle(1)

    def consumed(self, due: Due) -> None:
        """Record that a consumer is done with a result that was handed to it."""
        self.writer.finished((due.position, NOTHING, due.key))

    def _record_failure(self, failure: ItemFailure, position: int, item: Any, key: Key | None) -> None:
        self.writer.failed(
            FailureRecord(
                position,
                key,
                failure.kind,
                failure.error_type,
                failure.message,
                failure.attempts,
                input_of(item),
            )
        )


def over_entries(plan: CallPlan) -> CallPlan:
    """Return the plan of a call whose items are entries."""
    hint = plan.hint
    return plan if hint is None else replace(plan, hint=lambda entry: hint(entry[1]))


def _end_of(opened: Opened, suspicion: Suspicion) -> int:
    """Return the position from which on nothing is known of any item."""
    ends = [end for _, end in opened.finished.ranges()][-1:]
    return max([0, *ends, *(each + 1 for each in suspicion.deaths if isinstance(each, int))])
