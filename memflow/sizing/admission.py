"""Who may start: bytes promised to batches, against a budget that is measured. Pure.

Covers reservations and the answer to "does this fit now?". How many bytes a batch will need is predicted by
`memflow.sizing.cost`; waiting, reclaiming and giving up are done by `memflow.processing.gate`. Deliberately not
tracked: what user code holds beyond a batch's end, and what other processes hold. Both show up in the readings.

The rule: with `base` what is in use without our work, a batch is admitted while

    base + reserved + predicted + guard <= share of the limit, and
    measured - reusable - returned + pending + predicted + guard <= a little larger share

`reserved` is everything promised; it covers work that has not allocated yet. `measured` is what the last reading says;
it covers promises that were too small, and what the allocator keeps. `pending` is what was admitted too recently for
that reading to show it: without it, everything admitted between two readings would be free. `returned` is what ended
since that reading: without it, those that start in the place of others would find no room; it counts for nothing while
somebody holds objects of the program's, who keeps what ended alive (`memflow.memory.pins`). `guard` is room for what no
prediction covers (1.5 times the 99th percentile of past surprises, see `cost`).

The second share is larger, since what is pending counts twice once it was allocated, and what is reusable is told low.

One item may always run alone, as long as it fits under the limit itself: above what is in use, or above the base. What
is larger than the whole limit is refused for good.

Work that failed for want of memory asks to be `alone`: it goes before all others that wait, starts once nothing else
is held, and nothing else starts until it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from math import inf
from threading import Lock

from memflow.memory.readings import MemoryReading
from memflow.sizing.refusal import Refusal, RefusalReason

__all__ = ["Admission", "Refusal", "RefusalReason", "Reservation"]

_FORGOTTEN_S = 1.0


class Reservation:
    """Bytes promised to one batch. Give them back with `release()`, as often as you like.

    Attributes:
        bytes: what is promised now.
    """

    __slots__ = ("_admission", "_admitted_s", "_alone", "_pending", "bytes")

    def __init__(self, admission: Admission, count: int, admitted_s: float, *, alone: bool = False) -> None:
        self._admission: Admission | None = admission
        self._admitted_s = admitted_s
        self._alone = alone
        self._pending = True
        self.bytes = count

    def shrink(self, to_bytes: int) -> None:
        """Give back a part, such as when some of the batch's items are finished; never grows."""
        if self._admission is not None:
            self._admission._shrink(self, max(0, to_bytes))

    def release(self, *, now_s: float | None = None) -> None:
        """Give everything back.

        Args:
            now_s: Monotonic time, seconds, where the batch has ended and let go of its memory: until a reading shows
                it, its bytes don't count as in use.
        """
        admission, self._admission = self._admission, None
        if admission is not None:
            admission._release(self, now_s)


