"""The life of issues: opened, updated, resolved. *Pure*: time is passed in, and so is where events go.

Covers ids, the rate of updates and what is open now. When a finding deserves to be opened or resolved is decided in
`memflow.analysis.analyzer`.

Two rules: an issue of one kind is open once at a time, and all verdicts on growth count as one kind, so that the issue
keeps its id when its verdict changes; and what is open changes before its event goes out, so that a
subscriber who comes in between is told once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from memflow.analysis.detectors import GROWTH_KINDS, Finding, IssueKind
from memflow.analysis.issues import IssueEvent, IssueOpened, IssueResolved, IssueUpdated, MemoryIssue
from memflow.analysis.suspect import Suspect

__all__ = ["IssueLives", "Words"]

Words = tuple[str, tuple[str, ...]]
"""Message and recommendations."""


class IssueLives:
    """Issues that are open, at most one of a kind.

    Args:
        update_interval_s: least seconds between two updates of one issue, unless its severity rises.
        publish: receives every event.
    """

    def __init__(self, *, update_interval_s: float, publish: Callable[[IssueEvent], None]) -> None:
        self._update_interval_s = update_interval_s
        self._publish = publish
        self._open: dict[IssueKind, MemoryIssue] = {}
        self._numbers: Counter[str] = Counter()

    def get(self, kind: IssueKind) -> MemoryIssue | None:
        """Return the open issue of a kind, or None."""
        return self._open.get(_family(kind))

    def open_issues(self) -> tuple[MemoryIssue, ...]:
        """Return what is open, the gravest first."""
        return tuple(sorted(self._open.values(), key=lambda issue: (-issue.severity, issue.opened_at_s)))

    def found(
        self,
        finding: Finding,
        *,
        operation: str | None,
        now_s: float,
        words: Callable[[str | None], Words],
        at_once: bool = False,
        suspects: tuple[Suspect, ...] = (),
        candidates: tuple[str, ...] = (),
    ) -> None:
        """Open an issue for a finding, or update the open one when that is due.

        Args:
            finding: what was found.
            operation: whose it is. An open issue keeps its own, but growth that goes on may turn out to be another's:
                then it is told at once, and keeps its id.
            now_s: the time, in seconds of the readings' clock.
            words: puts the finding into words for an operation; called only when something is told.
            at_once: an update is due, whenever the last one was; so it is where the verdict has changed.
            suspects: who seems to hold what grows.
            candidates: operations of which any may be the cause, where none is named.
        """
        issue = self._open.get(_family(finding.kind))
        if issue is None:
            stem = "-".join([finding.kind, *([_slug(operation)] if operation else [])])
            self._numbers[stem] += 1
            opened = make_issue(finding, f"{stem}-{self._numbers[stem]}", operation, now_s, words(operation))
            self._tell(IssueOpened(replace(opened, suspects=suspects, candidates=candidates)))
            return
        whose = operation if finding.kind in GROWTH_KINDS else issue.operation
        news = finding.severity > issue.severity or finding.kind is not issue.kind or whose != issue.operation
        if at_once or news or now_s - issue.updated_at_s >= self._update_interval_s:
            updated = make_issue(finding, issue.id, whose, now_s, words(whose))
            updated = replace(updated, opened_at_s=issue.opened_at_s, suspects=suspects, candidates=candidates)
            self._tell(IssueUpdated(updated))

    def _tell(self, event: IssueOpened | IssueUpdated) -> None:
        self._open[_family(event.issue.kind)] = event.issue
        self._publish(event)

    def resolve(self, kind: IssueKind, *, now_s: float, reason: str) -> None:
        """End the open issue of a kind, if there is one."""
        issue = self._open.pop(_family(kind), None)
        if issue is not None:
            self._publish(IssueResolved(issue, now_s, reason))


def _family(kind: IssueKind) -> IssueKind:
    return IssueKind.SUSPECTED_LEAK if kind in GROWTH_KINDS else kind


def make_issue(finding: Finding, name: str, operation: str | None, now_s: float, words: Words) -> MemoryIssue:
    """Turn a finding into an issue that is opened now."""
    message, recommendations = words
    return MemoryIssue(
        id=name,
        kind=finding.kind,
        severity=finding.severity,
        operation=operation,
        message=message,
        evidence=finding.evidence,
        recommendations=recommendations,
        opened_at_s=now_s,
        updated_at_s=now_s,
    )


def _slug(operation: str) -> str:
    """An operation's name as part of an id: no spaces, and not endless."""
    return re.sub(r"[^\w.]+", "_", operation)[:60]
