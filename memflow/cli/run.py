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
    asked for that cannot be; 130 after Ctrl-C, 143 after SIGTERM; 137 when --restart-on-kill gave up.
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
    input_field: str | None = None
    """Of each record of --input, the field that is the item: with a failures file as --input, its field input."""
    output_format: RecordFormat | None = None
    """The format of --output, where its extension doesn't tell."""
    batched: bool = False
    """The function takes a list of items and returns a sequence of as many results."""
    isolate_failures: bool = False
    """With --batched: run a batch that failed again in halves, down to the items that fail by themselves."""
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
    journal: str | None = None
    """Keep what was finished in this file, so that the run can be resumed after any end, a kill included."""
    resume: bool = False
    """Go on where the journal's run ended; begin it where there is none yet. Give both in a command line that is
    started again and again."""
    restart_on_kill: bool = False
    """Run in a process of its own, and start it again whenever something kills it. Needs --journal."""
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    """Seconds for which what is in flight may go on after Ctrl-C or SIGTERM; nothing new is begun."""
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
        if self.isolate_failures and not self.batched:
            raise ValueError("--isolate-failures is about batches; give --batched, or leave it out")
        if self.input_field is not None and self.input is None:
            raise ValueError("--input-field picks a field of the records of --input, and --input was not given")
        return self

    @model_validator(mode="after")
    def _journal_can_work(self) -> Self:
        if self.journal is None:
            for name, given in (("resume", self.resume), ("restart-on-kill", self.restart_on_kill)):
                if given:
                    raise ValueError(f"--{name} needs --journal FILE, which says what was finished")
            return self
        if self.output == "-":
            raise ValueError("--journal needs --output FILE: what went to standard output cannot be taken back")
        if self.input == "-":
            raise ValueError("--journal needs an input that can be read again: give --input FILE")
        return self

    @property
    def title(self) -> str:
        """The run in a few words."""
        items = self.input or self.source or ", ".join(self.files)
        return f"{self.target}   {items} → {'standard output' if self.output == '-' else self.output}"


def run(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    settings = parse_command(RunSettings, words, prog="memflow run")
    if settings.restart_on_kill and settings.journal is not None:
        from memflow.cli.restart import run_again_when_killed

        rest = [word for word in words if word.partition("=")[0] != "--restart-on-kill"]
        max_deaths = settings.batch_processor.max_deaths
        return run_again_when_killed(rest, journal=settings.journal, max_deaths=max_deaths)
    from memflow.cli.launch import launch

    return launch(settings)
