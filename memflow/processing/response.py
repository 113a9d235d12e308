"""The response to a refused admission: which step comes next, and when to give up.

Covers decisions, over plain numbers and the time that is passed in. Acting on them (waiting, collecting, raising) is
`memflow.processing.gate`'s; what is told about a wait that lasts is decided in `memflow.analysis.detectors`.

The steps: wait for what is in flight; collect and trim; with nothing in flight, go on with smaller batches; with one
item left, wait for others; give up. Only time in the last step counts against `admission_timeout_s`: neither what our
own work takes, nor the time behind somebody whose turn it is.
"""

from __future__ import annotations

from memflow.analysis.detectors import StallStep

__all__ = ["Wait", "choose_step", "must_give_up"]


def choose_step(*, size: int, holders: int, queued: bool) -> StallStep:
    """Return what a refusal calls for. Pure.

    Args:
        size: Items of the batch.
        holders: Batches of ours in flight.
        queued: It is somebody else's turn, so that it is not known whether this batch would fit.
    """
    if holders or queued:
        return StallStep.WAITING
    return StallStep.SPLITTING if size > 1 else StallStep.ALONE


def must_give_up(
    *, requested_bytes: int, most_limit_bytes: int, hopeless: bool, alone_for_s: float, timeout_s: float
) -> bool:
    """Tell whether a wait is over for good. Pure.

    What exceeds the whole limit gives up at once, unless the limit was large enough before: then it may rise again.

    Args:
        requested_bytes: What the batch is predicted to need.
        most_limit_bytes: The largest limit seen during the call.
        hopeless: It exceeds the whole limit as it is now.
        alone_for_s: For how long nothing of ours could have made room.
        timeout_s: The most of that.
    """
    return (hopeless and requested_bytes > most_limit_bytes) or alone_for_s >= timeout_s


class Wait:
    """A batch that waits for memory, or what is left of one that is being split meanwhile.

    Attributes:
        began_s: when it began to wait.
        step: how far the response has come.
        outcome: how it ended, in words.
        cleared: what others had left behind was given back before it went on.
        reclaimed_bytes: what collecting and trimming gave back meanwhile.
    """

    __slots__ = (
        "_alone_since_s",
        "_changes",
        "_quiet_since_s",
        "_was_alone",
        "began_s",
        "cleared",
        "outcome",
        "reclaimed_bytes",
        "step",
    )

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.step = StallStep.WAITING
        self.outcome = "the call ended"
        self.reclaimed_bytes = 0
        self.cleared = False
        self._alone_since_s = self._quiet_since_s = began_s
        self._changes = -1
        self._was_alone = False

    def refused(self, step: StallStep, changes: int, now_s: float) -> None:
        """Take in that admission refused, with the ledger's count of changes."""
        self.step = step
        if step is StallStep.WAITING:
            self._alone_since_s = now_s
        if changes != self._changes:
            self._changes, self._quiet_since_s = changes, now_s

    def alone_for_s(self, now_s: float) -> float:
        """Seconds during which nothing of ours could have made room."""
        return now_s - self._alone_since_s

    def quiet_s(self, now_s: float) -> float:
        """Seconds since a batch of ours was seen to start or end, or since the wait began."""
        return now_s - self._quiet_since_s

    def first_alone(self) -> bool:
        """Tell whether this wait has come down to one item with nothing in flight; True once."""
        first = self.step is StallStep.ALONE and not self._was_alone
        self._was_alone = self._was_alone or first
        return first
