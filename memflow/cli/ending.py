"""How a run's end is told: in words on standard error, and as an exit status.

Pure but for what it is given: values in, text and a number out. The figures are `memflow.observe.summary`'s.
"""

from __future__ import annotations

from signal import Signals

from memflow.cli.sink import Sink
from memflow.cli.usage import UsageError
from memflow.exceptions import BatchFailed, MemflowError, SourceFailed
from memflow.observe.snapshot import format_count

__all__ = ["describe_error", "describe_ending", "exit_status"]

_SIGNALS = {Signals.SIGINT: "Ctrl-C"}


def exit_status(error: BaseException | None, *, received: Signals | None, failed: int, skipped: int) -> int:
    """0: all went well; 1: items failed or the run stopped; 2: bad usage; 130 and 143: a signal ended it."""
    if received is not None:
        return 128 + received
    if isinstance(error, UsageError) or (error is not None and isinstance(error.__cause__, UsageError)):
        return 2
    return 1 if error is not None or failed or skipped else 0


def describe_error(error: BaseException) -> str:
    """What ended a run, in words."""
    cause = error.__cause__
    if isinstance(error, SourceFailed) and cause is not None:
        return str(cause) if isinstance(cause, MemflowError) else f"the source raised {_name(cause)}: {cause}"
    if isinstance(error, BatchFailed):
        return error.message  # str() would add how many errors the group holds
    if isinstance(error, MemflowError):
        return str(error)
    if not isinstance(error, Exception):
        return f"the function raised {_name(error)}({error}), which ends the run; let it raise an ordinary exception"
    return f"{_name(error)}: {error}; --debug shows the traceback"


def describe_ending(
    error: BaseException | None,
    *,
    received: Signals | None,
    sink: Sink,
    output: str,
    quiet: bool,
    journaled: bool = False,
) -> str:
    """What to say of a run that did not go through, and where to go on; nothing for one that did.

    Args:
        error: What ended the run early.
        received: The signal that did.
        sink: What was written.
        output: Where to.
        quiet: Whether failed items are to be counted here, for want of a summary.
        journaled: Whether a journal says where to go on.
    """
    if received is not None:
        return f"interrupted by {_SIGNALS.get(received, received.name)}: {_where_to_go_on(sink, output, journaled)}"
    if error is not None:
        return f"{describe_error(error)}\n{_where_to_go_on(sink, output, journaled)}"
    if quiet and sink.failed:
        first = f"; the first is {sink.named[0]}" if sink.named else ""
        return f"{format_count(sink.failed, 'item')} failed{first}"
    return ""


def _where_to_go_on(sink: Sink, output: str, journaled: bool) -> str:
    where = "standard output" if output == "-" else output
    records = format_count(sink.written, "record")
    if journaled:
        return f"{records} went to {where}; the same command with --resume goes on behind them"
    if not sink.settled:
        return f"{records} went to {where}"
    return f"{records} went to {where}; --skip {sink.settled} and another --output go on behind them"


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
