"""`memflow journal export`: failures or kept results as JSON Lines.

Covers its options and the lines. Reading is `memflow.journal.sqlite`'s; what JSON makes of a result is
`memflow.cli.record_writer`'s. Nothing here changes the journal, and a run that has it open is not held up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

from pydantic import model_validator
from pydantic_core import from_json
from pydantic_settings import CliPositionalArg

from memflow.cli.journal_file import open_journal
from memflow.cli.output import open_output
from memflow.cli.record_writer import ResultError, encode_json
from memflow.cli.settings_source import CommandSettings, parse_command
from memflow.cli.usage import say
from memflow.journal.base import FailureRecord, KeptResult
from memflow.journal.sqlite import SqliteJournal
from memflow.observe.snapshot import format_count

__all__ = ["JournalExportSettings", "export"]

_BLOCK_BYTES = 1 << 16


class JournalExportSettings(CommandSettings):
    """Write what a journal holds as JSON Lines, in the order of the input; also while a run writes it.

    Exit status: 0 when it was written, also where there was nothing; 1 when the journal cannot be read, the output
    cannot be written on, or JSON has no form for a result, which is then written as its repr; 2 for options that
    cannot work, and for a missing file.
    """

    path: CliPositionalArg[str]
    """The journal: the path that --journal or journal= was given."""
    output: str = "-"
    """Where the lines go; - is standard output. Behind .gz and .zst they are compressed."""
    failures: bool = False
    """Failed and quarantined items: position, key, kind, error_type, message, attempts, input. The default."""
    results: bool = False
    """Kept results: position, key_digest, result."""
    overwrite: bool = False
    """Replace a file that exists."""
    debug: bool = False
    """Show tracebacks."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.failures and self.results:
            raise ValueError("--failures and --results exclude each other; call it twice")
        return self


def export(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_command(JournalExportSettings, words, prog="memflow journal export")
    journal = open_journal(settings.path)
    found = journal.summary()  # before any file is made: this is where a journal turns out to be none
    if not settings.results:
        count = _write(map(_failure_line, journal.failures()), settings)
        say(f"{format_count(count, 'failure')} written")
        return 0
    results = _Results(journal)
    say(f"{format_count(_write(iter(results), settings), 'result')} written")
    if found.settled is not None and found.settled.items:
        say(f"results of the first {format_count(found.settled.items, 'item')} were delivered, and are kept no longer")
    if results.without_json:
        say(f"JSON has no form for {results.without_json:,} of them, which have result_repr in place of result")
    return 1 if results.without_json else 0


def _write(lines: Iterator[bytes], settings: JournalExportSettings) -> int:
    output = open_output(settings.output, overwrite=settings.overwrite, option="--output")
    count, block = 0, bytearray()
    try:
        for line in lines:
            count += 1
            block += line
            if len(block) >= _BLOCK_BYTES:
                output.write(bytes(block))
                block.clear()
        output.write(bytes(block))
    finally:
        output.close()
    return count


def _failure_line(failure: FailureRecord) -> bytes:
    line = {
        "position": failure.position,
        "key": failure.key_text,
        "kind": failure.kind,
        "error_type": failure.error_type,
        "message": failure.message,
        "attempts": failure.attempts,
    }
    # Left out where it was not kept, since null is an input too.
    return encode_json(line if failure.input is None else {**line, "input": _read_input(failure.input)})


def _read_input(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError:  # a journal's failures may be written by others than us
        return data.decode(errors="backslashreplace")


class _Results:
    """Lines of kept results; one that JSON has no form for is written as its `repr`, and counted."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.without_json = 0

    def __iter__(self) -> Iterator[bytes]:
        return map(self._line, self._journal.all_results())

    def _line(self, kept: KeptResult) -> bytes:
        key = {} if kept.digest is None else {"key_digest": kept.digest.hex()}
        try:
            return encode_json({"position": kept.position, **key, "result": kept.result})
        except ResultError:
            self.without_json += 1
            return encode_json({"position": kept.position, **key, "result_repr": repr(kept.result)})
