"""The documentation is complete and current: settings, commands, events, the old module's parts, links.

Samples are run by `test_examples_in_docs` and `test_design_samples`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

import memflow
from memflow.analysis.blocked import BlockBook
from memflow.analysis.detectors import (
    Finding,
    Stall,
    StallStep,
    Thresholds,
    UseWindow,
    admission_stalled,
    high_utilization,
    near_limit,
)
from memflow.analysis.growth import growth
from memflow.analysis.lows import MIN_ROWS, GrowthWindow
from memflow.analysis.others import oom_forecast, retention, unmanaged_growth
from memflow.analysis.relief import Relief
from memflow.analysis.trend import Series
from memflow.analysis.trials import TrimOutcome, with_outcome
from memflow.analysis.whose import Whose
from memflow.cli import main
from memflow.cli.usage import OptionParser, UsageError
from memflow.memory.readings import MemoryReading
from memflow.settings import MemflowSettings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
SETTINGS = [
    (section, name, field)
    for section, info in MemflowSettings.model_fields.items()
    for name, field in info.annotation.model_fields.items()  # type: ignore[union-attr]
]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section_of(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or above."""
    rank = heading.partition(" ")[0]
    match = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(rank)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"there is no heading {heading!r}"
    return match[1]


def first_cells(text: str) -> list[str]:
    """What stands in backquotes in the first column of the tables in a text."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_settings", DOCS / "generate_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_settings_is_current(generator: ModuleType) -> None:
    page = read("settings.md")
    assert page == generator.render_page(page), "run: python docs/generate_settings.py"


@pytest.mark.parametrize(("section", "name", "field"), SETTINGS, ids=lambda each: each if isinstance(each, str) else "")
def test_every_setting_is_in_the_reference(section: str, name: str, field: Any) -> None:
    """Not by the generator's own word: from the fields to the page, by the shortest way."""
    entry = section_of(read("settings.md"), f"### {section}.{name}")
    assert " ".join(field.description.split()) in entry
    assert f"`MEMFLOW_{section}__{name}`".upper() in entry
    assert f"`--{section}.{name}`".replace("_", "-") in entry
    (row,) = [line for line in entry.splitlines() if "`MEMFLOW_" in line]
    shown = row.split("|")[2].strip().strip("`")
    assert shown == "unset" if field.default is None else shown in (str(field.default), json.dumps(field.default))


def test_every_contradiction_is_in_the_list_of_what_must_fit() -> None:
    rules = section_of(read("settings.md"), "## What must fit together")
    source = Path(memflow.__file__).with_name("settings.py").read_text(encoding="utf-8")
    for call in re.findall(r"_require_(?:order|range)\(([^)]*)\)", source):
        names = re.findall(r'"(\w+)"', call)
        assert not names or any(all(f"`{name}`" in row for name in names) for row in rules.splitlines())


# ---- commands ---------------------------------------------------------------------------------------------------


COMMANDS = ["run", "doctor", "autopsy", "journal show", "journal release", "journal export"]


def page_of(command: str) -> str:
    """What the page says of a command; a command of a command stands one rank below."""
    return section_of(read("commands.md"), f"{'#' * len(command.split())}# memflow {command}")


