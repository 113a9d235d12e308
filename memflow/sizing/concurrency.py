"""How many calls to have in flight: climbs while throughput rises, keeps the best, tries again rarely. Pure.

Covers the search alone. What memory allows comes in as a ceiling; the items of a batch are `memflow.sizing.policy`'s;
who acts on it, `memflow.sizing.call`.

The search: measure the present setting, double, measure again, keep what gained at least 5 % (more where the rate moves
as much by itself) and go on, or step back. Where doubling did not pay at the start, or lost, halving is tried, and
where a try lost, a step of a quarter either way (a server that thrashes has its best between two doublings). A round of
tries that did not pay doubles the time until the next; a rate that moves by itself by a sixth makes it soon again, as
soon as what the last tries lost is 2 % of the time since.
Measured are whole rounds of calls that were started under the present setting (`timing.RateMeter`), so that what an
older setting started neither helps nor harms. A loop that never sleeps is the bottleneck itself: then nothing is tried
upward, and rates are compared as if it had had a processor all the time (`memflow.sizing.saturation`). After one round
a gain of half is beyond doubt, and so is a loss of a quarter in one that took a fifth of a second, of which no pause of
the collector takes a quarter; anything less is measured over three.

See the PyPI package adaptive-concurrency (keep a probe only if throughput rose 5 %) and Netflix's concurrency-limits
(no growth unless the limit is used); unlike those, nothing here takes a latency for a sign of overload.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from memflow.sizing.decisions import Reason
from memflow.sizing.ramp import Ramp
from memflow.sizing.saturation import LoopTime
from memflow.sizing.timing import RateMeter

__all__ = ["ConcurrencyChange", "ConcurrencyPolicy"]

_MARGIN = 1.05
_NOISE_MARGINS = 2.0
_MOST_NOISE = 0.1
_SMOOTHING = 0.3
_CLEAR_GAIN = 1.5
_CLEAR_LOSS = 0.75
_CHANGED = 0.15
_ROUNDS = 3
_LEAST_CALLS = 24
_LEAST_TO_TRY = 16
_LEAST_S = 0.03
_VERDICT_S = 0.2
_PATIENCE_S = 3.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_PAUSE_ROUNDS = 40
_TRYING_SHARE = 0.02
_USED_SHARE = 0.5
_ROUNDING = 0.05
_UP = 2.0
_DOWN = 0.5
_FINE = (1.25, 0.8)
_PAYS = 0.625


@dataclass(frozen=True, slots=True)
class ConcurrencyChange:
    """A change (or a verdict) of the search."""

    before: int
    """Calls in flight until now."""
    after: int
    """Calls in flight from now on."""
    reason: Reason
    """What decided."""
    rate_before: float | None = None
    """Items a second under the setting compared with."""
    rate: float | None = None
    """Items a second under the setting tried."""


class ConcurrencyPolicy:
    """Searches the calls in flight that give the highest throughput.

    Args:
        start: Where it begins.
        least: Never below.
        most: Never above.
        now_s: Monotonic time, seconds.
        ramp: Nothing is known yet: climb once a round first (`memflow.sizing.ramp`), then search. How many times the
            calls may be had after the first round; 0 to search at once.

    Attributes:
        value: calls in flight to have now.
        probing: True while a setting is being tried that may be taken back.
        round_full: True when a round of the first climb has ended: in a burst, its last call should not go unheard.
    """

    __slots__ = (
        "_affordable_s",
        "_best_share",
        "_ceiling",
        "_cost_s",
        "_factor",
        "_fine",
        "_fresh",
        "_idle_calls",
        "_least",
        "_most",
        "_next_probe_s",
        "_noise",
        "_pause_s",
        "_plan",
        "_ramp",
        "_round_s",
        "_sees_loop",
        "_strange",
        "_tried_down",
        "best",
        "best_rate",
        "meter",
        "probing",
        "round_full",
        "value",
    )

    def __init__(self, *, start: int, least: int, most: int, now_s: float, ramp: int = 0) -> None:
        self.value = self.best = start
        self._ramp = Ramp(start, now_s, first_factor=ramp) if ramp else None
        self.best_rate: float | None = None
        self._best_share: float | None = None
        self.probing = self.round_full = False
        self._least = least
        self._most = most
        self._ceiling = most
        self._plan = [_UP]
        self._factor = _UP
        self._fine = False
        self._tried_down = False
        self._pause_s = _FIRST_PAUSE_S
        self._cost_s = 0.0
        self._next_probe_s = self._affordable_s = now_s
        self._strange = 0
        self._noise = 0.0
        self._idle_calls = 0
        self._sees_loop = False
        self._round_s = 0.0
        self._fresh = True
        self.meter = RateMeter(now_s, start)

    def finished(self, *, calls: int, items: int, started_s: float, in_flight: int, now_s: float) -> None:
        """Count calls that ended together. Cheap: the hot path calls it for every batch."""
        self.meter.add(calls, items, started_s, now_s)
        if self._ramp is not None:
            self._ramp.add(calls)
            self.round_full = self._ramp.full
        if in_flight < self.value * _USED_SHARE:
            self._idle_calls += calls

    @property
    def alike(self) -> int:
        """Calls of which it makes no difference which of them ends when, so that they can be told of together."""
        left = self.meter.left
        return left if self._ramp is None else min(left, self._ramp.left)

    def note_loop(self, now_s: float, time: LoopTime) -> None:
        """Note what the loop's thread has done so far; without it, no loop is taken to be without time."""
        self._sees_loop = True
        self.meter.note_loop(now_s, time)

    @property
    def ready(self) -> bool:
        """True when `decide` has something to judge by: a round under the present setting has ended."""
        return self.meter.lasted_s >= _LEAST_S

    @property
    def ramping(self) -> bool:
        """True during the first climb, when `climb` decides, and `decide` has nothing to say."""
        return self._ramp is not None

    def climb(self, now_s: float, *, may_grow: bool = True, items: int = 1) -> ConcurrencyChange | None:
        """Go higher after each round of the first climb that paid; end it with the first that did not.

        Args:
            now_s: Monotonic time, seconds.
            may_grow: False near the memory limit: the climb waits.
            items: Items of a call, to tell rates by.
        """
        ramp = self._ramp
        if ramp is None or not (ramp.round_ended(now_s) or ramp.is_overdue(now_s)):
            return None
        if not may_grow:
            ramp.pause(now_s)
            self.round_full = False
            return None
        before, idle = self.value, 2 * self._idle_calls > ramp.ended
        self._idle_calls, self.round_full = 0, False
        target = min(self._ceiling, ramp.factor * before)
        if idle or target <= before:
            self._end_ramp(now_s)
            return None
        pays = ramp.pays(now_s)
        if pays is None:
            return None
        rates = [rate * items if rate is not None else None for rate in (ramp.rate_before, ramp.rate)]
        if pays:
            target = min(self._ceiling, ramp.factor * before)
            self._move(target, now_s)
            self.best = target
            ramp.climb(target)
            return ConcurrencyChange(before, target, Reason.GROWTH_CAP, *rates)
        self._end_ramp(now_s)
        needed = max(ramp.proven, ceil(ramp.needed - _ROUNDING))
        self._move(max(self._least, min(before, needed)), now_s)
        self.best = self.value
        return ConcurrencyChange(before, self.value, Reason.DID_NOT_PAY, *rates)

    def _end_ramp(self, now_s: float) -> None:
        self._ramp, self.round_full = None, False
        self.meter.reopen(now_s)

    def held_back(self, now_s: float) -> None:
        """Take note that calls wait for memory, or waited until now: the rate tells nothing about their number."""
        if self._ramp is not None:
            self._ramp.pause(now_s)
        self.meter.reopen(now_s)
        self._idle_calls = 0

    def restart(self, now_s: float) -> None:
        """Measure anew, since something else (the items of a batch) has changed; what was being tried is dropped."""
        if self.probing:
            self.probing, self.value = False, self.best
            self._plan = [_UP]
            self._pause(now_s)
        self.meter = RateMeter(now_s, self.value)
        self._idle_calls = 0
        self.best_rate = None
        self._fresh = True

    def begin_at(self, value: int, now_s: float, *, climbing: bool) -> None:
        """Go on where an earlier run ended, and try no other setting for a while; or, with `climbing`, climb on."""
        self._ramp, self.round_full, self.probing = Ramp(value, now_s) if climbing else None, False, False
        self._move(value, now_s)
        self.best, self.best_rate, self._fresh = value, None, True
        if not climbing:
            self._pause(now_s)

    def limit(self, ceiling: float, now_s: float) -> ConcurrencyChange | None:
        """Take note of what memory allows; a change when that is less than what is in flight."""
        self._ceiling = max(self._least, int(min(self._most, ceiling)))
        if self.value <= self._ceiling or self._ceiling > 0.9 * self.value:
            return None
        before = self.value
        self._move(self._ceiling, now_s)
        self.best, self.best_rate, self.probing, self._fresh = self.value, None, False, True
        return ConcurrencyChange(before, self.value, Reason.MEMORY)

    def retreat(self, now_s: float, pause_s: float) -> ConcurrencyChange:
        """Halve at once, since memory ran out; nothing is tried for a while."""
        before, self._ramp, self.round_full = self.value, None, False
        self._move(max(self._least, before // 2), now_s)
        self.best, self.best_rate, self.probing, self._fresh = self.value, None, False, True
        self._next_probe_s = now_s + pause_s
        return ConcurrencyChange(before, self.value, Reason.PRESSURE)

    def decide(self, now_s: float, *, may_grow: bool = True) -> ConcurrencyChange | None:
        """Judge the measurement so far; call it when `ready`.

        Args:
            now_s: Monotonic time, seconds.
            may_grow: False near the memory limit: nothing is tried upward.
        """
        meter, rate = self.meter, self.meter.rate
        if rate <= 0:
            return None
        enough = self._is_enough()
        self._round_s = meter.lasted_s * self.value / meter.calls
        if not self.probing:
            return self._judge_baseline(rate, now_s, enough=enough, may_grow=may_grow)
        gain = self._gain(rate)
        clear_loss = gain <= _CLEAR_LOSS and meter.lasted_s >= _VERDICT_S
        if not enough and not (gain >= _CLEAR_GAIN and self._factor > 1) and not clear_loss:
            return None
        return self._keep(rate, now_s) if gain >= self._margin else self._step_back(rate, now_s)

    def _gain(self, rate: float) -> float:
        """Return by what factor a rate is above the best one's; where the loop never slept, per second that it had."""
        if not self.best_rate:
            return 1.0
        share, best_share = self.meter.own_share, self._best_share
        return rate / self.best_rate * (best_share / share if share and best_share else 1.0)

    def _is_enough(self) -> bool:
        """True when the measurement bears a verdict on a small gain."""
        calls, lasted_s = self.meter.calls, self.meter.lasted_s
        rounds = calls >= _ROUNDS * self.value
        return rounds and lasted_s >= _VERDICT_S and (calls >= _LEAST_CALLS or lasted_s >= _PATIENCE_S)

    def _is_enough_to_try(self) -> bool:
        """True when the measurement bears comparing a large gain with."""
        return self.meter.calls >= _LEAST_TO_TRY or self.meter.lasted_s >= _PATIENCE_S

    def _judge_baseline(self, rate: float, now_s: float, *, enough: bool, may_grow: bool) -> ConcurrencyChange | None:
        """Measure the present setting; then try another one if that is due."""
        if not enough and not (self._fresh and self._is_enough_to_try()):
            return None
        if self._sees_loop and not self.meter.sees_loop:
            return None
        if self.best_rate is None or not self._fresh:  # else it has just been measured, and kept
            self.best, self.best_rate = self.value, self._watch_for_change(rate, now_s)
        self._fresh = False
        idle = self._idle_calls > self.meter.calls // 2
        if now_s >= self._next_probe_s and not idle:
            change = self._probe(now_s, may_grow=may_grow)
            if change is not None:
                return change
        self.meter.reopen(now_s)
        self._idle_calls = 0
        return None

    @property
    def _margin(self) -> float:
        """The least gain that counts: 5 %, or more where the rate moves as much by itself."""
        return max(_MARGIN, 1 + _NOISE_MARGINS * self._noise)

    def _watch_for_change(self, rate: float, now_s: float) -> float:
        """Return the rate of the present setting, smoothed; search again soon where it has changed by itself."""
        old, gain, self._best_share = self.best_rate, self._gain(rate), self.meter.own_share
        if old is None:
            return rate
        moved = abs(gain - 1)
        self._noise += _SMOOTHING * (min(_MOST_NOISE, moved) - self._noise)
        if moved < _CHANGED:
            self._strange = 0
            return rate * (1 + 1 / gain) / 2
        self._strange += 1
        if self._strange >= 2:
            self._strange, self._pause_s, self._tried_down, self._plan = 0, _FIRST_PAUSE_S, False, [_UP]
            self._next_probe_s = max(now_s, self._affordable_s)
        return rate

    def _probe(self, now_s: float, *, may_grow: bool) -> ConcurrencyChange | None:
        """Try the next setting of the plan; None where there is no other setting in that direction."""
        factor = self._plan[0]
        target = int(self.value * factor) if factor < 1 else ceil(self.value * factor)
        target = max(self._least, min(self._ceiling, target))
        if factor > 1 and self.meter.own_share is not None:
            self._pass_over(now_s)
            return None
        if factor > 1 and (not may_grow or target < 1.1 * self.value):
            if may_grow:
                self._next_in_plan(now_s)
            return None
        if target >= self.value and factor < 1:
            self._next_in_plan(now_s)
            return None
        before, self._factor = self.value, factor
        self._move(target, now_s)
        self.probing = True
        return ConcurrencyChange(before, target, Reason.PROBE)

    def _pass_over(self, now_s: float) -> None:
        """Leave out what would give a loop more to do that has no time left; fewer calls may take less of it."""
        if not self._tried_down and self._plan[0] == _UP:
            self._tried_down = True
            self._plan.append(_DOWN)
        self._next_in_plan(now_s)

    def _keep(self, rate: float, now_s: float) -> ConcurrencyChange:
        """What pays is followed at once, and the other way needs no try."""
        change = ConcurrencyChange(self.best, self.value, Reason.PAID, self.best_rate, rate)
        gain = self._gain(rate)
        self.best, self.best_rate, self._best_share, self.probing = self.value, rate, self.meter.own_share, False
        self._pause_s, self._next_probe_s = _FIRST_PAUSE_S, now_s
        # A small step after which calls stand no more in each other's way than before: the best is not near.
        far = 1 < self._factor < _UP and gain - 1 >= _PAYS * (self._factor - 1)
        self._plan = [_UP if far else self._factor]
        self._fine = self._plan[0] in _FINE
        self._tried_down = self._fresh = True
        return change

    def _step_back(self, rate: float, now_s: float) -> ConcurrencyChange:
        change = ConcurrencyChange(self.value, self.best, Reason.DID_NOT_PAY, self.best_rate, rate)
        baseline = self.best_rate
        if baseline:
            lost_s = max(0.0, 1 - self._gain(rate)) * (now_s - self.meter.since_s)
            self._cost_s += lost_s
            self._affordable_s = max(self._affordable_s, now_s) + min(_LONGEST_PAUSE_S, lost_s / _TRYING_SHARE)
        lost = bool(baseline) and self._gain(rate) * self._margin < 1
        self._move(self.best, now_s)
        self.probing, self.best_rate = False, baseline
        if self._factor == _UP and not self._tried_down:
            self._tried_down = True
            self._plan.append(_DOWN)
        if lost and not self._fine:
            self._fine = True
            self._plan.extend(_FINE)
        self._next_in_plan(now_s)
        return change

    def _next_in_plan(self, now_s: float) -> None:
        self._plan = self._plan[1:]
        if not self._plan:
            self._plan, self._fine = [_UP], False
            self._pause(now_s)

    def _pause(self, now_s: float) -> None:
        """Wait for the next try: longer each time, and so long that what was lost by trying stays about 2 %."""
        least_s = min(_LONGEST_PAUSE_S, self._cost_s / _TRYING_SHARE)
        self._next_probe_s = now_s + max(self._pause_s, _PAUSE_ROUNDS * self._round_s, least_s)
        self._cost_s = 0.0
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)

    def _move(self, target: int, now_s: float) -> None:
        self.value = target
        self.meter = RateMeter(now_s, self.value)
        self._idle_calls = 0
