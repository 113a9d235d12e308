"""Runs that are killed, and resumed until they are done: every record appears once, in order."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")

ROUNDS = int(os.environ.get("KILL_ROUNDS", "40"))
"""Kills of each workload: five of them make 200."""
JOBS = """
import asyncio, os, random, signal, time
rng = random.Random(os.getpid())
async def quick(record):
    await asyncio.sleep(rng.random() * 0.004)
    if record["id"] % 97 == 0:
        raise ValueError(f"bad {record['id']}")
    return {"id": record["id"], "square": record["id"] ** 2}
async def batch(records):
    await asyncio.sleep(0.003)
    return [{"id": each["id"], "none": None} for each in records]
def sync(record):
    time.sleep(rng.random() * 0.002)
    return {"id": record["id"], "text": "x" * (record["id"] % 50)}
async def poison(record):
    await asyncio.sleep(0.002)
    if record["id"] == 137:
        os.kill(os.getpid(), signal.SIGKILL)
    return record
async def poison_batch(records):
    await asyncio.sleep(0.002)
    if any(each["id"] == 137 for each in records):
        os.kill(os.getpid(), signal.SIGKILL)
    return records
async def slow(record):
    await asyncio.sleep(0.3)
    return record
async def endless(record):
    await asyncio.sleep(600)
class Model:
    def __init__(self, values):
        self.values = values
    def tolist(self):
        return self.values
async def odd(record):
    await asyncio.sleep(0 if record["id"] % 2 else 0.01)
    if record["id"] % 10 == 3:
        return {"ids": object()}
    return {"id": record["id"], "of": Model([record["id"], None]), "at": (1, 2)}