@pytest.fixture
def options_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[argparse.Action]]:
    """Ask the command line's own parser for the options of a command."""

    def ask(command: str) -> list[argparse.Action]:
        found: list[argparse.Action] = []

        def stop(parser: OptionParser, _args: object) -> None:
            found.extend(parser._actions)
            raise UsageError("seen")

        monkeypatch.setattr(OptionParser, "parse_strict", stop)
        assert main(command.split()) == 2
        return found

    return ask


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command: str, options_of: Callable[[str], list[argparse.Action]]) -> None:
    page, settings = page_of(command), read("settings.md")
    options = options_of(command)
    assert len(options) > 40
    missing = []
    for option in options:
        names = [name for name in option.option_strings if name.startswith("--") and not name.startswith("--no-")]
        home = settings if any("." in name for name in names) else page
        if option.help == argparse.SUPPRESS:  # a whole section, on one line of JSON
            home = read("commands.md")
        missing += [name for name in names[:1] if f"`{name}`" not in home]
    assert missing == []


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_is_documented_that_is_none(command: str, options_of: Callable[[str], list[argparse.Action]]) -> None:
    known = {name for option in options_of(command) for name in option.option_strings}
    page = page_of(command)
    assert set(re.findall(r"--[a-z][a-z.-]*[a-z]", page)) <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_choices_are_documented(command: str, options_of: Callable[[str], list[argparse.Action]]) -> None:
    page = page_of(command)
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `--")}
    choosing = [option for option in options_of(command) if "{" in str(option.metavar)]
    for option in choosing:
        name, choices = option.option_strings[0], str(option.metavar).strip("{}").split(",")
        if "." not in name:
            assert all(f"`{choice}`" in rows[name] for choice in choices)
    assert choosing


def test_every_command_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    commands = re.findall(r"^  ([a-z]+) ", capsys.readouterr().out.partition("options:")[0], re.MULTILINE)
    assert [each for each in commands if each != "memflow"] == re.findall(
        r"^## memflow (\w+)$", read("commands.md"), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("command", "model"),
    [
        ("run", "RunSettings"),
        ("doctor", "DoctorSettings"),
        ("autopsy", "AutopsySettings"),
        ("journal show", "JournalShowSettings"),
        ("journal release", "JournalReleaseSettings"),
        ("journal export", "JournalExportSettings"),
    ],
)
def test_every_exit_status_is_documented(command: str, model: str) -> None:
    """The commands' own help lists them; the tests of the command line meet each one."""
    settings = getattr(importlib.import_module(f"memflow.cli.{command.replace(' ', '_')}"), model)
    said = set(re.findall(r"\b\d+\b", settings.__doc__.partition("Exit status:")[2]))
    page = section_of(page_of(command), f"{'#' * len(command.split())}## Exit status")
    assert said
    assert {line.split("|")[1].strip() for line in page.splitlines() if re.match(r"\| \d", line)} == said


# ---- events -----------------------------------------------------------------------------------------------------


def use_finding(detect: Callable[..., Finding | None]) -> Finding:
    found = detect(UseWindow(now_s=10.0, high_since_s=0.0, in_use_bytes=99, limit_bytes=100), Thresholds())
    assert found is not None
    return Relief().look(found, {"embed": 8.0})


def growth_finding() -> Finding:
    """Everything rises along the items: the finding with the most evidence there is."""
    rows = range(4 * MIN_ROWS)
    steps = {"blocks": 1e3, "native_bytes": 1e6, "descriptors": 1.0, "tasks": 2.0, "threads": 1.0}
    axis = [float(n) for n in rows]
    live = {name: Series(axis, axis, [1.0] * len(rows), [step * n for n in rows]) for name, step in steps.items()}
    found = growth(GrowthWindow(live, live["native_bytes"], headroom_bytes=1e9), Thresholds())
    assert found is not None
    whose = Whose()  # of the first of two operations, which works while the other rests
    for n in rows:
        whose.work.add(float(n), {"first": n, "second": max(0, n - len(rows) // 2)}, {})
    whose.look(live, found.evidence)
    assert whose.operation == "first"
    return dataclasses.replace(found, evidence=whose.evidence(found.evidence))


def stall_finding() -> Finding:
    stall = Stall("embed", StallStep.ALONE, 9.0, 9.0, 1, 99, 9, 100, "a test", 0, 0, 0, 51.0)
    found = admission_stalled(stall, Thresholds())
    assert found is not None
    return found


READING = MemoryReading(100.0, 500_000_000, 500_000_000, 999_000_000, 1_000_000_000)


def rising(step: float, *, start: float = 1e8) -> Series:
    axis = [float(n) for n in range(4 * MIN_ROWS)]
    return Series(axis, axis, [1.0] * len(axis), [start + step * n for n in axis])


def retention_finding() -> Finding | None:
    window = GrowthWindow({"native_bytes": rising(0.0)}, rising(1e6), headroom_bytes=1e9)
    found = retention(window, 400_000_000, READING, Thresholds())
    return None if found is None else with_outcome(found, TrimOutcome(300_000_000, 200_000_000, 10.0, 60.0))


def others_finding() -> Finding | None:
    return unmanaged_growth(rising(1e6), READING, Thresholds())


def beside_finding(find: Callable[[], Finding | None]) -> Finding:
    found = find()
    assert found is not None
    return found


FINDINGS: dict[memflow.IssueKind, Callable[[], Finding | None]] = {
    memflow.IssueKind.ADMISSION_STALLED: stall_finding,
    memflow.IssueKind.NEAR_LIMIT: lambda: use_finding(near_limit),
    memflow.IssueKind.HIGH_UTILIZATION: lambda: use_finding(high_utilization),
    memflow.IssueKind.SUSPECTED_LEAK: growth_finding,
    memflow.IssueKind.RETENTION: lambda: beside_finding(retention_finding),
    memflow.IssueKind.UNMANAGED_GROWTH: lambda: beside_finding(others_finding),
    memflow.IssueKind.OOM_FORECAST: lambda: oom_forecast(growth_finding(), None, READING),
    memflow.IssueKind.EVENT_LOOP_BLOCKED: lambda: BlockBook(blocked_s=1.0, calm_s=1.0).silent("a loop", 1.0, ""),
}
LIKE_A_SUSPICION = (
    memflow.IssueKind.LEAK,
    memflow.IssueKind.CYCLIC_GARBAGE,
    memflow.IssueKind.RESULTS_PILING_UP,
)


@pytest.mark.parametrize("kind", LIKE_A_SUSPICION)
def test_verdicts_that_share_their_evidence_say_so(kind: memflow.IssueKind) -> None:
    assert "Severity and evidence are the same" in section_of(read("events.md"), f"### `{kind.value}`")


@pytest.mark.parametrize("kind", [each for each in memflow.IssueKind if each not in LIKE_A_SUSPICION])
def test_every_issue_kind_and_its_evidence_are_documented(kind: memflow.IssueKind) -> None:
    page = read("events.md")
    entry = section_of(page, f"### `{kind.value}`")
    finding = FINDINGS[kind]()
    assert finding is not None
    of_use = kind in (memflow.IssueKind.NEAR_LIMIT, memflow.IssueKind.HIGH_UTILIZATION)
    named = first_cells(section_of(page, "## Kinds") if of_use else entry)
    assert set(finding.evidence) <= set(named)
    if not of_use:
        assert set(named) == set(finding.evidence)
    assert f"`{finding.severity.name}`" in entry


def test_every_severity_is_documented() -> None:
    assert first_cells(section_of(read("events.md"), "## Severities")) == [each.name for each in memflow.Severity]


@pytest.mark.parametrize("event", get_args(memflow.IssueEvent), ids=lambda event: event.__name__)
def test_every_event_and_its_fields_are_documented(event: type) -> None:
    (row,) = [line for line in read("events.md").splitlines() if line.startswith(f"| `{event.__name__}`")]
    assert all(f"`{field.name}`" in row for field in dataclasses.fields(event))


def test_every_field_of_an_issue_is_documented() -> None:
    fields = [field.name for field in dataclasses.fields(memflow.MemoryIssue)]
    assert sorted(first_cells(section_of(read("events.md"), "## An issue"))) == sorted(fields)


# ---- from the Node module ---------------------------------------------------------------------------------------

PARTS = {
    "MemoryManager": ("current_usage", "monitor", "reclaim", "trend", "calculate_optimal_batch_size"),
    "HeapAnalyzer": ("analyze", "memory_statistics"),
    "BatchOptimizer": ("calculate_optimal_batch_size", "optimize_process_function", "batch_statistics"),
    "BatchProcessor": ("process", "process_batches", "issues", "statistics"),
}
OPTIONS = {
    "memory_manager": ("debug", "auto_gc", "gc_threshold_pct", "limit", "sample_interval_s"),
    "heap_analyzer": ("debug", "leak_threshold_rate", "high_utilization_threshold"),
    "batch_optimizer": (
        *("debug", "default_batch_size", "min_batch_size", "max_batch_size"),
        *("target_utilization_pct", "auto_adjust", "pre_process_gc"),
    ),
    "batch_processor": (
        *("batch_size", "concurrency", "auto_optimize", "memory_monitoring", "detect_memory_issues"),
        *("process_name", "force_gc_on_completion", "delay_between_batches_s"),
    ),
}


def rows_by_part(heading: str) -> dict[str, dict[str, str]]:
    """The rows of a table by the names in their first and second columns; an empty first cell repeats the last."""
    part, found = "", dict[str, dict[str, str]]()
    for line in section_of(read("from-node.md"), heading).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) > 2:
            part = cells[0].strip("`") or part
            for name in re.findall(r"`(\w+)", cells[1]):
                found.setdefault(part, {})[name] = cells[2]
    return found


