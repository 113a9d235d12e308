"""A command from its words to its exit status.

Covers what becomes of errors: a message on standard error and a status, a traceback only with `--debug`. This
module is loaded only once a command is known; the commands are `run`, `doctor`, `autopsy` and `journal`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence

from memflow.cli.usage import say
from memflow.exceptions import ConfigurationError, MemflowError, TargetError

__all__ = ["call"]


def call(command: str, words: Sequence[str]) -> int:
    """Call a command.

    Args:
        command: "run", "doctor", "autopsy" or "journal".
        words: What stands behind it.

    Returns:
        The exit status: 2 for bad usage, 1 for other errors of ours, 130 for Ctrl-C before the run has begun.
    """
    try:
        return _find(command)(words)
    except (ConfigurationError, TargetError) as error:
        return _fail(error, words, status=2)
    except MemflowError as error:
        return _fail(error, words, status=1)
    except KeyboardInterrupt:
        say("interrupted before the first item")
        return 130
    except BrokenPipeError:
        # What reads our own text (`memflow doctor | head`) has seen enough.
        sys.stderr.close()
        return 1


def _find(command: str) -> Callable[[Sequence[str]], int]:
    if command == "doctor":
        from memflow.cli.doctor import doctor

        return doctor
    if command == "autopsy":
        from memflow.cli.autopsy import autopsy

        return autopsy
    if command == "journal":
        from memflow.cli.journal_command import journal

        return journal
    from memflow.cli.run import run

    return run


def _fail(error: Exception, words: Sequence[str], *, status: int) -> int:
    if "--debug" in words:
        traceback.print_exception(error)
    for line in str(error).splitlines():
        say(line)
    return status