"""
WORKLOADS = {
    "items": (["jobs2:quick"], "jsonl", 3_000),
    "batches": (["jobs2:batch", "--batched"], "jsonl", 6_000),
    "threads": (["jobs2:sync"], "csv", 1_500),
    "compressed": (["jobs2:quick"], "jsonl.gz", 3_000),
    "bad records": (["jobs2:quick", "--on-bad-record", "skip"], "jsonl", 3_000),
}


def write_jobs(shell: Shell, items: int, *, bad: bool = False) -> None:
    (shell.folder / "jobs2.py").write_text(JOBS)
    lines = [json.dumps({"id": each}) for each in range(items)]
    if bad:
        for at in range(5, items, 101):
            lines[at] += " and more"
    (shell.folder / "in.jsonl").write_text("\n".join(lines) + "\n")


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_whatever_moment_it_is_killed_at_the_output_is_that_of_a_run_that_was_not(shell: Shell, workload: str) -> None:
    target, extension, items = WORKLOADS[workload]
    write_jobs(shell, items, bad=workload == "bad records")
    # Random kills may well hit one item several times while it runs alone.
    words = ["run", *target, "--input", "in.jsonl", "--quiet", "--batch-processor.max-deaths", "1000"]
    shell.memflow(*words, "--output", f"whole.{extension}", "--failures", "whole_failures.jsonl")
    rng = random.Random(workload)
    kept = [shell.folder / name for name in (f"out.{extension}", "failures.jsonl", "run.journal")]
    kills = ends = 0
    while kills < ROUNDS or not ends:
        process = shell.start(
            *words, "--output", kept[0].name, "--failures", kept[1].name, "--journal", kept[2].name, "--resume"
        )
        try:
            _, err = process.communicate(timeout=rng.uniform(0.25, 0.8) if kills < ROUNDS else 60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        else:
            assert process.returncode in (0, 1), err
            assert content(kept[0]) == content(shell.folder / f"whole.{extension}")
            assert content(kept[1]) == content(shell.folder / "whole_failures.jsonl")
            ends += 1
            for path in shell.folder.glob("run.journal*"):
                path.unlink()
            kept[0].unlink()
            kept[1].unlink()
        if kept[2].exists():
            with sqlite3.connect(kept[2]) as journal:
                assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            journal.close()


@pytest.mark.parametrize("target", [["jobs2:poison"], ["jobs2:poison_batch", "--batched"]])
def test_an_item_that_always_kills_is_found_by_starting_again_and_everything_else_is_done(
    shell: Shell, target: list[str]
) -> None:
    write_jobs(shell, 400)
    done = shell.memflow(
        *["run", *target, "--input", "in.jsonl", "--output", "out.jsonl", "--failures", "failures.jsonl"],
        *["--journal", "run.journal", "--restart-on-kill"],
    )
    assert done.status == 1, done.err
    assert done.err.count("killed by SIGKILL; starting again") == 3
    assert [each["id"] for each in shell.read()] == [each for each in range(400) if each != 137]
    (failure,) = shell.read("failures.jsonl")
    assert failure["index"] == 137
    assert failure["error_type"] == "Poison"
    assert failure["input"] == {"id": 137}
    assert "3 deaths" in failure["message"]
    told = shell.memflow("autopsy", "run.journal", "--json")
    suspects = json.loads(told.out)["suspects"]
    assert [each["batch"]["first"] for each in suspects] == [137]


def test_a_run_that_is_complete_is_left_as_it_is(shell: Shell) -> None:
    write_jobs(shell, 50)
    words = ["run", "jobs2:batch", "--batched", "--input", "in.jsonl", "--output", "out.jsonl"]
    assert shell.memflow(*words, "--journal", "run.journal").status == 0
    before = (shell.folder / "out.jsonl").read_bytes()
    again = shell.memflow(*words, "--journal", "run.journal", "--resume")
    assert again.status == 0
    assert "50 items" in again.err
    assert (shell.folder / "out.jsonl").read_bytes() == before
    refused = shell.memflow(*words, "--journal", "run.journal")
    assert refused.status == 1
    assert "it holds a run already" in refused.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "in.jsonl").write_bytes((folder / "in.jsonl").read_bytes() * 2), "size of the input"),
        (lambda folder: (folder / "out.jsonl").write_bytes(b""), "0 bytes, and the journal says that"),
        (lambda folder: (folder / "out.jsonl").unlink(), "out.jsonl is gone"),
        (lambda folder: (folder / "run.journal").write_bytes(b"no journal" * 1000), "run.journal"),
    ],
)
def test_a_run_whose_files_were_changed_is_refused_and_nothing_is_lost(
    shell: Shell, change: Callable[[Path], object], says: str
) -> None:
    write_jobs(shell, 50)
    words = ["run", "jobs2:batch", "--batched", "--input", "in.jsonl", "--output", "out.jsonl"]
    shell.memflow(*words, "--journal", "run.journal")
    change(shell.folder)
    kept = {path.name: path.read_bytes() for path in shell.folder.glob("out.*")}
    refused = shell.memflow(*words, "--journal", "run.journal", "--resume")
    assert refused.status in (1, 2)
    assert says in refused.err
    assert "Traceback" not in refused.err
    assert {path.name: path.read_bytes() for path in shell.folder.glob("out.*")} == kept


def test_two_runs_on_one_journal_are_told_apart(shell: Shell) -> None:
    write_jobs(shell, 50)
    words = ["run", "jobs2:endless", "--input", "in.jsonl", "--output", "out.jsonl", "--journal", "run.journal"]
    first = shell.start(*words, "--resume")
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s and not (shell.folder / "run.journal-flight").exists():
        time.sleep(0.02)
    second = shell.memflow(*words, "--resume")
    first.kill()
    first.communicate()
    assert second.status == 1
    assert f"process {first.pid}" in second.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--resume"], "--resume needs --journal"),
        (["--restart-on-kill"], "--restart-on-kill needs --journal"),
        (["--journal", "run.journal"], "--journal needs --output FILE"),
    ],
)
def test_what_a_journal_needs_is_said(shell: Shell, words: list[str], says: str) -> None:
    write_jobs(shell, 5)
    refused = shell.memflow("run", "jobs2:batch", "--batched", "--input", "in.jsonl", *words)
    assert refused.status == 2
    assert says in refused.err
    assert not (shell.folder / "run.journal").exists()


def test_standard_input_cannot_be_resumed(shell: Shell) -> None:
    write_jobs(shell, 5)
    refused = shell.memflow("run", "jobs2:slow", "--input", "-", "--output", "o.jsonl", "--journal", "run.journal")
    assert refused.status == 2
    assert "can be read again" in refused.err


@pytest.mark.parametrize("extension", ["jsonl", "csv"])
def test_results_of_every_kind_are_written_the_same_after_a_kill(shell: Shell, extension: str) -> None:
    """Also what the output's format has no form for, which is a failure then as well."""
    write_jobs(shell, 300)
    words = ["run", "jobs2:odd", "--input", "in.jsonl", "--quiet", "--batch-processor.concurrency", "4"]
    words += ["--batch-processor.max-deaths", "1000"]
    shell.memflow(*words, "--output", f"whole.{extension}", "--failures", "whole_failures.jsonl")
    words += ["--output", f"out.{extension}", "--failures", "failures.jsonl", "--journal", "run.journal", "--resume"]
    for seconds in (0.5, 0.7, 0.9, 60):
        process = shell.start(*words)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 1
    for whole, out in ((f"whole.{extension}", f"out.{extension}"), ("whole_failures.jsonl", "failures.jsonl")):
        assert (shell.folder / out).read_bytes() == (shell.folder / whole).read_bytes()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_in_flight_may_end_when_asked_to_stop_and_the_rest_is_done_when_resumed(
    shell: Shell, number: signal.Signals, status: int
) -> None:
    write_jobs(shell, 60)
    words = ["run", "jobs2:slow", "--input", "in.jsonl", "--output", "out.jsonl", "--batch-processor.concurrency", "4"]
    words += ["--no-batch-processor.auto-optimize", "--journal", "run.journal", "--resume"]
    process = shell.start(*words)
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s and not ((out := shell.folder / "out.jsonl").exists() and out.read_bytes()):
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert "the same command with --resume goes on" in err
    written = shell.read()
    assert 4 <= len(written) < 60
    assert written == [{"id": each} for each in range(len(written))]
    told = json.loads(shell.memflow("autopsy", "run.journal", "--json").out)
    assert told["cause"] == "ended in order"
    assert told["suspects"] == []
    resumed = shell.memflow(*words)
    assert resumed.status == 0, resumed.err
    assert shell.read() == [{"id": each} for each in range(60)]


