"""Where settings come from, and what is said when they cannot work: `settings_source` and `usage`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memflow.cli.settings_source import CommandSettings, parse_command
from memflow.cli.usage import UsageError
from memflow.settings import MemflowSettings


class Command(CommandSettings):
    """A command."""

    files: tuple[str, ...] = ()
    """Some files."""
    quiet: bool = False
    """Say nothing."""


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("MEMFLOW_"):
            monkeypatch.delenv(name)


def parse(*words: str) -> Command:
    return parse_command(Command, words, prog="memflow test")


def refuse(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    return str(caught.value)


SECTIONS = {name: info.annotation for name, info in MemflowSettings.model_fields.items()}
FIELDS = [(section, field) for section, model in SECTIONS.items() for field in model.model_fields]  # type: ignore[union-attr]


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_every_setting_is_an_option(section: str, field: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    assert f"--{section}.{field}".replace("_", "-") in capsys.readouterr().out


def test_options_are_typed_and_validated() -> None:
    settings = parse(
        *("--memory-manager.limit", "512MiB", "--batch-processor.concurrency=20", "--no-memory-manager.auto-gc"),
        *("--batch-processor.on-error", "collect", "--quiet"),
    )
    assert str(settings.memory_manager.limit) == "512MiB"
    assert settings.memory_manager.auto_gc is False
    assert settings.batch_processor.concurrency == 20
    assert settings.batch_processor.on_error == "collect"
    assert settings.quiet is True


def test_what_is_given_several_times_is_kept_as_typed() -> None:
    assert parse("--files", "a,b", "--files", "[ab]*.txt", "--files", '{"x"}').files == ("a,b", "[ab]*.txt", '{"x"}')


def test_the_places_are_merged_field_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.memflow.batch_processor]\nconcurrency = 1\nbatch_size = 1\nattempts = 1\nretry_wait_s = 1\n"
    )
    (tmp_path / ".env").write_text(
        "UNRELATED=1\nMEMFLOW_BATCH_PROCESSOR__CONCURRENCY=2\nMEMFLOW_BATCH_PROCESSOR__BATCH_SIZE=2\n"
        "MEMFLOW_BATCH_PROCESSOR__ATTEMPTS=2\n"
    )
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "3")
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__BATCH_SIZE", "3")
    section = parse("--batch-processor.concurrency", "4").batch_processor
    assert (section.concurrency, section.batch_size, section.attempts, section.retry_wait_s) == (4, 3, 2, 1)


def test_the_library_itself_reads_no_files(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY=2\n")
    (tmp_path / "pyproject.toml").write_text("[tool.memflow.batch_processor]\nconcurrency = 1\n")
    assert MemflowSettings().batch_processor.concurrency is None


def test_options_of_a_command_are_read_from_no_other_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_QUIET", "true")
    assert parse().quiet is False


def test_a_value_that_cannot_work_is_named_where_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refuse("--batch-processor.concurrency", "0") == (
        "--batch-processor.concurrency: should be greater than or equal to 1, not '0'; see memflow test --help"
    )
    (tmp_path / "pyproject.toml").write_text("[tool.memflow.batch_processor]\nconcurrency = 0\n")
    assert "pyproject.toml [tool.memflow.batch_processor] concurrency: should be" in refuse()
    (tmp_path / ".env").write_text("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY=x\n")
    assert ".env MEMFLOW_BATCH_PROCESSOR__CONCURRENCY: should be a valid integer" in refuse()
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "-3")
    assert refuse().startswith("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY: should be greater")


def test_a_contradiction_names_both_where_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__BATCH_SIZE", "50")
    assert refuse("--batch-optimizer.max-batch-size", "20").startswith(
        "MEMFLOW_BATCH_PROCESSOR__BATCH_SIZE=50 exceeds --batch-optimizer.max-batch-size=20; change one of the two"
    )
    assert refuse("--batch-processor.retry-wait-s=50").startswith(
        "--batch-processor.retry-wait-s=50 exceeds --batch-processor.retry-wait-max-s=30"
    )


def test_several_mistakes_are_told_at_once() -> None:
    told = refuse("--memory-manager.limit", "5x", "--batch-processor.batch-size", "0")
    assert "--memory-manager.limit: unknown unit 'x'" in told
    assert "--batch-processor.batch-size: should be" in told


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--memory_manager.limit=3", "--memory-manager.limit"),
        ("--limit", "--memory-manager.limit"),
        ("--concurency", "--batch-processor.concurrency"),
        ("--batch-procesor.concurrency", "--batch-processor.concurrency"),
        ("--quite", "--quiet"),
    ],
)
def test_an_unknown_option_gets_the_nearest_name(word: str, meant: str) -> None:
    assert f"unknown option {word.partition('=')[0]}; did you mean {meant}?" in refuse(word)


def test_an_option_that_is_near_nothing_is_still_told() -> None:
    assert refuse("--xyzzyplugh") == "unknown option --xyzzyplugh; see memflow test --help"


def test_a_misspelt_setting_gets_the_nearest_name_in_the_spelling_of_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.memflow.batch_procesor]\nconcurrency = 1\n")
    assert (
        "[tool.memflow] batch_procesor is not a setting; did you mean pyproject.toml [tool.memflow] batch_processor?"
        in (refuse())
    )
    (tmp_path / "pyproject.toml").unlink()
    monkeypatch.setenv("MEMFLOW_MEMORY_MANAGER__LIMITS", "1GiB")
    assert "MEMFLOW_MEMORY_MANAGER__LIMITS is not a setting; did you mean MEMFLOW_MEMORY_MANAGER__LIMIT?" in refuse()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.memflow", "./pyproject.toml cannot be read: "),
        ("[tool]\nmemflow = 3", "[tool.memflow] must be a table"),
        ("tool = 3", "[tool.memflow] must be a table"),
    ],
)
def test_a_broken_pyproject_is_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert told in refuse()


def test_a_section_variable_that_is_no_json_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR", "concurrency=3")
    assert 'error parsing value for field "batch_processor"' in refuse()
    assert "MEMFLOW_BATCH_PROCESSOR__CONCURRENCY=8" in refuse()
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR", '{"concurrency": 3}')
    assert parse().batch_processor.concurrency == 3


def test_an_option_without_its_value_is_told() -> None:
    assert "argument --memory-manager.limit: expected one argument" in refuse("--memory-manager.limit")
