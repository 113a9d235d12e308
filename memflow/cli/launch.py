"""`memflow run`, wired: settings, function, items, files, display, and then the job.

Everything that can be refused is refused here, before anything is written. The job itself is `job`'s, how its end
is told `ending`'s, opening files `opening`'s.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic_core import to_json

from memflow.cli.ending import describe_ending, exit_status
from memflow.cli.environment import unknown_variables
from memflow.cli.feed import Feed
from memflow.cli.interrupt import Interrupts
from memflow.cli.job import Job
from memflow.cli.journaling import RunJournal, open_journal
from memflow.cli.opening import Outputs, open_display, open_feed, open_hint, open_outputs
from memflow.cli.record_writer import CsvEncoder, Encoder, encoder_for
from memflow.cli.records import format_of
from memflow.cli.run import RunSettings
from memflow.cli.sink import Sink, Written
from memflow.cli.target import contain_exit, find_function
from memflow.cli.usage import UsageError, say
from memflow.exceptions import JournalError, RecordError
from memflow.observe.snapshot import Display
from memflow.observe.summary import summary_data, summary_text

__all__ = ["launch"]

_GRACE_S = 0.5


@dataclass(frozen=True, slots=True)
class _Plan:
    """A run that nothing speaks against."""

    settings: RunSettings
    """The options."""
    function: Callable[[Any], Any]
    """What runs over the items."""
    hint: Callable[[Any], float] | None
    """What tells an item's size."""
    encoder: Encoder
    """How results become records."""


def launch(settings: RunSettings) -> int:
    """Run what the options ask for, and return the exit status."""
    if not settings.quiet:
        for warning in unknown_variables(os.environ):
            say(f"warning: {warning}")
    plan = _plan(settings)
    to_terminal = settings.output == "-" and sys.stdout.isatty()
    with Interrupts() as interrupts, ExitStack() as opened:
        journal, feed, outputs = _open_all(settings, opened)
        display = open_display(settings, to_terminal=to_terminal)
        interrupts.on_second = lambda: _before_the_end(display, journal)
        job = _make_job(plan, feed, outputs, display, interrupts, journal)
        try:
            anyio.run(job.run, backend=settings.backend)
        except BaseException as error:
            # The user's function may raise what is no Exception (sys.exit() in it, say), which tears the loop down.
            job.end_abruptly(error)
        finally:
            if display is not None:
                display.close()
        status = _finish(job, outputs, interrupts, journal, settings)
    if interrupts.received is not None:
        _leave_stuck_threads(status)
    return status


def _plan(settings: RunSettings) -> _Plan:
    if settings.backend == "trio":
        _require_trio()
    function = find_function(settings.target, takes="a list of items" if settings.batched else "one item")
    return _Plan(
        settings=settings,
        function=contain_exit(function),
        hint=open_hint(settings),
        encoder=encoder_for(format_of(settings.output, settings.output_format, option="--output-format")),
    )


def _require_trio() -> None:
    try:
        import trio  # noqa: F401
    except ImportError:
        raise UsageError("--backend trio needs the package trio; pip install trio") from None


def _open_all(settings: RunSettings, opened: ExitStack) -> tuple[RunJournal | None, Feed, Outputs]:
    """Open the journal, the input and the files, and leave nothing behind where one of them is refused."""
    with ExitStack() as refused:
        journal = None
        if settings.journal is not None and os.path.exists(settings.journal):
            journal = open_journal(settings)  # first, since it says where to go on
            refused.callback(_give_back, journal)
        feed = opened.enter_context(closing(open_feed(settings, journal)))
        outputs = open_outputs(settings, journal)
        refused.callback(outputs.discard)
        if journal is None:
            journal = open_journal(settings)
        if journal is not None and journal.settled is None:
            journal.settle(journal.first, Written(), outputs.lengths, None)
        refused.pop_all()
    return journal, feed, outputs


def _give_back(journal: RunJournal | None) -> None:
    if journal is not None:
        journal.end(complete=journal.complete)


def _before_the_end(display: Display | None, journal: RunJournal | None) -> None:
    """Put things right before the process ends at once, in a signal handler."""
    if display is not None:
        display.close()
    if journal is not None:
        from memflow.journal.flight import close_all

        close_all()  # whoever asked for the end is to blame, and no item


def _make_job(
    plan: _Plan,
    feed: Feed,
    outputs: Outputs,
    display: Display | None,
    interrupts: Interrupts,
    journal: RunJournal | None,
) -> Job:
    settings, encoder = plan.settings, plan.encoder
    if journal is not None and isinstance(encoder, CsvEncoder):
        encoder.columns = journal.columns

    def note(items: int, written: Written) -> None:
        assert journal is not None
        if settings.batch_processor.journal_synchronous == "FULL":
            outputs.sync()
        journal.settle(items, written, outputs.lengths, encoder.columns if isinstance(encoder, CsvEncoder) else None)

    def make_sink() -> Sink:
        return Sink(
            outputs.records,
            encoder=encoder,
            failures=outputs.failures,
            first_index=settings.skip if journal is None else journal.first,
            note=None if journal is None else note,
            before=None if journal is None else journal.written,
        )

    return Job(
        settings,
        function=plan.function,
        feed=feed,
        make_sink=make_sink,
        hint=plan.hint,
        display=display,
        interrupts=interrupts,
        journal=journal,
    )


def _finish(
    job: Job, outputs: Outputs, interrupts: Interrupts, journal: RunJournal | None, settings: RunSettings
) -> int:
    """Tell how it ended, close the files, and give the exit status."""
    summary = job.summarize()
    error, received = job.error, interrupts.received
    status = exit_status(error, received=received, failed=job.sink.failed, skipped=job.skipped)
    try:
        if outputs.summary is not None:
            outputs.summary.write(to_json({**summary_data(summary), "exit_status": status}, indent=2) + b"\n")
        outputs.close()
    except RecordError as closing_error:
        error, status = error or closing_error, status or 1
    if journal is not None:
        try:
            journal.end(complete=error is None and received is None)
        except JournalError as closing_error:
            error, status = error or closing_error, status or 1
    if error is not None and settings.debug:
        traceback.print_exception(error)
    if not settings.quiet:
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
        print(summary_text(summary, width=width), file=sys.stderr)
    ending = describe_ending(
        error,
        received=received,
        sink=job.sink,
        output=settings.output,
        quiet=settings.quiet,
        journaled=journal is not None,
    )
    for line in ending.splitlines():
        say(line)
    return status


def _leave_stuck_threads(status: int) -> None:
    """End the process without its threads, where one of them would hold it: a read from a silent pipe, say."""
    until_s = time.monotonic() + _GRACE_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, until_s - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
