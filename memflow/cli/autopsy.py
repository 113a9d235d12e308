"""`memflow autopsy`: what killed a run, from the flight record that it left.

Covers its options, finding the record, and printing. What it means is found in `memflow.journal.autopsy`, its text
made in `memflow.observe.autopsy_text`. Nothing here changes anything.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic_core import to_json
from pydantic_settings import CliPositionalArg

from memflow.cli.settings_source import CommandSettings, parse_command
from memflow.cli.usage import UsageError
from memflow.exceptions import FlightRecordError
from memflow.journal.autopsy import diagnose
from memflow.journal.flight_origin import read_aftermath
from memflow.journal.flight_reader import is_flight_record, load_flight
from memflow.observe.autopsy_text import autopsy_text

__all__ = ["AutopsySettings", "autopsy"]

_MOST_COLUMNS = 110


class AutopsySettings(CommandSettings):
    """Tell what killed a run: the cause, the last minute of memory, what was in flight, who is suspect, what to change.

    Exit status: 0 when it was told, whatever the cause; 2 for options that cannot work, and for a file that is no
    flight record.
    """

    file: CliPositionalArg[str]
    """The flight record that a run with a journal writes, or the journal's path: beside it, PATH-flight is the last
    run's, and PATH-flight-last that of the last run that died and was resumed."""
    as_json: bool = Field(default=False, alias="json")
    """Print JSON instead of text."""
    debug: bool = False
    """Show tracebacks."""


def autopsy(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_command(AutopsySettings, words, prog="memflow autopsy")
    try:
        record = load_flight(_find(Path(settings.file)))
    except FlightRecordError as error:
        raise UsageError(str(error)) from error
    diagnosis = diagnose(record, read_aftermath(record.header))
    if settings.as_json:
        print(to_json(diagnosis, indent=2).decode())
    else:
        width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
        print(autopsy_text(record, diagnosis, width=width, plain=not _shows("▁█─┤…")))
    return 0


def _find(path: Path) -> Path:
    """The record itself, or the one beside a journal."""
    beside, died = Path(f"{path}-flight"), Path(f"{path}-flight-last")
    if not is_flight_record(path):
        # Where the last run ended in order, or one is alive, what is asked about is the one that died before.
        if died.exists() and not (beside.exists() and _died(beside)):
            return died
        if beside.exists():
            return beside
    if not path.exists():
        raise UsageError(f"{path} doesn't exist, nor does {beside}; name a flight record, or a journal with one beside")
    return path


def _died(path: Path) -> bool:
    record = load_flight(path)
    return not record.closed and not record.writer_alive


def _shows(signs: str) -> bool:
    try:
        signs.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
