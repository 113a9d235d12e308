"""Where a command's settings come from: options, environment, `.env`, `[tool.memflow]`, in that order.

Covers the base of every command's settings model and reading it from the four places. Only the sections of
`MemflowSettings` are read outside the command line; what one run is about (its input, its output) is given as
options alone. What is wrong with a value, and where that value was typed, is worded in `usage`; variables that
nobody reads are found in `environment`.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from memflow.cli.usage import OptionParser, UsageError, explain
from memflow.settings import MemflowSettings

__all__ = ["CommandSettings", "parse_command", "read_layers"]


class _FileSettings(MemflowSettings):
    """The four sections, with the places that only the command line reads."""

    model_config = SettingsConfigDict(env_file=".env", pyproject_toml_table_header=("tool", "memflow"))


class _DotEnv(DotEnvSettingsSource):
    """`.env` without its unrelated keys, which `extra="forbid"` would refuse."""

    def __call__(self) -> dict[str, Any]:
        return EnvSettingsSource.__call__(self)


class _Cli(CliSettingsSource[Any]):
    """Named so that type checkers see what `CliApp.run` takes."""


def _file_sources() -> tuple[tuple[str, PydanticBaseSettingsSource], ...]:
    """The sources below the options, strongest first, each with the name that messages give it."""
    try:
        return (
            ("environment", EnvSettingsSource(_FileSettings)),
            (".env", _DotEnv(_FileSettings)),
            ("pyproject.toml", PyprojectTomlConfigSettingsSource(_FileSettings)),
        )
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"./pyproject.toml cannot be read: {error}; mend it, or run from another directory") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings files of this directory cannot be read: {error}") from error
    except AttributeError as error:
        raise UsageError("./pyproject.toml: [tool.memflow] must be a table, with one table for each section") from error


class CommandSettings(MemflowSettings):
    """Base of a command's settings: the sections of `MemflowSettings`, to which a command adds its own options."""

    model_config = SettingsConfigDict(
        cli_avoid_json=True,
        cli_enforce_required=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        cli_kebab_case=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the sections from the environment and the files; pydantic-settings puts the options before them."""
        return (init_settings, *(source for _, source in _file_sources()))


C = TypeVar("C", bound=CommandSettings)
_PLACEHOLDERS = {"str": "TEXT", "int": "N", "float": "X", "MemorySize": "SIZE", "tuple[str,...]": "GLOB"}


def parse_command(model: type[C], argv: Sequence[str], *, prog: str) -> C:
    """Read one command's settings from `argv` and the places below it.

    Args:
        model: The command's settings.
        argv: The words behind the command's name.
        prog: What help and messages call the command, such as "memflow run".

    Raises:
        UsageError: For anything that cannot work; the message names it as it was typed.
    """
    parser = OptionParser(prog=prog, description=inspect.cleandoc(model.__doc__ or ""))
    source = _Cli(
        model,
        root_parser=parser,
        parse_args_method=_parse_args,
        add_argument_method=_add_argument,
    )
    try:
        return CliApp.run(model, cli_args=list(argv), cli_settings_source=source)
    except ValidationError as error:
        raise UsageError(explain(error, read_layers(source()), prog=prog)) from error
    except SettingsError as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise UsageError(
            f"{error}{cause}; nested settings are named like MEMFLOW_BATCH_PROCESSOR__CONCURRENCY=8"
        ) from error


def _add_argument(parser: ArgumentParser, *names: str, **options: Any) -> Any:
    """Add an option whose placeholder tells people what to write, not which type it gets."""
    if "metavar" in options and names[0].startswith("-"):
        options["metavar"] = _PLACEHOLDERS.get(options["metavar"], options["metavar"])
    return parser.add_argument(*names, **options)


def _parse_args(parser: OptionParser, args: Sequence[str], _namespace: Namespace | None = None) -> Namespace:
    namespace = parser.parse_strict(args)
    for name, value in vars(namespace).items():
        # Left as a list, pydantic-settings would cut its strings at commas and take "[ab]*.txt" for JSON.
        if isinstance(value, list):
            setattr(namespace, name, json.dumps(value))
    return namespace


def read_layers(options: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """What each place says, strongest first, for messages that tell where a value came from."""
    return (("option", options), *((name, source()) for name, source in _file_sources()))
