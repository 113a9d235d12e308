"""`memflow doctor`: what limits memory here, and what can be known about it.

Covers its options and the text. The figures are gathered in `checkup`; nothing here changes anything. Settings of
the environment that cannot work are reported like everything else, since that is what somebody came here for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from pydantic import Field
from pydantic_core import to_json
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from memflow.cli.checkup import Checkup, examine
from memflow.cli.environment import unknown_variables
from memflow.cli.settings_source import CommandSettings, parse_command
from memflow.cli.usage import UsageError
from memflow.memory.readings import LimitCandidate
from memflow.units import format_bytes

__all__ = ["DoctorSettings", "doctor"]


class DoctorSettings(CommandSettings):
    """Show the memory limit, where it comes from, every other place that was looked at, and what this machine offers.

    Exit status: 0, also with warnings; 2 for options that cannot work.
    """

    as_json: bool = Field(default=False, alias="json")
    """Print JSON instead of text."""
    debug: bool = False
    """Show tracebacks."""


class _OptionsAlone(DoctorSettings):
    """The same without what the environment and the files say."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the options alone."""
        return (init_settings,)


def doctor(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings: DoctorSettings
    refused = ""
    try:
        settings = parse_command(DoctorSettings, words, prog="memflow doctor")
    except UsageError as error:
        settings = parse_command(_OptionsAlone, words, prog="memflow doctor")  # raises when the options are at fault
        refused = str(error).removesuffix("; see memflow doctor --help")
    warnings = [f"settings cannot work, `memflow run` would refuse them, and here they don't count: {refused}"]
    unknown = unknown_variables(name for name in os.environ if name.upper() not in refused)
    checkup = examine(settings, [*(warnings if refused else ()), *unknown])
    print(to_json(checkup, indent=2).decode() if settings.as_json else "\n".join(_lines(checkup)))
    return 0


def _lines(checkup: Checkup) -> Iterator[str]:
    limit, reading = checkup.limit, checkup.reading
    yield f"limit       {format_bytes(limit.limit_bytes)}, from {limit.source}"
    yield (
        f"in use      {format_bytes(reading.in_use_bytes)} ({reading.utilization_pct:.0f} %), "
        f"{format_bytes(reading.headroom_bytes)} left; RSS of this process {format_bytes(reading.rss_bytes)}"
    )
    yield ""
    yield "looked at"
    for candidate in limit.candidates:
        mark = "→" if candidate.source == limit.source and candidate.limit_bytes == limit.limit_bytes else " "
        yield f"  {mark} {candidate.source}: {_describe(candidate)}"
    yield ""
    peaks = "exact between readings" if checkup.exact_peaks else "sampled, not exact"
    yield f"peaks       {peaks}"
    yield f"allocator   {checkup.allocator}"
    for note in checkup.allocator_notes:
        yield f"            {note}"
    yield "kernel"
    for feature in checkup.features:
        yield f"  {'✓' if feature.available else '–'} {feature.name}: {feature.detail}"
    yield ""
    yield "versions    " + ", ".join(f"{name} {version}" for name, version in checkup.versions.items())
    yield f"settings    {', '.join(checkup.variables) or 'no MEMFLOW_ variables'}"
    yield ""
    yield "warnings" if checkup.warnings else "no warnings"
    for warning in checkup.warnings:
        yield f"  ! {warning}"


def _describe(candidate: LimitCandidate) -> str:
    note = f" ({candidate.note})" if candidate.note else ""
    if candidate.limit_bytes is None:
        return f"no limit{note}"
    if candidate.in_use_bytes is None or candidate.headroom_bytes is None:
        return f"{format_bytes(candidate.limit_bytes)}{note}"
    return (
        f"{format_bytes(candidate.limit_bytes)}, {format_bytes(candidate.in_use_bytes)} in use, "
        f"{format_bytes(candidate.headroom_bytes)} left{note}"
    )
