"""Sizes for one running call: the hot path's view of sizing. Pure.

Covers when to decide and what a decision changes. The choices are `memflow.sizing.policy`'s (items of a batch) and
`memflow.sizing.concurrency`'s (calls in flight); what memory allows comes through an `Outlook`, in
`memflow.sizing.outlook`.

Sizes come before concurrency: while a batch still grows, the rate says nothing about calls in flight; and while another
concurrency is tried, a batch doesn't grow. Where memory is the bound, trying twice the calls halves the batch, and the
measured rate tells which of the two the memory is better spent on.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from memflow.memory.pressure import PressureLevel
from memflow.sizing.backoff import Backoff
from memflow.sizing.concurrency import ConcurrencyChange, ConcurrencyPolicy
from memflow.sizing.decisions import Reason
from memflow.sizing.notes import calls_decision, size_decision
from memflow.sizing.operation import Operation, WarmStart
from memflow.sizing.outlook import Outlook, SizerLimits, memory_items, most_calls, planned_room
from memflow.sizing.policy import SizeChoice, SizeView, next_batch_size
from memflow.sizing.saturation import LoopTime
from memflow.sizing.warm import sizes_to_take

__all__ = ["CallSizer"]

_GROWING_S = 0.005
_TIMED = 3
_FAR = 4
_SETTLED_S = 0.05
_LOOP_S = 0.05
_CLIMBED = 1.005
_PLANNED = 1.05
_PLAN_S = 1.0


def _first_factor(operation: Operation) -> int:
    """Return how steeply a call may begin its climb: calls of many items one step after another."""
    if operation.concurrency is not None and not operation.climbing:
        return 0
    return 2 if operation.kind == "batches" else 4


class CallSizer:
    """Sizes of one call. The two attributes are read before each batch; everything else happens in `finished`.

    Attributes:
        batch_size: items of the next batch.
        concurrency: calls to have in flight.
    """

    __slots__ = (
        "_auto",
        "_backoff",
        "_batches",
        "_due_s",
        "_ended",
        "_judged",
        "_last_in_use",
        "_limits",
        "_loop_time",
        "_next_loop_s",
        "_operation",
        "_outlook",
        "_plan_bytes",
        "_plan_until_s",
        "_planned_level",
        "_search",
        "_since_s",
        "_size_before_probe",
        "_soon_s",
        "_tally",
        "_uncounted",
        "_warm",
        "_warm_items",
        "_whole",
        "batch_size",
        "concurrency",
    )

    def __init__(
        self,
        outlook: Outlook,
        operation: Operation,
        limits: SizerLimits,
        *,
        batch_size: int,
        concurrency: int,
        auto: bool,
        now_s: float,
        warm: WarmStart | None = None,
        loop_time: Callable[[], LoopTime] | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.concurrency = concurrency
        self._loop_time, self._next_loop_s = loop_time, now_s
        self._outlook = outlook
        self._operation = operation
        self._limits = limits
        self._auto = auto
        self._batches = operation.kind == "batches"
        self._search = ConcurrencyPolicy(
            start=concurrency,
            least=limits.least_concurrency,
            most=limits.most_concurrency,
            now_s=now_s,
            ramp=_first_factor(operation),
        )
        self._warm = warm if auto else None
        self._warm_items = operation.items + concurrency * (batch_size if self._batches else 1)
        self._due_s = self._soon_s = self._since_s = now_s
        self._judged = 0
        # Batches of the present size that have ended. Where calls wait for each other, the first of them waited for
        # others of another size: their times would tell nothing about this one.
        self._ended = 0
        self._whole = False
        self._size_before_probe: int | None = None
        # Items that have ended and that the search was not told of yet, and how many more may go that way.
        self._tally = self._uncounted = 0
        self._last_in_use = 0
        self._backoff = Backoff()
        self._plan_bytes, self._plan_until_s = 0, now_s
        # Items are admitted one by one until admission refuses: from there on, more calls would only wait.
        self._planned_level = PressureLevel.STOP if self._batches else PressureLevel.SHRINK
        operation.open += 1
        operation.opened_at = operation.batches
        operation.calls = concurrency
        if self._batches:
            operation.time_at(concurrency)

    # ---- for admission ------------------------------------------------------------------------------------------

    @property
    def guard_bytes(self) -> int:
        """Room that admission should keep for what no prediction covers, in bytes."""
        return self._outlook.guard_bytes

    @property
    def base_bytes(self) -> int | None:
        """What is in use without our work, in bytes; None before the first reading."""
        return self._outlook.base_bytes

    @property
    def reusable_bytes(self) -> int:
        """What the allocator holds that was freed and is handed out again, in bytes."""
        return self._outlook.reusable_bytes

    def predict_bytes(self, weight: float) -> int:
        """Return what a batch of this weight is predicted to take; 0 until something was learnt."""
        cost = self._outlook.cost(self._operation.name)
        if cost is None:
            return 0
        # An item function's load is learnt per item: each of its items is a call.
        each = self._operation.weight_per_item  # 0 where every hint says that the size is unknown
        calls = 1.0 if self._batches or not each else max(1.0, weight / each)
        return int(cost.predict_bytes(weight, calls))

    @property
    def guesses(self) -> bool:
        """True while predictions rest on what an earlier run says: reason to be careful, and none to refuse."""
        return self._outlook.guesses(self._operation.name)

    def most_weight(self) -> float:
        """Return the weight of a batch that memory allows with the calls in flight that are set; inf where unknown.

        Never less than that of the smallest batch that settings allow, were its items of average weight.
        """
        if not self._auto:
            return inf
        fits = memory_items(self._outlook, self._operation, self._limits, calls=self.concurrency)
        return inf if fits is None else max(self._limits.bounds.least, fits) * self._operation.weight_per_item

    # ---- for the pipeline ---------------------------------------------------------------------------------------

    def finished(self, *, items: int, weight: float, seconds: float, full: bool, in_flight: int, now_s: float) -> None:
        """Learn from a batch that ended, and decide when it is time.

        Args:
            items: Its items.
            weight: 1 an item, or the sum of its size hints in bytes.
            seconds: From its start to its end.
            full: It was as large as was wanted, and enough others ran beside it to judge by.
            in_flight: Calls in flight as it ended, itself among them.
            now_s: Monotonic time, seconds.
        """
        self._operation.count(items, weight, in_flight)
        if items < self._uncounted and now_s < self._due_s:
            self._uncounted -= items
            self._tally += items
            return
        if self._batches:
            self._time(items, seconds, full=full, in_flight=in_flight, now_s=now_s)
        if not self._auto:
            return
        search, started_s = self._search, now_s - seconds
        items += self._tally
        search.finished(
            calls=1 if self._batches else items, items=items, started_s=started_s, in_flight=in_flight, now_s=now_s
        )
        if now_s >= self._due_s or search.round_full or (now_s >= self._soon_s and search.meter.calls != self._judged):
            self._backoff.ended(started_s)
            self._decide(now_s)
        self._count_on()

    def _time(self, items: int, seconds: float, *, full: bool, in_flight: int, now_s: float) -> None:
        if now_s - seconds >= self._since_s:
            self._ended += 1
            if self._ended > in_flight:
                self._operation.timing.add(items, seconds)
            self._whole = full and 2 * items >= self.batch_size

    def _count_on(self) -> None:
        """Begin to count items by themselves, for as long as nothing hangs on a single one."""
        self._tally = 0
        self._uncounted = 0 if self._batches else self._search.alike

    def held_back(self, now_s: float) -> None:
        """Take note that a batch waits for memory, or has waited: rates meanwhile tell nothing about calls in flight.

        Of batches they do: more calls are smaller ones of the same weight in all, and whatever waits they cause are
        their own.
        """
        if not self._batches or self._search.ramping:
            self._search.held_back(now_s)
            self._count_on()

    def shrink(self, now_s: float) -> None:
        """Halve, since memory is short or an allocation failed; nothing grows for a while."""
        if not self._auto or not self._backoff.hit(now_s):
            return
        self._warm = None
        if self._batches and self.batch_size > self._limits.bounds.least:
            self._set_size(max(self._limits.bounds.least, self.batch_size // 2), Reason.PRESSURE, None, now_s)
        else:
            self._apply(self._search.retreat(now_s, self._backoff.pause_s), now_s)
        self._count_on()

    def close(self) -> None:
        """End: the sizes reached are where the operation's next call starts."""
        operation = self._operation
        operation.open = max(0, operation.open - 1)
        if self._auto and self._warm is None:  # else an earlier run knows better than one that hardly began
            operation.start = None
            operation.concurrency = self._search.best
            operation.climbing = self._search.ramping
            operation.batch_size = self._size_before_probe or self.batch_size

    # ---- deciding -----------------------------------------------------------------------------------------------

    def _decide(self, now_s: float) -> None:
        outlook = self._outlook
        level = outlook.level()
        in_use = outlook.in_use_bytes()
        planned = level < self._planned_level and self._is_planned(in_use, now_s)
        may_grow = (level < PressureLevel.HOLD or planned) and not self._backoff.holds(now_s)
        climbing = level >= PressureLevel.SHRINK and not planned and in_use > _CLIMBED * self._last_in_use
        self._last_in_use = in_use
        if self._warm is not None and self._operation.items >= self._warm_items:
            warm, self._warm = self._warm, None
            if may_grow:
                self._go_on_from(warm, now_s)
        if self._loop_time is not None and (now_s >= self._next_loop_s or self._search.meter.wants_note):
            self._search.note_loop(now_s, self._loop_time())
            self._next_loop_s = now_s + _LOOP_S
        settled = not self._batches or self._decide_size(now_s, may_grow=may_grow, climbing=climbing)
        if settled:
            self._decide_concurrency(now_s, may_grow=may_grow)
        if self._batches:
            self._due_s = self._soon_s = now_s + (_SETTLED_S if settled and not self._searching() else _GROWING_S)
        else:  # there is nothing to decide before a round has ended, which is seen soon
            self._due_s, self._soon_s, self._judged = now_s + _SETTLED_S, now_s + _GROWING_S, self._search.meter.calls

    def _is_planned(self, in_use_bytes: int, now_s: float) -> bool:
        """True where calls were sized to come this near to the limit, so that it is no sign of anything wrong.

        Batches of an earlier plan may be in flight still, so the largest one of the last second counts. Sizes are
        rounded down, by a third where it is one item or two: the room that they were fitted to counts in full.
        """
        if self._outlook.base_bytes is None:
            return False
        weight = (self.batch_size if self._batches else 1) * self._operation.weight_per_item
        plan = self.concurrency * self.predict_bytes(weight)
        if plan and self._batches:
            plan = max(plan, planned_room(self._outlook, self._operation, self._limits, calls=self.concurrency))
        if plan >= self._plan_bytes or now_s >= self._plan_until_s:
            self._plan_bytes, self._plan_until_s = plan, now_s + _PLAN_S
        return in_use_bytes <= self._outlook.base_bytes + _PLANNED * self._plan_bytes

    def _go_on_from(self, warm: WarmStart, now_s: float) -> None:
        """Take the sizes that an earlier run reached, now that a round has shown what memory says to it."""
        items, calls = sizes_to_take(warm, self._outlook, self._operation, self._limits, batch_size=self.batch_size)
        before = self.concurrency
        self._search.begin_at(calls, now_s, climbing=warm.climbing)
        if items != self.batch_size:
            self._set_size(items, Reason.PROFILE, None, now_s)
        if calls != before:
            self._apply(ConcurrencyChange(before, calls, Reason.PROFILE), now_s)

    def _searching(self) -> bool:
        return self._search.probing or self._search.best_rate is None

    def _decide_size(self, now_s: float, *, may_grow: bool, climbing: bool) -> bool:
        """Choose the items of a batch; True when that has settled."""
        view = self._view(
            memory_items(self._outlook, self._operation, self._limits, calls=self.concurrency),
            hold=self._why_hold(may_grow=may_grow),
            climbing=climbing,
        )
        choice = next_batch_size(view, self._limits.bounds)
        if choice.items != self.batch_size:
            self._set_size(choice.items, choice.reason, view, now_s)
            return False
        if self._search.ramping:
            return True
        if not self._is_proven():
            return False
        if choice.reason not in (Reason.PROBE, Reason.STEADY):
            self._note_once(choice, view, now_s)
        return True

    def _why_hold(self, *, may_grow: bool) -> Reason | None:
        if not may_grow:
            return Reason.PRESSURE
        if self._search.probing or self._search.ramping:
            return Reason.PROBE
        return None if self._is_proven() else Reason.STEADY

    def _view(self, fits: float | None, *, hold: Reason | None, climbing: bool) -> SizeView:
        limits, timing = self._limits, self._operation.timing
        return SizeView(
            current=self.batch_size,
            memory_items=fits,
            knee_items=timing.knee_items(limits.knee_overhead_pct),
            time_items=timing.items_within(limits.max_batch_s),
            full=self._whole,
            hold=hold,
            climbing=climbing,
        )

    def _is_proven(self) -> bool:
        """True when the present size was seen to work; and was timed, where the knee is unknown or a mere guess.

        A knee that lies far beyond what was timed is a guess: an error of a tenth in two short times makes one of half.
        """
        timing = self._operation.timing
        guessed = timing.knee_ratio is None or self.batch_size >= _FAR * timing.largest_items
        return self._ended >= (self._operation.calls + _TIMED if guessed else 1)

    def _set_size(self, items: int, reason: Reason, view: SizeView | None, now_s: float) -> None:
        before, self.batch_size = self.batch_size, items
        self._since_s = now_s
        self._ended = 0
        self._whole = False
        self._size_before_probe = None
        self._operation.sized_at = self._operation.batches
        self._search.restart(now_s)
        if self._search.value != self.concurrency:
            self.concurrency = self._search.value
            self._operation.time_at(self.concurrency)
        self._note_size(before, reason, view, now_s)

    def _note_once(self, choice: SizeChoice, view: SizeView, now_s: float) -> None:
        """Note why nothing changes, once for each reason."""
        for last in reversed(self._operation.decisions):
            if last.what == "batch_size":
                if last.reason is choice.reason or (last.after == choice.items and last.before != last.after):
                    return
                break
        self._note_size(self.batch_size, choice.reason, view, now_s)

    def _note_size(self, before: int, reason: Reason, view: SizeView | None, now_s: float) -> None:
        decision = size_decision(self._outlook, self._operation, before, self.batch_size, reason, view, now_s)
        self._outlook.note(self._operation, decision)

    def _decide_concurrency(self, now_s: float, *, may_grow: bool) -> None:
        search = self._search
        # Item functions are admitted item by item: admission bounds them better than any average could.
        change = search.limit(self._most_calls(), now_s) if self._batches else None
        if search.ramping:
            change = search.climb(now_s, may_grow=may_grow, items=self.batch_size if self._batches else 1)
        while change is None and search.ready and not search.ramping:
            change = search.decide(now_s, may_grow=may_grow)
            if change is None or change.reason is not Reason.PAID:
                break
            self._apply(change, now_s)  # what paid is followed at once
            change = None
        if change is not None:
            self._apply(change, now_s)

    def _apply(self, change: ConcurrencyChange, now_s: float) -> None:
        if self._batches:
            self._fit_size_to(change)
            if change.after != self.concurrency:
                self._operation.time_at(change.after)
                self._since_s, self._ended = now_s, 0
        self.concurrency = change.after
        if change.reason is Reason.PAID:
            self._operation.rate = change.rate
        allowed = self._most_calls()
        self._outlook.note(self._operation, calls_decision(self._outlook, self._operation, change, allowed, now_s))

    def _most_calls(self) -> float:
        """Return the calls that memory allows: with the smallest batches; in the first climb, with those there are."""
        items = self.batch_size if self._batches and self._search.ramping else None
        return most_calls(self._outlook, self._operation, self._limits, items=items)

    def _fit_size_to(self, change: ConcurrencyChange) -> None:
        """Share memory among more calls, or give it to fewer, while they are tried; undo that when it didn't pay."""
        if change.reason is Reason.PROBE:
            fits = memory_items(self._outlook, self._operation, self._limits, calls=change.after)
            if fits is not None and (change.after < change.before or fits < self.batch_size):
                self._size_before_probe = self.batch_size
                view = self._view(fits, hold=None if change.after < change.before else Reason.PROBE, climbing=False)
                self.batch_size = next_batch_size(view, self._limits.bounds).items
        elif change.reason is Reason.DID_NOT_PAY and self._size_before_probe is not None:
            self.batch_size, self._size_before_probe = self._size_before_probe, None
        else:
            self._size_before_probe = None