class Admission:
    """The ledger of reservations, one for all calls that share a memory limit.

    Args:
        share: Part of the limit that promises may fill; the rest is headroom for what is not ours to predict.
        live_share: Part of the limit that what is measured may fill.
        settle_s: Age at which an admitted batch is taken to show up in readings, seconds. Much more would count twice
            what is allocated at once; what allocates later is covered by what is reserved.
        patience_s: Seconds after which a waiting batch is let through before smaller ones.

    Attributes:
        reserved_bytes: what is promised now.
        holders: reservations held now.
        spare_bytes: what was left beside the batch that asked last, less what others took since who followed where
            work had ended; negative where it did not fit.
        waiters: who waits: since when, and when it asked last; changed by the methods alone.
        changes: how often something was admitted or given back, which tells progress from standstill.

    Example:
        >>> from memflow.memory.readings import MemoryReading
        >>> admission = Admission()
        >>> reading = MemoryReading(0.0, 100, 100, in_use_bytes=100, limit_bytes=1000)
        >>> held = admission.try_reserve(600, reading=reading, now_s=0.0)
        >>> admission.try_reserve(200, reading=reading, now_s=0.0).reason
        <RefusalReason.BUDGET: 'budget'>
        >>> held.release()
        >>> admission.reserved_bytes
        0
    """

    __slots__ = (
        "__weakref__",
        "_alone",
        "_base_bytes",
        "_live_share",
        "_lock",
        "_patience_s",
        "_pending",
        "_pending_bytes",
        "_returned",
        "_returned_bytes",
        "_settle_s",
        "_share",
        "changes",
        "holders",
        "reserved_bytes",
        "spare_bytes",
        "waiters",
    )

    def __init__(
        self, *, share: float = 0.85, live_share: float = 0.88, settle_s: float = 0.002, patience_s: float = 0.25
    ) -> None:
        self.reserved_bytes = 0
        self.holders = 0
        self.changes = 0
        self._alone = False
        self._share = share
        self._live_share = live_share
        self._settle_s = settle_s
        self._patience_s = patience_s
        self._base_bytes = 0
        self._pending: deque[Reservation] = deque()
        self._pending_bytes = 0
        self._returned: deque[tuple[float, int]] = deque()
        self._returned_bytes = 0
        self.spare_bytes = 0
        self.waiters: dict[Hashable, tuple[float, float]] = {}
        self._lock = Lock()

    def try_reserve(
        self,
        predicted_bytes: int,
        *,
        reading: MemoryReading,
        now_s: float,
        single: bool = False,
        guard_bytes: int = 0,
        base_bytes: int | None = None,
        reusable_bytes: int = 0,
        waiter: Hashable | None = None,
        alone: bool = False,
        stopped: bool = False,
        room_bytes: int | None = None,
        pinned: bool = False,
    ) -> Reservation | Refusal:
        """Promise bytes to a batch if they fit; a refusal changes nothing.

        Args:
            predicted_bytes: What the batch is predicted to take; 0 where nothing is known yet.
            reading: The latest reading.
            now_s: Monotonic time of asking, seconds.
            single: The batch can't be made smaller (one item): it may run alone.
            guard_bytes: Room to keep for what no prediction covers.
            base_bytes: What is in use without our work; by default, what was in use when nothing was reserved.
            reusable_bytes: What the allocator holds that the program has freed, and hands out again.
            waiter: Who asks, where it will ask again until it is admitted or calls `forget`; keeps its turn.
            alone: Only with nothing else held, and before whoever else waits.
            stopped: Use is at the last level: nothing may start beside others.
            room_bytes: What the process can still get, for one item alone; by default, all up to the limit.
            pinned: What has ended may be alive still, or makes no room for this batch.
        """
        with self._lock:
            self._settle(reading.time_s)
            if base_bytes is not None:
                self._base_bytes = base_bytes
            elif not self.holders:
                self._base_bytes = reading.in_use_bytes
            measured = reading.in_use_bytes - min(reusable_bytes, reading.in_use_bytes)
            limit = reading.limit_bytes
            if single and predicted_bytes > limit:
                reason: RefusalReason | None = RefusalReason.TOO_LARGE
            else:
                reason = self._judge_turn(waiter, now_s, alone=alone)
                live = max(0, measured - (0 if pinned else self._returned_bytes)) + self._pending_bytes
                if reason is None and not self._fits(predicted_bytes + guard_bytes, live, limit, stopped=stopped):
                    first = single and not self.holders
                    fits = first and self._fits_alone(predicted_bytes, measured, reading, room_bytes)
                    reason = None if fits else RefusalReason.BUDGET
            if reason is not None:
                return Refusal(predicted_bytes, self.reserved_bytes, reading.in_use_bytes, reading.limit_bytes, reason)
            if waiter is not None:
                self.waiters.pop(waiter, None)
            # At least one byte, so that work of unknown size is seen to be in flight.
            return self._admit(max(1, predicted_bytes), now_s, alone=alone)

    def waits_besides(self, waiter: Hashable | None) -> bool:
        """True when somebody else waits."""
        return len(self.waiters) > (waiter in self.waiters)

    def pass_on(self, reservation: Reservation, to_bytes: int, waiter: Hashable | None, *, now_s: float) -> bool:
        """Let work follow at once where other work has ended; False where it has to ask.

        That is where somebody else waits, or where it needs more than is spare. Ask only by the reading by which
        somebody was admitted last: what is spare was found by that.
        """
        with self._lock:
            more = to_bytes - reservation.bytes
            if more > 0 and more > self.spare_bytes:
                return False
            if self.waiters:
                if self.waits_besides(waiter):
                    return False
                self.waiters.pop(waiter, None)
            self.changes += 1
            if more > 0:
                self._add_to(reservation, more, now_s)
            elif more:
                self._take_back(reservation, -more)
        return True

    def _add_to(self, reservation: Reservation, more: int, now_s: float) -> None:
        """Enlarge a reservation, as if one had been given back and another admitted."""
        self.spare_bytes -= more
        self.reserved_bytes += more
        if not reservation._pending:
            self._returned.append((now_s, reservation.bytes))
            self._returned_bytes += reservation.bytes
            reservation._admitted_s, reservation._pending = now_s, True
            self._pending.append(reservation)
            self._pending_bytes += reservation.bytes
        self._pending_bytes += more
        reservation.bytes += more

    def forget(self, waiter: Hashable) -> None:
        """Take back a turn: the waiter has given up, or asks for something else."""
        with self._lock:
            self.waiters.pop(waiter, None)

    def _judge_turn(self, waiter: Hashable | None, now_s: float, *, alone: bool) -> RefusalReason | None:
        """Return why it isn't its turn, or None. Leaves a mark for who will ask again."""
        if waiter is not None or self.waiters:
            first = self._first_in_line(waiter, now_s, alone=alone)
            if first is not None and first != waiter:
                return RefusalReason.QUEUED
        return RefusalReason.ALONE if self._alone or (alone and self.holders) else None

    def _fits(self, wanted: int, live: int, limit: int, *, stopped: bool) -> bool:
        """Tell whether it fits beside what is in flight."""
        promised = self._base_bytes + self.reserved_bytes
        self.spare_bytes = int(min(self._share * limit - promised, self._live_share * limit - live)) - wanted
        return self.spare_bytes >= 0 and not (stopped and self.holders)

    def _fits_alone(self, predicted: int, measured: int, reading: MemoryReading, room: int | None) -> bool:
        """Tell whether an item may run with nothing else of ours in flight.

        A prediction is learnt as what stands above the base, so that it holds what the allocator keeps, and whatever
        else came to stand there meanwhile; adding it to measured use may count that twice, and then no item would ever
        run again, nor anything better be learnt.
        """
        limit = most = reading.limit_bytes
        if room is None:
            room = limit - measured
        else:  # Large blocks are not served from what the allocator keeps: they need room of their own.
            most = min(limit, reading.in_use_bytes + room)
        return predicted <= room or (measured <= self._share * limit and self._base_bytes + predicted <= most)

    def _first_in_line(self, waiter: Hashable | None, now_s: float, *, alone: bool) -> Hashable | None:
        """Return who asks to be alone or has waited beyond patience, in this order, the longest first.

        Whoever stopped asking has lost its turn.
        """
        waiters = self.waiters
        if waiter is not None:
            began_s, _ = waiters.get(waiter, (now_s, now_s))
            waiters[waiter] = (-inf if alone else began_s, now_s)
        for other, (_, asked_s) in tuple(waiters.items()):
            if now_s - asked_s > _FORGOTTEN_S:
                del waiters[other]
        for other, (began_s, _) in waiters.items():
            if began_s == -inf:
                return other
        for other, (began_s, _) in waiters.items():
            return other if now_s - began_s > self._patience_s else None
        return None

    def _admit(self, count: int, now_s: float, *, alone: bool) -> Reservation:
        reservation = Reservation(self, count, now_s, alone=alone)
        self._alone = alone
        self.reserved_bytes += count
        self.holders += 1
        self.changes += 1
        self._pending_bytes += count
        self._pending.append(reservation)
        return reservation

    def _settle(self, reading_s: float) -> None:
        """Stop counting as pending, or as returned, what a reading shows by now."""
        returned = self._returned
        while returned and returned[0][0] <= reading_s:
            self._returned_bytes -= returned.popleft()[1]
        pending, before_s = self._pending, reading_s - self._settle_s
        while pending and pending[0]._admitted_s <= before_s:
            self._unpend(pending.popleft())

    def _unpend(self, reservation: Reservation) -> None:
        if reservation._pending:
            reservation._pending = False
            self._pending_bytes -= reservation.bytes

    def _shrink(self, reservation: Reservation, to_bytes: int) -> None:
        with self._lock:
            self._take_back(reservation, reservation.bytes - to_bytes)

    def _take_back(self, reservation: Reservation, less: int) -> None:
        if less <= 0:
            return
        self.reserved_bytes -= less
        if reservation._pending:
            self._pending_bytes -= less
        reservation.bytes -= less

    def _release(self, reservation: Reservation, now_s: float | None) -> None:
        with self._lock:
            if now_s is not None and not reservation._pending:
                self._returned.append((now_s, reservation.bytes))
                self._returned_bytes += reservation.bytes
            self._unpend(reservation)
            self.reserved_bytes -= reservation.bytes
            self.holders -= 1
            self.changes += 1
            if reservation._alone:
                self._alone = False
            reservation.bytes = 0
