"""Ctrl-C, SIGTERM and readers that leave, with real signals to processes of our own: `memflow.cli.interrupt`."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import anyio
import pytest

from memflow.cli.interrupt import Interrupts
from tests.cli.conftest import Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send these signals to one process")

# One write for the whole line: several threads print at once, and `print` writes its end by itself.
STUCK = """
import os
import time
def stuck(record):
    os.write(1, b"stuck\\n")
    time.sleep(600)
"""


def wait_for_lines(path: Path, count: int) -> None:
    """Wait until a file holds at least so many lines."""
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not get {count} lines")


@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_what_was_finished_is_on_disk_and_said_and_one_can_go_on_behind_it(
    shell: Shell, number: signal.Signals, status: int, name: str
) -> None:
    shell.write_ids(2000)
    words = ["run", "jobs:slow", "--input", "in.jsonl", "--batch-processor.concurrency", "4"]
    process = shell.start(*words, "--output", "out.jsonl")
    wait_for_lines(shell.folder / "out.jsonl", 10)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    first = shell.read()
    told = re.search(rf"interrupted by {name}: ([\d,]+) records went to out.jsonl; --skip (\d+)", err)
    assert told is not None, err
    assert int(told[1].replace(",", "")) == int(told[2]) == len(first)
    assert first == [{"id": each} for each in range(len(first))]
    assert 10 <= len(first) < 2000
    assert "interrupted: " in err
    assert "Traceback" not in err
    (shell.folder / "rest.jsonl").write_text("".join(f'{{"id": {each}}}\n' for each in range(len(first) + 5)))
    done = shell.memflow("run", "jobs:echo", "--input", "rest.jsonl", "--output", "more.jsonl", "--skip", told[2])
    assert done.status == 0
    assert [each["id"] for each in shell.read("more.jsonl")] == list(range(len(first), len(first) + 5))


def test_a_compressed_output_is_whole_after_ctrl_c(shell: Shell) -> None:
    shell.write_ids(2000)
    process = shell.start("run", "jobs:slow", "--input", "in.jsonl", "--output", "out.jsonl.gz")
    path = shell.folder / "out.jsonl.gz"
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s and not (path.exists() and path.stat().st_size > 100):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert [json.loads(line) for line in lines] == [{"id": each} for each in range(len(lines))]
    assert lines


def test_a_compressed_output_can_be_read_up_to_the_last_write_after_a_kill(shell: Shell) -> None:
    shell.write_ids(2000)
    process = shell.start("run", "jobs:slow", "--input", "in.jsonl", "--output", "out.jsonl.gz")
    path = shell.folder / "out.jsonl.gz"
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s and not (path.exists() and path.stat().st_size > 100):
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=120)
    lines = zlib.decompressobj(wbits=31).decompress(path.read_bytes()).splitlines()
    assert [json.loads(line) for line in lines] == [{"id": each} for each in range(len(lines))]
    assert lines


def test_the_second_ctrl_c_ends_at_once_though_a_function_is_stuck(shell: Shell) -> None:
    (shell.folder / "stuck.py").write_text(STUCK)
    shell.write_ids(5)
    process = shell.start("run", "stuck:stuck", "--input", "in.jsonl", "--output", "out.jsonl")
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "press Ctrl-C again to end at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_silent_pipe_does_not_hold_the_end_back(shell: Shell) -> None:
    process = shell.start("run", "jobs:echo", "--input", "-", "--output", "out.jsonl", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write('{"id": 0}\n')
    process.stdin.flush()
    wait_for_lines(shell.folder / "out.jsonl", 1)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    assert process.returncode == 130
    assert process.stderr is not None
    assert "1 record went to out.jsonl" in process.stderr.read()
    process.communicate()


def test_a_reader_that_leaves_is_told(shell: Shell) -> None:
    shell.write_ids(100_000)
    reader, writer = os.pipe()
    process = shell.start("run", "jobs:echo", "--input", "in.jsonl", stdout=writer)
    os.close(writer)
    assert os.read(reader, 5)
    os.close(reader)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "memflow: <stdout>: its reader has closed it" in err
    assert "went to standard output; --skip" in err
    assert "Traceback" not in err


def test_the_first_signal_wakes_who_waits_and_gives_the_status() -> None:
    async def main() -> None:
        with Interrupts() as interrupts:
            assert interrupts.exit_status == 0
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(interrupts.wait_received)
                await anyio.sleep(0)
                signal.raise_signal(signal.SIGTERM)
            assert interrupts.received is signal.SIGTERM
            assert interrupts.exit_status == 143
            await interrupts.wait_received()

    before = signal.getsignal(signal.SIGTERM)
    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)
    assert signal.getsignal(signal.SIGTERM) is before
