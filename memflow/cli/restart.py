"""`memflow run --restart-on-kill`: a process that starts the run again whenever it was killed.

Covers telling a kill from an end, passing signals on, and giving up where nothing comes of it. What makes the next
start go on where the last one ended is the journal; what finds out the item that kills is `memflow.processing`'s.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from memflow.cli.usage import say

__all__ = ["run_again_when_killed"]

_KILLS = frozenset(
    getattr(signal, name)
    for name in ("SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGSYS")
    if hasattr(signal, name)
)
_ENDING = (signal.SIGINT, signal.SIGTERM)


def run_again_when_killed(words: Sequence[str], *, journal: str, max_deaths: int) -> int:
    """Run the command in a process of its own, again and again while something kills it.

    Args:
        words: the words of `memflow run`, without `--restart-on-kill`.
        journal: where the run keeps what was finished.
        max_deaths: kills in a row after which nothing was finished, and no item given up, that are one too many.

    Returns:
        The exit status of the last process; 128 and the signal's number where that was killed.
    """
    command = [sys.executable, "-m", "memflow", "run", *words, *([] if "--resume" in words else ["--resume"])]
    ends_now: list[int] = []
    idle, before = 0, _progress(journal)
    while True:
        status = _run_once(command, ends_now)
        if status >= 0 or -status not in _KILLS:
            return status if status >= 0 else 128 - status
        name = signal.Signals(-status).name
        after = _progress(journal)
        idle, before = (0 if after != before else idle + 1), after
        if ends_now:
            return 128 - status
        if idle > max_deaths:
            say(f"killed by {name} {idle} times in a row with nothing finished in between; giving up")
            return 128 - status
        say(f"killed by {name}; starting again where it ended (memflow autopsy {journal} says more)")


def _run_once(command: list[str], ends_now: list[int]) -> int:
    process = subprocess.Popen(command)  # noqa: S603 - the command that the user gave, once more

    def pass_on(number: int, _frame: FrameType | None) -> None:
        ends_now.append(number)
        # Ctrl-C goes to every process of the terminal; to send it again would be the second one.
        if number != signal.SIGINT or not sys.stdin.isatty():
            process.send_signal(number)

    previous = {each: signal.signal(each, pass_on) for each in _ENDING}
    try:
        return process.wait()
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _progress(journal: str) -> tuple[int, ...]:
    """Return what rises when a run gets on; zeros where nothing can be read."""
    from memflow.exceptions import JournalError
    from memflow.journal.sqlite import SqliteJournal

    if not os.path.exists(journal):
        return (0, 0, 0)
    try:
        found = SqliteJournal(journal).summary()
    except (JournalError, sqlite3.Error):
        return (0, 0, 0)
    return found.finished, found.failed, found.quarantined
