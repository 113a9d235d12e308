"""`memflow run`: its options.

Covers the options of one run and their contradictions. Every setting of memflow is an option too, through
`settings_source`. What is done with them is `launch`'s, which is loaded only once they were read, so that help and
mistakes come at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from memflow.cli.records import BadRecordPolicy, RecordFormat
from memflow.cli.settings_source import CommandSettings, parse_command

__all__ = ["RunSettings", "run"]


class RunSettings(CommandSettings):
    """Run a function over every item of an input, as fast as the memory limit allows and never past it.

    Items come from --input, --files or --source; one record for every item that succeeded goes to --output, in the
    order of the items. Exit status: 0 all went well; 1 some items failed, or the run stopped early; 2 something was
    asked for that cannot be; 130 after Ctrl-C, 143 after SIGTERM.
    """

    target: CliPositionalArg[str]
    """The function: its module, a colon and its name, such as jobs:embed. It takes an item and returns a result; it
    may be async. Modules in the current directory are found."""
    input: str | None = None
    """A file of records, or - for standard input. .jsonl, .ndjson: JSON Lines; .csv: a dict for each row;
    .txt, .lines, .log: lines of text; each also .gz or .zst."""
    files: tuple[str, ...] = ()
    """A glob, such as '**/*.pdf' in quotes; an item is the path of a file. May be given several times."""
    source: str | None = None
    """A function that returns the items, as an iterable or async iterable, such as jobs:urls."""
    output: str = "-"
    """Where records go, in the formats of --input; - is standard output."""
    input_format: RecordFormat | None = None
    """The format of --input, where its extension doesn't tell."""
    output_format: RecordFormat | None = None
    """The format of --output, where its extension doesn't tell."""
    batched: bool = False
    """The function takes a list of items and returns a sequence of as many results."""
    on_bad_record: BadRecordPolicy = "stop"
    """A record that cannot be read: stop the run, or skip and count it."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Pass over this many items first, to go on where a run was interrupted."""
    size_hint: str | None = None
    """A function that tells an item's size in bytes, such as jobs:size. With --files, a file's size is used anyway."""
    failures: str | None = None
    """Write every failed item to this file, as JSON Lines."""
    overwrite: bool = False
    """Replace files that exist."""
    progress: Literal["auto", "live", "plain"] = "auto"
    """A live view on a terminal, plain lines otherwise; on standard error."""
    quiet: bool = False
    """Print errors only."""
    summary_json: str | None = None
    """Write the summary to this file, as JSON."""
    backend: Literal["asyncio", "trio"] = "asyncio"
    """The event loop that async functions are written for."""
    debug: bool = False
    """Show tracebacks."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("input", "files", "source") if getattr(self, name)]
        if len(given) != 1:
            those = " and ".join(f"--{name}" for name in given) or "nothing"
            raise ValueError(f"items come from one of --input, --files and --source, and {those} was given")
        return self

    @property
    def title(self) -> str:
        """The run in a few words."""
        items = self.input or self.source or ", ".join(self.files)
        return f"{self.target}   {items} → {'standard output' if self.output == '-' else self.output}"


def run(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_command(RunSettings, words, prog="memflow run")
    from memflow.cli.launch import launch

    return launch(settings)
