"""What is wrong with a command line, in words: unknown options, values that cannot work, near matches.

Covers the parser's messages and the translation of pydantic's. Reading the values is `settings_source`'s.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from memflow.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["OptionParser", "UsageError", "as_typed", "explain", "nearest", "say"]

_ARGUMENTS = {
    "memflow run": " TARGET",
    "memflow autopsy": " FILE",
    "memflow journal show": " PATH",
    "memflow journal release": " PATH all|error|poison|POSITION|KEY ...",
    "memflow journal export": " PATH",
}
Layers = Sequence[tuple[str, Mapping[str, Any]]]


class UsageError(ConfigurationError):
    """The command line, or a setting that it reads, cannot work; exit status 2."""


def say(message: str) -> None:
    """Print a message for people, on standard error."""
    print(f"memflow: {message}", file=sys.stderr)


class OptionParser(argparse.ArgumentParser):
    """A parser that raises instead of exiting, and names the option that was probably meant."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} [OPTIONS]{_ARGUMENTS.get(prog, '')}",
            description=description,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise with what argparse found wrong."""
        raise UsageError(f"{message}; see {self.prog} --help")

    def parse_strict(self, args: Sequence[str]) -> argparse.Namespace:
        """Parse, and refuse what is left over by name."""
        namespace, rest = self.parse_known_args(list(args))
        if rest:
            # Only the first: what follows an unknown option is mostly its value.
            self.error(self._describe_leftover(rest[0]))
        return namespace

    def _describe_leftover(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected argument {word!r}; quote a glob such as '**/*.py', so that the shell leaves it whole"
        typed = word.partition("=")[0]
        near = _near_options(typed, list(self._option_string_actions))
        return f"unknown option {typed}" + (f"; did you mean {near}?" if near else "")


_NO_DEFAULT = re.compile(r"\s*\((default factory: [^)]*|ifdef: required|required|default: None|default: \(\))\)")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that reads well: a column for options wide enough for most, and no factories for defaults."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(shutil.get_terminal_size().columns, 110))

    def _expand_help(self, action: argparse.Action) -> str:
        text = _NO_DEFAULT.sub("", super()._expand_help(action) or "")
        return re.sub(r"`([^`]*)`", r"\1", text)


def _near_options(typed: str, known: Sequence[str]) -> str:
    """Name the options that `typed` may have meant: the same last part, else a close spelling."""
    spelled = typed.replace("_", "-")
    if spelled in known:
        return spelled
    last = spelled.lstrip("-").rpartition(".")[2]
    lasts = {each.rpartition(".")[2]: each for each in known}
    ends = [each for each in known if each.endswith(f".{last}")]
    return " or ".join(ends[:3]) or nearest(spelled, known) or lasts.get(nearest(last, lasts), "")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is spelled most like `word`, or nothing."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def explain(error: ValidationError, layers: Layers, *, prog: str) -> str:
    """Put a validation error into words, one line for each value that cannot work.

    Args:
        error: What pydantic found.
        layers: What each place says, strongest first.
        prog: The command whose help is pointed to.
    """
    lines = [_explain_one(each, layers) for each in error.errors(include_url=False, include_context=False)]
    return "\n".join(lines) + f"; see {prog} --help"


def _explain_one(detail: ErrorDetails, layers: Layers) -> str:
    path = tuple(str(each) for each in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] == "missing":
        return f"{_option(path)} is required"
    if detail["type"] == "extra_forbidden":
        near = nearest(path[-1], _fields_of(path[:-1]))
        meant = f"; did you mean {_spell((*path[:-1], near), _place_of(path, layers))}?" if near else ""
        return f"{as_typed(path, layers)} is not a setting{meant}"
    if len(path) < 2 and _fields_of(path) and not message.startswith("should"):
        return _name_fields(message, path, layers)
    typed = f", not {detail['input']!r}" if message.startswith("should") else ""
    return f"{as_typed(path, layers)}: {message}{typed}"


def _name_fields(message: str, section: tuple[str, ...], layers: Layers) -> str:
    """Write `field=` in a message about several fields the way each field was typed."""

    def typed(match: re.Match[str]) -> str:
        path = (*section, *match[1].split("."))
        return f"{as_typed(path, layers)}=" if path[-1] in _fields_of(path[:-1]) else match[0]

    return re.sub(r"\b([a-z_]+(?:\.[a-z_]+)?)=", typed, message)


def as_typed(path: tuple[str, ...], layers: Layers) -> str:
    """A setting's name as it was typed where its value came from; its option where it was typed nowhere."""
    return _spell(path, _place_of(path, layers))


def _place_of(path: tuple[str, ...], layers: Layers) -> str:
    return next((name for name, values in layers if _holds(values, path)), "option")


def _spell(path: tuple[str, ...], place: str) -> str:
    if place == "pyproject.toml":
        return f"pyproject.toml [{'.'.join(('tool', 'memflow', *path[:-1]))}] {path[-1]}"
    if place == "option":
        return _option(path)
    return f"{'.env ' if place == '.env' else ''}MEMFLOW_{'__'.join(path).upper()}"


def _option(path: tuple[str, ...]) -> str:
    return "--" + ".".join(path).replace("_", "-")


def _holds(values: object, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _fields_of(path: tuple[str, ...]) -> list[str]:
    """The names below a path: the sections for (), a section's fields for (section,), else nothing."""
    from memflow.settings import MemflowSettings

    if not path:
        return list(MemflowSettings.model_fields)
    section = MemflowSettings.model_fields.get(path[0]) if len(path) == 1 else None
    fields: Mapping[str, Any] = getattr(section.annotation, "model_fields", {}) if section else {}
    return list(fields)
