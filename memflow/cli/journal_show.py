"""`memflow journal show`: what a journal is of, how far its run came, what failed, who has it open.

Covers its options and printing. What is shown is gathered in `memflow.cli.journal_survey`. Nothing here changes
anything, and a run that has the journal open is not held up.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from pydantic_core import to_json
from pydantic_settings import CliPositionalArg

from memflow.cli.journal_file import open_journal
from memflow.cli.journal_survey import survey
from memflow.cli.journal_text import survey_text
from memflow.cli.settings_source import CommandSettings, parse_command

__all__ = ["JournalShowSettings", "show"]

_SHOWN = 20


class JournalShowSettings(CommandSettings):
    """Show what a journal is of, how far its run came, what failed, and who has it open; also while a run writes it.

    Exit status: 0 when it was shown; 1 when the journal cannot be read; 2 for options that cannot work, and for a
    missing file.
    """

    path: CliPositionalArg[str]
    """The journal: the path that --journal or journal= was given."""
    all: bool = False
    """List every failure and suspect, not the first 20 alone."""
    as_json: bool = Field(default=False, alias="json")
    """Print JSON instead of text."""
    debug: bool = False
    """Show tracebacks."""


def show(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_command(JournalShowSettings, words, prog="memflow journal show")
    found = survey(open_journal(settings.path), None if settings.all else _SHOWN)
    print(to_json(found, indent=2).decode() if settings.as_json else survey_text(found))
    return 0
