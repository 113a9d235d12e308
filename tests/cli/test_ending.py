"""How an end is told: `memflow.cli.ending`."""

from __future__ import annotations

from signal import SIGINT, SIGTERM, Signals

import pytest

from memflow.cli.ending import describe_error, exit_status
from memflow.cli.usage import UsageError
from memflow.exceptions import BatchFailed, MemflowError, RecordError, SourceFailed


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "received", "failed", "skipped", "status"),
    [
        (None, None, 0, 0, 0),
        (None, None, 2, 0, 1),
        (None, None, 0, 1, 1),
        (MemflowError("x"), None, 0, 0, 1),
        (RuntimeError("x"), None, 0, 0, 1),
        (caused(SourceFailed("op", 0, ValueError(), None), UsageError("x")), None, 0, 0, 2),
        (None, SIGINT, 0, 0, 130),
        (MemflowError("x"), SIGTERM, 1, 0, 143),
    ],
)
def test_the_status_says_how_it_ended(
    error: Exception | None, received: Signals | None, failed: int, skipped: int, status: int
) -> None:
    assert exit_status(error, received=received, failed=failed, skipped=skipped) == status


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caused(SourceFailed("op", 3, ValueError("x"), None), RecordError("a.csv", 7, "torn")), "a.csv:7: torn"),
        (caused(SourceFailed("op", 3, ValueError("x"), None), OSError("gone")), "the source raised OSError: gone"),
        (BatchFailed("op", [ValueError("odd")], [(4,)]), BatchFailed("op", [ValueError("odd")], [(4,)]).message),
        (MemflowError("as it is"), "as it is"),
        (RuntimeError("bug"), "RuntimeError: bug; --debug shows the traceback"),
    ],
)
def test_each_error_is_put_into_words(error: Exception, words: str) -> None:
    assert describe_error(error) == words
