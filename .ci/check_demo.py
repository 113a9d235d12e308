"""Judges what the demonstration job left behind, by its own count of the standard library.

    python .ci/check_demo.py modules.jsonl failures.jsonl EXIT_STATUS

One valid record for each source file that parses, in a stable order, and one named failure for each that does not;
the exit status is 1 if there were any of those, 0 otherwise. Shares no code with the job, and runs in its
environment, so that both see the same standard library.
"""
# ruff: noqa: T201

from __future__ import annotations

import ast
import json
import sys
import sysconfig
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

FIELDS = {"path", "module", "lines", "functions", "classes", "imports", "docstring", "complexity", "nodes"}


def main(records_file: str, failures_file: str, status: str) -> int:
    """Compare, and say what was found."""
    records, failures = read(records_file), read(failures_file)
    good, bad = expected()
    problems = [
        *differences("records", [each["path"] for each in records], good),
        *differences("failures", [each["input"] for each in failures], bad),
        *(f"{each['path']}: {problem}" for each in records for problem in faults(each)),
        *(f"{each}: names no error" for each in failures if not each["error_type"] or not each["message"]),
    ]
    if int(status) != bool(bad):
        problems.append(f"the exit status is {status}, with {len(bad)} files that do not parse")
    for problem in problems[:20]:
        print(problem)
    print(
        f"{len(records):,} valid records and {len(failures)} named failures for {len(good) + len(bad):,} source files"
    )
    return int(bool(problems))


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a file of JSON Lines, each of which must be whole."""
    text = Path(name).read_text(encoding="utf-8")
    assert not text or text.endswith("\n"), f"the last line of {name} is not whole"
    return [json.loads(line) for line in text.splitlines()]


def expected() -> tuple[set[str], set[str]]:
    """The source files of the standard library: those that parse, and those that don't."""
    root = Path(sysconfig.get_path("stdlib"))
    good, bad = set[str](), set[str]()
    for path in root.rglob("*.py"):
        if not {"site-packages", "dist-packages", "__pycache__"} & set(path.relative_to(root).parts):
            (good if parses(path) else bad).add(str(path))
    return good, bad


def parses(path: Path) -> bool:
    """Whether Python takes a file for a program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(path.read_bytes(), filename=str(path))
        except (SyntaxError, ValueError):
            return False
    return True


def differences(what: str, came: list[str], due: set[str]) -> list[str]:
    """What is missing, too many, or there twice."""
    doubles = [path for path, count in Counter(came).items() if count > 1]
    return (
        [f"{path} is missing from the {what}" for path in sorted(due - set(came))]
        + [f"{path} should not be among the {what}" for path in sorted(set(came) - due)]
        + [f"{path} is among the {what} more than once" for path in doubles]
    )


def faults(record: dict[str, Any]) -> list[str]:
    """What is wrong with one record, against the file itself."""
    if set(record) != FIELDS:
        return [f"has the fields {sorted(record)}"]
    tree = ast.parse(Path(record["path"]).read_bytes())
    functions = Counter(
        each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    found = []
    if Counter(record["functions"]) != functions:
        found.append("has other functions than the file")
    if record["docstring"] != (ast.get_docstring(tree) or "").partition("\n")[0]:
        found.append("has another docstring than the file")
    if record["complexity"] < 1 or record["nodes"] != sum(1 for _ in ast.walk(tree)):
        found.append("has other counts than the file")
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