def test_the_second_signal_ends_at_once_and_no_item_is_blamed(shell: Shell) -> None:
    write_jobs(shell, 10)
    words = ["run", "jobs2:endless", "--input", "in.jsonl", "--output", "out.jsonl", "--journal", "run.journal"]
    process = shell.start(*words)
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s and not (shell.folder / "run.journal-flight").exists():
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert "in flight has 5 s to end" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    told = json.loads(shell.memflow("autopsy", "run.journal", "--json").out)
    assert told["cause"] == "ended in order"


def test_of_a_batch_that_fails_only_the_items_that_do_are_failures(shell: Shell) -> None:
    (shell.folder / "jobs3.py").write_text(
        "async def batch(records):\n"
        "    if any(each['id'] in (3, 17) for each in records):\n"
        "        raise ValueError('one of them')\n"
        "    return records\n"
    )
    shell.write_ids(40)
    words = ["run", "jobs3:batch", "--input", "in.jsonl", "--output", "out.jsonl", "--failures", "failures.jsonl"]
    done = shell.memflow(*words, "--batched", "--isolate-failures")
    assert done.status == 1
    assert [each["index"] for each in shell.read("failures.jsonl")] == [3, 17]
    assert [each["id"] for each in shell.read()] == [each for each in range(40) if each not in (3, 17)]
    refused = shell.memflow(*words, "--overwrite", "--isolate-failures")
    assert refused.status == 2
    assert "give --batched" in refused.err
