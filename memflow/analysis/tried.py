"""What is tried against the issues of one analyzer: trimming, and less work at once.

Covers which issue goes with which try. Deciding is `memflow.analysis.trials`' and `memflow.analysis.relief`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from memflow.analysis.detectors import Finding, IssueKind
from memflow.analysis.issues import MemoryIssue
from memflow.analysis.relief import Relief
from memflow.analysis.trials import TrimOutcome, with_outcome
from memflow.analysis.trimming import TrimTrial
from memflow.memory.readings import MemoryWindow

__all__ = ["Tried"]


class Tried:
    """Adds to findings what was tried against them.

    Args:
        trial: has the heap trimmed for an issue of retention.
    """

    def __init__(self, trial: TrimTrial) -> None:
        self.trial = trial
        self._relief = Relief()

    @property
    def trim(self) -> TrimOutcome | None:
        """What trimming gave back for the open issue of retention."""
        return self.trial.outcome

    def look(self, finding: Finding, window: MemoryWindow) -> Finding:
        """Return a finding with what was tried; trimming is tried if it is due."""
        if finding.kind is IssueKind.RETENTION:
            return self.trial.look(finding, window.reading)
        return self._relief.look(finding, _in_flight(window))

    def look_back(self, issue: MemoryIssue, window: MemoryWindow) -> Mapping[str, float]:
        """Return the evidence of an issue that is over, with use and work as they are now."""
        now = {**issue.evidence, "in_use_bytes": float(window.reading.in_use_bytes)}
        return self._relief.look(Finding(issue.kind, issue.severity, now), _in_flight(window)).evidence

    def again(self, issue: MemoryIssue) -> Finding:
        """Return an open issue of retention as a finding with the latest outcome."""
        return with_outcome(Finding(issue.kind, issue.severity, issue.evidence), self.trim)

    def forget(self, kind: IssueKind) -> None:
        """Drop what came of it: the issue is over."""
        self._relief.forget(kind)
        if kind is IssueKind.RETENTION:
            self.trial.forget()


def _in_flight(window: MemoryWindow) -> Mapping[str, float]:
    return {} if window.drained else window.loads
