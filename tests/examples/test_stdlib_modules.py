"""The demonstration job: `memflow.examples.stdlib_modules`."""

from __future__ import annotations

import dis
import json
import os
from itertools import islice
from pathlib import Path

import pytest

from memflow.examples.stdlib_modules import file_size, paths, summarize
from tests.cli.conftest import Shell, shell

__all__ = ["shell"]

SOURCE = '''"""First line.

More.
"""

import os, sys as system
from . import near
from ..far import thing


class Outer:
    def method(self, x):
        if x and not x or x > 3:
            return [y for y in x if y]
        for each in x:
            assert each
        return None


async def run():
    try:
        pass
    except ValueError:
        pass
    match 3:
        case 3:
            pass
'''


def test_a_module_is_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "some_module.py"
    path.write_text(SOURCE)
    record = summarize(str(path))
    assert record.pop("nodes") > 50
    assert record == {
        "path": str(path),
        "module": "some_module",
        "lines": SOURCE.count("\n"),
        "functions": ["run", "method"],
        "classes": ["Outer"],
        "imports": [".", "..far", "os", "sys"],
        "docstring": "First line.",
        # 1, and: if, and, or, comprehension, for, assert, except, case
        "complexity": 9,
    }


def test_an_empty_file_is_a_module_too(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    record = summarize(str(tmp_path / "__init__.py"))
    assert (record["lines"], record["complexity"], record["nodes"], record["docstring"]) == (0, 1, 1, "")
    (tmp_path / "one.py").write_text("x = 1")
    assert summarize(str(tmp_path / "one.py"))["lines"] == 1


@pytest.mark.parametrize(
    "data", [b"print 'old'\n", b"# -*- coding: nonsense -*-\n", b"x = '\xff'\n", b"# coding: ascii\nx = '\xc3\xa4'\n"]
)
def test_files_that_are_broken_on_purpose_raise(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_bytes(data)
    with pytest.raises(SyntaxError):
        summarize(str(tmp_path / "broken.py"))


def test_another_encoding_is_read_as_declared(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b'# coding: latin-1\n"\xe4"\n')
    assert summarize(str(tmp_path / "latin.py"))["docstring"] == "ä"


def test_the_standard_library_is_found_whole_and_alone() -> None:
    found = list(paths())
    assert len(found) > 500
    assert found == list(paths())
    assert len(set(found)) == len(found)
    assert dis.__file__ in found
    assert not [each for each in found if "site-packages" in each or "__pycache__" in each]


def test_names_are_those_that_are_imported() -> None:
    assert summarize(dis.__file__)["module"] == "dis"
    assert summarize(json.__file__)["module"] == "json"
    assert summarize(json.decoder.__file__)["module"] == "json.decoder"


def test_the_hint_is_the_files_size() -> None:
    assert file_size(dis.__file__) == os.path.getsize(dis.__file__)


def test_the_job_runs_on_the_command_line(shell: Shell) -> None:
    (shell.folder / "some.py").write_text(
        "from itertools import islice\nfrom memflow.examples.stdlib_modules import paths\n"
        "def few():\n    return islice(paths(), 40)\n"
    )
    done = shell.memflow(
        *("run", "memflow.examples.stdlib_modules:summarize"),
        *("--source", "some:few", "--output", "modules.jsonl"),
        *("--size-hint", "memflow.examples.stdlib_modules:file_size"),
    )
    assert done.status == 0, done.err
    assert [each["path"] for each in shell.read("modules.jsonl")] == list(islice(paths(), 40))
