"""How often event loops were blocked, for how long, and where: from silences to an issue's numbers. *Pure*.

Covers the book that is kept, and when an issue begins and is over. Asking loops for a sign of life is
`memflow.analysis.service`'s, putting it into words that of `memflow.analysis.advice_blocked`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from memflow.analysis.detectors import Finding, IssueKind, Severity

__all__ = ["BlockBook", "excused_s"]

_PLACES = 32


def excused_s(step_s: float, cpu_s: float, interval_s: float) -> float:
    """Return what of a step of the watcher's own was no fault of the loop's, in seconds.

    A watcher that comes late was held up like the loop: by code that holds the interpreter, which computes, or because
    the whole process stood still (stopped, frozen, without a processor), and then nobody blocked anything.

    Args:
        step_s: how long its step took.
        cpu_s: processor time that the process had meanwhile, of all its threads.
        interval_s: how long the step should have taken.
    """
    if step_s <= 2 * interval_s or cpu_s >= step_s / 2:
        return 0.0
    return step_s - interval_s


class BlockBook:
    """What is known of the loops that are watched, from the first time one was blocked until all have been well again.

    Args:
        blocked_s: Seconds of silence from which a loop counts as blocked.
        calm_s: Seconds without another block after which the issue is over.
    """

    def __init__(self, *, blocked_s: float, calm_s: float) -> None:
        self.blocked_s = blocked_s
        self._calm_s = calm_s
        self.latest_place = ""
        """Where the loop was that was told of last; "" where nobody could tell."""
        self._present: dict[Hashable, tuple[float, str]] = {}
        self._places: Counter[str] = Counter()
        self._well_since_s = 0.0
        self._times = 0
        self._total_s = self._longest_s = self._last_s = 0.0

    @property
    def is_open(self) -> bool:
        """True from the first block on, until it is over."""
        return bool(self._present) or self._times > 0

    @property
    def is_blocked(self) -> bool:
        """True while a loop is silent."""
        return bool(self._present)

    @property
    def usual_place(self) -> str:
        """Where blocked loops were seen most often; "" where nobody could tell."""
        return self._places.most_common(1)[0][0] if self._places else ""

    def silent(self, loop: Hashable, silent_s: float, place: str) -> Finding | None:
        """Take note that a loop has not answered yet; a finding once it counts as blocked."""
        if silent_s < self.blocked_s:
            return None
        self._present[loop], self.latest_place = (silent_s, place), place
        if place and (place in self._places or len(self._places) < _PLACES):
            self._places[place] += 1
        return self._finding(silent_s)

    def answered(self, loop: Hashable, silent_s: float, now_s: float) -> Finding | None:
        """Take note that it has, and after how long; a finding if it was blocked meanwhile."""
        _, place = self._present.pop(loop, (0.0, ""))
        if silent_s < self.blocked_s:
            return None
        self.latest_place = place
        self._times += 1
        self._total_s += silent_s
        self._longest_s = max(self._longest_s, silent_s)
        self._last_s, self._well_since_s = silent_s, now_s
        return self._finding(silent_s)

    def _finding(self, latest_s: float) -> Finding:
        present = [seconds for seconds, _ in self._present.values()]
        evidence = {
            "blocked_s": latest_s,
            "times": float(self._times + len(self._present)),
            "total_blocked_s": self._total_s + sum(present),
            "longest_blocked_s": max([self._longest_s, *present]),
        }
        return Finding(IssueKind.EVENT_LOOP_BLOCKED, Severity.WARNING, evidence)

    def end(self, now_s: float, *, at_once: bool = False) -> Finding | None:
        """Return what it came to, once, when it is over: no loop is blocked, nor was for `calm_s` unless `at_once`."""
        if self._present or not self._times or not (at_once or now_s - self._well_since_s >= self._calm_s):
            return None
        found = self._finding(self._last_s)
        self._places.clear()
        self._times, self._total_s, self._longest_s = 0, 0.0, 0.0
        return found
