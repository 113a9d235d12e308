"""The import contracts cover what they should: `.importlinter` against the modules' own words.

Whether the contracts are kept is import-linter's to say; here, that no pure module and no room is missing from them.
"""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import memflow

PACKAGE = Path(memflow.__file__).parent
CONTRACTS = Path(__file__).parent.parent / ".importlinter"
IMPURE = {"anyio", "asyncio", "psutil", "time", "os", "logging", "random", "pydantic"}


def contract(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read_string(CONTRACTS.read_text(encoding="utf-8"))
    return parser[f"importlinter:contract:{name}"]


def modules_that_say_pure() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if re.search(r"\bPure\*?[.:]", docstring):
            found.add(".".join(("memflow", *path.relative_to(PACKAGE).with_suffix("").parts)))
    return found


def test_every_pure_module_is_held_to_it() -> None:
    said = modules_that_say_pure()
    assert {"memflow.memory.pressure", "memflow.sizing.cost", "memflow.analysis.detectors"} <= said
    assert set(contract("pure")["source_modules"].split()) == said


def test_pure_modules_may_not_import_what_the_style_names() -> None:
    assert set(contract("pure")["forbidden_modules"].split()) >= IMPURE


def test_every_room_has_its_floor() -> None:
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    floors = set(re.findall(r"\w+", contract("floors")["layers"]))
    assert names - {"__init__"} == floors


def test_the_floors_are_the_design_s() -> None:
    floors = contract("floors")["layers"].split("\n")
    order = ["cli", "observe", "processing", "sizing", "memory", "settings", "exceptions", "units"]
    heights = [next(i for i, line in enumerate(floors) if room in line.split()) for room in order]
    assert heights == sorted(heights)
    assert floors[heights[3]].split(" | ") == ["sizing", "analysis", "execution", "journal"]
