"""`memflow journal`: which of its commands is meant.

Covers help and misspelt names. What they do: `memflow.cli.journal_show`, `memflow.cli.journal_release`,
`memflow.cli.journal_export`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memflow.cli.usage import UsageError, nearest

__all__ = ["journal"]

_HELP = """\
usage: memflow journal show|release|export PATH [OPTIONS]

Look into the journal of a run, let failed items run again, and take out what it holds.

commands:
  show PATH           what the journal is of, how far the run came, what failed, who has it open
  release PATH WHAT   let failed and quarantined items run again at the next resume
  export PATH         write failures or kept results as JSON Lines

`memflow journal COMMAND --help` shows a command's options.
"""
_COMMANDS = ("show", "release", "export")


def journal(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    command = words[0] if words else ""
    if command in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    return _find(command)(words[1:])


def _find(command: str) -> Callable[[Sequence[str]], int]:
    if command == "show":
        from memflow.cli.journal_show import show

        return show
    if command == "release":
        from memflow.cli.journal_release import release

        return release
    if command == "export":
        from memflow.cli.journal_export import export

        return export
    near = nearest(command, _COMMANDS)
    meant = f"did you mean {near}?" if near else "they are show, release and export, see memflow journal --help"
    problem = f"there is no command journal {command!r}" if command else "journal needs a command"
    raise UsageError(f"{problem}; {meant}")
