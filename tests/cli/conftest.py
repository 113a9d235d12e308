"""Running the command line as people do: as a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import memflow

SOURCE_TREE = str(Path(memflow.__file__).parent.parent)

JOBS = """
import sys, time, os, signal

def double(record):
    return {"id": record["id"], "twice": record["id"] * 2}

async def adouble(record):
    return {"id": record["id"], "twice": record["id"] * 2}

def double_all(records):
    return [{"id": each["id"], "twice": each["id"] * 2} for each in records]

def fail_odd(record):
    if record["id"] % 2:
        raise ValueError(f"{record['id']} is odd")
    return record

def echo(item):
    return item

def shout(text):
    return text.upper()

def object_for_third(record):
    return object() if record["id"] == 3 else record

def chatty(record):
    print(f"working on {record['id']}", flush=True)
    print("no line break", end=" ")
    return record

def slow(record):
    time.sleep(0.02)
    return record

def leaves(record):
    if record["id"] == 3:
        sys.exit(7)
    return record

async def aleaves(record):
    return leaves(record)

async def interrupts(record):
    if record["id"] == 30:
        raise KeyboardInterrupt
    return record

def size(item):
    return 100

def numbers():
    for each in range(10):
        yield {"id": each}

def numbers_then_raise():
    yield from ({"id": each} for each in range(3))
    raise OSError("the database went away")

async def async_numbers():
    for each in range(4):
        yield {"id": each}

def generates(item):
    yield item

def two(a, b):
    return a

class Model:
    @staticmethod
    def embed(record):
        return len(record)

NOT_CALLABLE = 3
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """A folder with `jobs.py` in it, in which commands are run."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("MEMFLOW_")}
        return {**kept, "PYTHONPATH": SOURCE_TREE, "PYTHONWARNINGS": "error", "COLUMNS": "100", **variables}

    def memflow(self, *words: str, stdin: str | bytes = "", environment: dict[str, str] | None = None) -> Done:
        """Run `python -m memflow` with these words to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "memflow", *words],
            cwd=self.folder,
            env=self.environment(**(environment or {})),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start `python -m memflow` with these words and give the process, which ends with the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "memflow", *words],
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            **options,
        )
        self.started.append(process)
        return process

    def end_all(self) -> None:
        """End what a test that failed left running: its pipes would warn in some other test."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def write_ids(self, count: int, name: str = "in.jsonl") -> None:
        """Write records with ids from 0."""
        (self.folder / name).write_text("".join(f'{{"id": {each}}}\n' for each in range(count)))

    def read(self, name: str = "out.jsonl") -> list[Any]:
        """Read JSON Lines."""
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder to run commands in."""
    (tmp_path / "jobs.py").write_text(textwrap.dedent(JOBS))
    shell = Shell(tmp_path)
    try:
        yield shell
    finally:
        shell.end_all()
