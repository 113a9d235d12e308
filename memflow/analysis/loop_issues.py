"""An issue of event loops that were blocked: the book, the thread that keeps it, and the words, joined to an analyzer.

Covers joining only. Asking loops is `memflow.analysis.service`'s, judging their silence that of
`memflow.analysis.blocked`.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

from memflow.analysis.advice_blocked import advise_blocked, describe_blocked, why_unblocked
from memflow.analysis.blocked import BlockBook
from memflow.analysis.detectors import Finding, IssueKind
from memflow.analysis.lives import IssueLives
from memflow.analysis.service import WatchThread
from memflow.settings import HeapAnalyzerSettings

__all__ = ["LoopIssues"]


class LoopIssues:
    """Watches event loops for one analyzer.

    Args:
        settings: the analyzer's.
        lives: where its issues live.
        lock: guards them.
        operation: names the only operation at work, or None.
        failed: told, inside the `except`, of what failed here.
    """

    def __init__(
        self,
        settings: HeapAnalyzerSettings,
        lives: IssueLives,
        lock: RLock,
        *,
        operation: Callable[[], str | None],
        failed: Callable[[], None],
    ) -> None:
        self._lives = lives
        self._lock = lock
        self._operation = operation
        self._book = BlockBook(blocked_s=settings.loop_blocked_s, calm_s=settings.sustained_s)
        self._thread = WatchThread(self._book, found=self._found, over=self._is_over, failed=failed)

    def join(self, sample: Callable[[], object] | None = None) -> Callable[[], None]:
        """Watch the loop of this thread; returns what ends that. See `WatchThread.join`."""
        return self._thread.join(sample)

    def _found(self, finding: Finding, now_s: float) -> None:
        place, is_blocked = self._book.latest_place, self._book.is_blocked
        with self._lock:
            operation = self._operation()
            self._lives.found(
                finding,
                operation=operation,
                now_s=now_s,
                words=lambda whose: (
                    describe_blocked(finding.evidence, place, is_blocked=is_blocked),
                    tuple(advise_blocked(place, whose)),
                ),
            )

    def _is_over(self, finding: Finding, place: str, now_s: float) -> None:
        with self._lock:
            reason = why_unblocked(finding.evidence, place)
            self._lives.resolve(IssueKind.EVENT_LOOP_BLOCKED, now_s=now_s, reason=reason)
