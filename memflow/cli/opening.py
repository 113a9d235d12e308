"""Opens what a run reads, writes and shows itself with, as its options say.

Covers choosing and refusing. Reading is `feed`'s, writing `output`'s, drawing `memflow.observe`'s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from memflow.cli.feed import Feed, feed_files, feed_function, feed_input
from memflow.cli.journaling import RunJournal
from memflow.cli.output import OutputFile, open_output
from memflow.cli.records import format_of
from memflow.cli.run import RunSettings
from memflow.cli.target import find_function, find_target
from memflow.cli.usage import UsageError
from memflow.observe.snapshot import Display

__all__ = ["Outputs", "open_display", "open_feed", "open_hint", "open_outputs"]


def open_feed(settings: RunSettings, journal: RunJournal | None = None) -> Feed:
    """Open where the items come from, behind what the journal says is in the output.

    Raises:
        UsageError: It cannot be opened, or is what the run would write to.
        TargetError: The function named by --source does not exist.
    """
    skip = settings.skip if journal is None else journal.first
    if settings.source is not None:
        return feed_function(find_target(settings.source), settings.source, skip=skip)
    if settings.input is None:
        return feed_files(settings.files, skip=skip)
    for option in ("output", "failures", "summary_json"):
        _refuse_same(settings.input, getattr(settings, option), f"--{option.replace('_', '-')}")
    record_format = format_of(settings.input, settings.input_format, option="--input-format")
    passed_lines = 0
    if journal is not None and record_format != "csv" and journal.written.line:
        passed_lines, skip = journal.written.line, 0  # not even parsed
    return feed_input(
        settings.input,
        record_format=record_format,
        on_bad_record=settings.on_bad_record,
        skip=skip,
        passed_lines=passed_lines,
        told_line=journal.written.bad_line if journal is not None else 0,
        field=settings.input_field,
    )


def _refuse_same(read: str, written: str | None, option: str) -> None:
    try:
        same = written not in (None, "-") and read != "-" and os.path.samefile(read, str(written))
    except OSError:
        return  # one of both isn't there
    if same and os.path.isfile(read):
        raise UsageError(f"--input and {option} are the same file, {read}, which would be emptied before it is read")


def open_hint(settings: RunSettings) -> Callable[[Any], float] | None:
    """What tells an item's size: the function named, else the file's size for paths."""
    if settings.size_hint is not None:
        return find_function(settings.size_hint)
    return _file_size if settings.files else None


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # it went away; the function will tell


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that a run writes."""

    records: OutputFile
    """Where results go."""
    failures: OutputFile | None
    """Where failed items go."""
    summary: OutputFile | None
    """Where the summary goes."""

    @property
    def lengths(self) -> dict[str, int]:
        """How long the files are that a resumed run goes on with, by name, in bytes."""
        found = {"output": self.records.length}
        return found if self.failures is None else {**found, "failures": self.failures.length}

    def sync(self) -> None:
        """Wait until the disk has those."""
        self.records.sync()
        if self.failures is not None:
            self.failures.sync()

    def discard(self) -> None:
        """Close them all, and take away those that were made for nothing."""
        for each in (self.records, self.failures, self.summary):
            if each is not None:
                each.discard()

    def close(self) -> None:
        """End them all."""
        for each in (self.records, self.failures, self.summary):
            if each is not None:
                each.close()


def open_outputs(settings: RunSettings, journal: RunJournal | None = None) -> Outputs:
    """Open the files that are asked for, or none: what was made before one is refused is taken away again.

    Where a journal says how long they were, they are cut back to that, and gone on with.

    Raises:
        UsageError: One exists, or cannot be made.
    """
    with ExitStack() as made:

        def open_one(path: str, option: str, name: str = "") -> OutputFile:
            length = journal.length_of(name) if journal is not None and name else None
            # What a run made that was killed before it noted anything is empty.
            overwrite = settings.overwrite or (settings.resume and _is_empty(path)) or (settings.resume and not name)
            output = open_output(
                path, overwrite=overwrite, option=option, resumable=settings.journal is not None, length=length
            )
            made.callback(output.discard)
            return output

        failures = open_one(settings.failures, "--failures", "failures") if settings.failures else None
        summary = open_one(settings.summary_json, "--summary-json") if settings.summary_json else None
        records = open_one(settings.output, "--output", "output")
        made.pop_all()
    return Outputs(records, failures, summary)


def _is_empty(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.path.getsize(path) == 0
    except OSError:
        return False


def open_display(settings: RunSettings, *, to_terminal: bool) -> Display | None:
    """A live view where somebody can watch it: on a terminal that no records are printed to."""
    if settings.quiet:
        return None
    watched = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not to_terminal
    if settings.progress == "live" or (settings.progress == "auto" and watched):
        try:
            from memflow.observe.progress import LiveDisplay

            return LiveDisplay(sys.stderr)
        except ImportError:
            if settings.progress == "live":
                advice = "pip install 'memflow-async[cli]', or use --progress plain"
                raise UsageError(f"--progress live needs the package rich; {advice}") from None
    from memflow.observe.plain import PlainDisplay

    return PlainDisplay(sys.stderr)
