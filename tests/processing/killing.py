"""Runs that are killed and resumed, in forks of one process; `python -m tests.processing.killing WHAT FOLDER SEED`.

Covers the loop around them. What must be left of a run is asserted in `test_killed.py` and `test_poison.py`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from memflow.journal.sqlite import SqliteJournal  # here, so that forks need not
from memflow.processing.journal_opening import open_run
from memflow.testing import make_processor

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 1500
ROUNDS = 12
POISON = 37
_ = SqliteJournal, open_run  # loaded once, for all forks

WAYS: dict[str, dict[str, Any]] = {
    "process": {},
    "process keyed": {"key": lambda item: f"item {item}"},
    "process_batches": {},
    "process_batches keyed": {"key": lambda item: f"item {item}"},
    "stream": {"keep_results": True},
    "stream keyed": {"keep_results": True, "key": str},
    "stream unordered": {"keep_results": True, "ordered": False},
    "stream not kept": {},
}


async def _work(item: int) -> dict[str, int]:
    await anyio.sleep(0.002)
    return {"item": item, "result": 3 * item}


async def _killing(item: int) -> dict[str, int]:
    await anyio.sleep(0.002)
    if item == POISON:
        await anyio.sleep(0.02)  # others are in flight with it, and some of them are recorded
        os.kill(os.getpid(), signal.SIGKILL)
    return {"item": item, "result": 3 * item}


async def _run(way: str, folder: Path, one: Any) -> list[Any]:
    method, asked = way.split()[0], WAYS[way]

    async def batch(items: list[int]) -> list[Any]:
        return [await one(item) for item in items]

    asked = {**asked, "journal": folder / "journal", "operation": "work"}
    # Kills at random are quick enough to hit one item three times; that does not make it poison.
    most = 3 if one is _killing else 100
    async with make_processor(concurrency=8, batch_size=5, auto_optimize=False, max_deaths=most) as processor:
        if method != "stream":
            return list(await getattr(processor, method)(range(ITEMS), batch if "batches" in method else one, **asked))
        found = []
        with (folder / "taken").open("a") as taken:
            async with processor.stream(range(ITEMS), one, **asked) as results:
                async for result in results:
                    print(json.dumps(result, default=str), file=taken, flush=True)
                    found.append(result)
        return found


def _fork(way: str, folder: Path, one: Any) -> int:
    child = os.fork()
    if child:
        return child
    try:
        found = anyio.run(_run, way, folder, one)
        (folder / "results").write_text(json.dumps(found, default=lambda each: [each.index, each.kind, each.attempts]))
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)


def check_integrity(path: Path) -> None:
    """What a kill has left is sound, and is read by whoever only looks."""
    if path.exists():
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()


def main(what: str, way: str, folder: Path, seed: int) -> int:
    """Kill and resume until done; returns at how many deaths."""
    order, deaths = random.Random(seed), 0
    while True:
        child = _fork(way, folder, _killing if what == "poison" else _work)
        if what == "kill" and deaths < ROUNDS:
            time.sleep(order.choice((0.01, 0.04, 0.2)) * order.random())
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        check_integrity(folder / "journal")
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return deaths
        deaths += 1
        assert deaths < 50


def killed(what: str, way: str, folder: Path, seed: int = 0) -> tuple[int, list[Any]]:
    """Do it in a process of its own; returns at how many deaths, and the results of the last run."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, what, way, str(folder), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return int(done.stdout.splitlines()[-1]), json.loads((folder / "results").read_text())


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
