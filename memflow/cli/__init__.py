"""The command line: `memflow run`, `memflow doctor`, `memflow autopsy`, `memflow journal`.

Covers which command is meant, help and version, loading nothing else for those. The commands are in `app`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_HELP = """\
usage: memflow COMMAND [OPTIONS]

Run a function over any number of items as fast as the memory limit allows, and never past it.

commands:
  run TARGET    run a function over every record, file or item of an input
  doctor        show the memory limit, where it comes from, and what this machine offers
  autopsy FILE  tell what killed a run, and which items are suspect
  journal       show, release and export what a run's journal holds

options:
  -h, --help    show this text; `memflow COMMAND --help` shows a command's options
  --version     show the version

example:
  memflow run jobs:embed --input texts.jsonl --output vectors.jsonl --memory-manager.limit 80%
"""
_COMMANDS = ("run", "doctor", "autopsy", "journal")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The words behind the program's name; those of this process by default.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words else ""
    if command in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    if command == "--version":
        from memflow._version import __version__

        print(f"memflow {__version__}")
        return 0
    if command not in _COMMANDS:
        return _refuse(command)
    from memflow.cli.app import call

    return call(command, words[1:])


def _refuse(command: str) -> int:
    import difflib

    near = difflib.get_close_matches(command, _COMMANDS, n=1)
    known = f"the commands are {', '.join(_COMMANDS[:-1])} and {_COMMANDS[-1]}"
    problem = f"there is no command {command!r}" if command else "a command is needed"
    meant = f"; did you mean {near[0]}?" if near else f"; {known}, see memflow --help"
    print(f"memflow: {problem}{meant}", file=sys.stderr)
    return 2
