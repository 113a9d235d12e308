"""`memflow journal release`: failed and quarantined items run again at the next resume.

Covers its options, and telling of what was named and isn't there. Releasing is `memflow.journal.sqlite`'s, under the
journal's lock, so that a run that has it open is never surprised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from pydantic_settings import CliPositionalArg

from memflow.cli.journal_file import open_journal
from memflow.cli.settings_source import CommandSettings, parse_command
from memflow.cli.usage import UsageError, say
from memflow.journal.base import FailureRecord, Selection
from memflow.journal.sqlite import SqliteJournal
from memflow.observe.snapshot import format_count

__all__ = ["JournalReleaseSettings", "release"]


class JournalReleaseSettings(CommandSettings):
    """Let failed or quarantined items run again at the next resume, and forget their deaths.

    What to release: all; error, for items whose function raised; poison, for items that are quarantined; positions in
    the input; keys, in words, of which key:TEXT is always a key. Exit status: 0 when it was done, also where there was
    nothing to release; 1 when an item was named that had not failed, when a run has the journal open, or when it cannot
    be written; 2 for options that cannot work, and for a missing file.
    """

    path: CliPositionalArg[str]
    """The journal: the path that --journal or journal= was given."""
    what: CliPositionalArg[tuple[str, ...]] = ()
    """all, error, poison, positions, or keys; several are joined."""
    debug: bool = False
    """Show tracebacks."""


def release(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_command(JournalReleaseSettings, words, prog="memflow journal release")
    if not settings.what:
        raise UsageError(
            "say what to release: all, error, poison, positions, or keys; see memflow journal release --help"
        )
    journal = open_journal(settings.path)
    strangers = _strangers(settings.what, journal.failures())
    selection, delivered = _split(journal, Selection.parse(settings.what))
    count = journal.release(selection) if selection is not None else 0
    again = {0: "", 1: "; it runs again at the next resume"}.get(count, "; they run again at the next resume")
    print(f"released {format_count(count, 'item')}{again}")
    if delivered:
        stay = "item stays a failure: it stands" if delivered == 1 else "items stay failures: they stand"
        print(
            f"{delivered:,} {stay} in the files that the run wrote. Export the failures, and run those by themselves:\n"
            f"memflow journal export {quote(settings.path)} --failures --output again.jsonl\n"
            "memflow run TARGET --input again.jsonl --input-field input"
        )
    for word in strangers:
        say(f"{word} names no item that failed; memflow journal show {settings.path} lists those that did")
    return 1 if strangers else 0


def _split(journal: SqliteJournal, selection: Selection) -> tuple[Selection | None, int]:
    """Leave out what `memflow run` has written to its files already, whose place in them is taken."""
    settled = journal.summary().settled
    if settled is None:
        return selection, 0
    chosen = [each.position for each in journal.failures() if selection.takes(each)]
    left = frozenset(each for each in chosen if each >= settled.items)
    return Selection(positions=left) if left else None, len(chosen) - len(left)


def _strangers(words: Iterable[str], failures: Iterable[FailureRecord]) -> list[str]:
    """Return the positions and keys that name no failure."""
    left = {word: Selection.parse([word]) for word in words if word not in ("all", "error", "poison")}
    for failure in failures if left else ():
        for word in [word for word, selection in left.items() if selection.takes(failure)]:
            del left[word]
    return list(left)