@pytest.mark.parametrize("part", PARTS)
def test_every_function_of_the_node_module_is_mapped(part: str) -> None:
    assert set(PARTS[part]) <= set(rows_by_part("## Functions")[part])
    assert all(callable(getattr(getattr(memflow, part), name)) for name in PARTS[part])


@pytest.mark.parametrize("section", OPTIONS)
def test_every_option_of_the_node_module_is_mapped_with_its_default(section: str) -> None:
    rows = rows_by_part("## Options")[section]
    assert set(OPTIONS[section]) <= set(rows)
    defaults = {name: field.default for part, name, field in SETTINGS if part == section}
    for name in OPTIONS[section]:
        written = rows[name].strip("`")
        default = defaults[name]
        shown = {True: "true", False: "false"}.get(default, str(default)) if isinstance(default, bool) else str(default)
        assert written == ("unset" if default is None else shown)


def test_the_shared_parts_are_mapped() -> None:
    page = read("from-node.md")
    assert all(f"`{name}`" in page for name in ("memory_manager", "heap_analyzer", "batch_optimizer"))
    faults = section_of(page, "## Faults of the original, and what happens here")
    assert len([line for line in faults.splitlines() if line.startswith("|")]) == 2 + 7


# ---- the pages --------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file() or target == ROOT / "LICENSE", link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\((?!http)([^)#]+)", read("index.md")))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_the_changelog_knows_this_version() -> None:
    assert f"## {memflow.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_readme_has_its_two_commands_each_on_one_line() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"^<!-- command: (\w+) -->\n```bash\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL))
    assert set(commands) == {"demo", "test"}
    for command in commands.values():
        assert "\n" not in command
        assert command.startswith("python3.11 -m venv .venv && .venv/bin/pip install")
