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
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic_core import to_json

from memflow.cli.ending import describe_ending, exit_status
from memflow.cli.environment import unknown_variables
from memflow.cli.feed import Feed
from memflow.cli.interrupt import Interrupts
from memflow.cli.job import Job
from memflow.cli.opening import Outputs, open_display, open_feed, open_hint, open_outputs
from memflow.cli.record_writer import Encoder, encoder_for
from memflow.cli.records import format_of
from memflow.cli.run import RunSettings
from memflow.cli.sink import Sink
from memflow.cli.target import contain_exit, find_function
from memflow.cli.usage import UsageError, say
from memflow.exceptions import RecordError
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
    feed: Feed
    """Where items come from."""
    encoder: Encoder
    """How results become records."""


def launch(settings: RunSettings) -> int:
    """Run what the options ask for, and return the exit status."""
    if not settings.quiet:
        for warning in unknown_variables(os.environ):
            say(f"warning: {warning}")
    plan = _plan(settings)
    to_terminal = settings.output == "-" and sys.stdout.isatty()
    with Interrupts() as interrupts, closing(plan.feed):
        outputs = open_outputs(settings)
        display = open_display(settings, to_terminal=to_terminal)
        if display is not None:
            interrupts.on_second = display.close
        job = _make_job(plan, outputs, display, interrupts)
        try:
            anyio.run(job.run, backend=settings.backend)
        except BaseException as error:
            # The user's function may raise what is no Exception (sys.exit() in it, say), which tears the loop down.
            job.end_abruptly(error)
        finally:
            if display is not None:
                display.close()
        status = _finish(job, plan, outputs, interrupts)
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
        feed=open_feed(settings),
    )


def _require_trio() -> None:
    try:
        import trio  # noqa: F401
    except ImportError:
        raise UsageError("--backend trio needs the package trio; pip install trio") from None


def _make_job(plan: _Plan, outputs: Outputs, display: Display | None, interrupts: Interrupts) -> Job:
    settings = plan.settings

    def make_sink() -> Sink:
        return Sink(outputs.records, encoder=plan.encoder, failures=outputs.failures, first_index=settings.skip)

    return Job(
        settings,
        function=plan.function,
        feed=plan.feed,
        make_sink=make_sink,
        hint=plan.hint,
        display=display,
        interrupts=interrupts,
    )


def _finish(job: Job, plan: _Plan, outputs: Outputs, interrupts: Interrupts) -> int:
    """Tell how it ended, close the files, and give the exit status."""
    summary = job.summarize()
    settings = plan.settings
    error, received = job.error, interrupts.received
    status = exit_status(error, received=received, failed=job.sink.failed, skipped=job.skipped)
    try:
        if outputs.summary is not None:
            outputs.summary.write(to_json({**summary_data(summary), "exit_status": status}, indent=2) + b"\n")
        outputs.close()
    except RecordError as closing_error:
        error, status = error or closing_error, status or 1
    if error is not None and settings.debug:
        traceback.print_exception(error)
    if not settings.quiet:
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
        print(summary_text(summary, width=width), file=sys.stderr)
    ending = describe_ending(error, received=received, sink=job.sink, output=settings.output, quiet=settings.quiet)
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
