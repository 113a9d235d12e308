"""`memflow autopsy`: `memflow.cli.autopsy`, up to a real kill in a real memory group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memflow.journal.flight import FlightRecorder
from tests.cgroups import MemoryGroup, memory_group
from tests.cli.conftest import Shell

__all__ = ["memory_group"]

MIB = 1 << 20


def write(path: Path) -> FlightRecorder:
    recorder = FlightRecorder(path, operation="embed", keyed=True)
    recorder.reading(50 * MIB, 50 * MIB, 128 * MIB)
    recorder.start(3, 3, 1000.0, "größe.pdf")
    return recorder


def test_a_live_run_is_told_of(shell: Shell) -> None:
    with write(shell.folder / "run-flight") as recorder:
        done = shell.memflow("autopsy", "run-flight")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("cause      still running (certain)")
        assert f"process {os.getpid()} on" in done.out
        assert "item 3 (größe.pdf)" in done.out
        recorder.close()
    assert shell.memflow("autopsy", "run-flight").out.startswith("cause      ended in order (certain)")


def test_json_says_the_same_for_programs(shell: Shell) -> None:
    write(shell.folder / "run-flight").close()
    done = shell.memflow("autopsy", "run-flight", "--json")
    data = json.loads(done.out)
    assert (done.status, data["cause"], data["sureness"]) == (0, "ended in order", "certain")
    assert data["in_use_bytes"] == 50 * MIB
    assert data["suspects"][0]["batch"]["key"] == "größe.pdf"
    assert data["memory"][0][1] == 50 * MIB


def test_the_record_is_found_beside_its_journal(shell: Shell) -> None:
    write(shell.folder / "run.journal-flight").close()
    assert shell.memflow("autopsy", "run.journal").out.startswith("cause      ended in order")
    (shell.folder / "run.journal").write_bytes(b"SQLite format 3\0")
    assert shell.memflow("autopsy", "run.journal").out.startswith("cause      ended in order")


def test_terminals_without_blocks_get_ascii(shell: Shell) -> None:
    write(shell.folder / "run-flight").close()
    done = shell.memflow("autopsy", "run-flight", environment={"PYTHONIOENCODING": "ascii"})
    assert done.status == 0
    assert done.out.isascii()
    assert "---" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "the following arguments are required: FILE; see memflow autopsy --help"),
        (["none"], "none doesn't exist, nor does none-flight; name a flight record"),
        (["jobs.py"], "jobs.py is no flight record; a run with a journal writes one beside it"),
        (["."], ". cannot be read: Is a directory"),
        (["jobs.py", "--jsn"], "unknown option --jsn; did you mean --json?"),
        (["jobs.py", "more"], "unexpected argument 'more'"),
    ],
)
def test_what_cannot_work_is_refused(shell: Shell, words: list[str], told: str) -> None:
    done = shell.memflow("autopsy", *words)
    assert (done.status, done.out) == (2, "")
    assert told in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's counters are Linux's")
def test_a_kill_by_somebody_is_told_from_the_kernel_s(shell: Shell) -> None:
    snippet = """
import time, sys
from pathlib import Path
from memflow.journal.flight import FlightRecorder
recorder = FlightRecorder(Path("run-flight"), operation="embed")
recorder.start(0, 0)
print("ready", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", snippet]
    environment = shell.environment()
    with subprocess.Popen(command, cwd=shell.folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    data = json.loads(shell.memflow("autopsy", "run-flight", "--json").out)
    # Tests beside this one may be killed for want of memory meanwhile, in groups of their own.
    assert data["cause"] in ("killed, not by the limit", "unknown")
    assert data["suspects"][0]["batch"]["first"] == 0


GREEDY = """
import sys, threading, time
from pathlib import Path
from memflow.journal.flight import FlightRecorder
from memflow.journal.flight_format import FlightKind
from memflow.memory.probe import default_probe
from memflow.settings import MemoryManagerSettings

probe = default_probe(MemoryManagerSettings())
recorder = FlightRecorder(Path(sys.argv[1]), operation="embed", limit=probe.limit(time.monotonic()))
position = 0
lock = threading.Lock()

def next_position():
    global position
    with lock:
        position += 1
        return position

def work():
    # The next has started before the last has ended: all threads are in flight whenever the kill comes.
    mine, begun = next_position(), time.monotonic()
    slot = recorder.start(mine, mine)
    while True:
        held = b"x" * 1_000_000
        time.sleep(0.05)
        del held
        last, last_slot, last_begun = mine, slot, begun
        mine, begun = next_position(), time.monotonic()
        slot = recorder.start(mine, mine)
        recorder.end(last_slot)
        recorder.note(FlightKind.BATCH_ENDED, 1, time.monotonic() - last_begun, 0, last)

def devour():
    mine = next_position()
    Path(sys.argv[2]).write_text(str(mine))
    recorder.start(mine, mine)
    held = []
    while True:
        held.append(b"x" * int(sys.argv[3]))
        time.sleep(0.01)

for _ in range(30):
    threading.Thread(target=work, daemon=True).start()
begun = time.monotonic()
eater = None
while True:
    reading = probe.read(time.monotonic())
    recorder.reading(reading.in_use_bytes, reading.rss_bytes, reading.limit_bytes)
    if eater is None and time.monotonic() - begun > 0.7:
        eater = threading.Thread(target=devour, daemon=True)
        eater.start()
    time.sleep(0.005)
"""


@pytest.mark.cgroup
@pytest.mark.parametrize("bite_bytes", [1_000_000, 500_000_000], ids=["bit by bit", "at once"])
def test_a_kill_at_the_limit_names_the_item_that_ate_it(
    shell: Shell, memory_group: Callable[..., MemoryGroup], bite_bytes: int
) -> None:
    group = memory_group(128 * MIB)
    path, culprit = shell.folder / "run-flight", shell.folder / "culprit"
    done = group.run_unchecked(GREEDY, str(path), str(culprit), str(bite_bytes))
    assert done.returncode == -signal.SIGKILL, done.stderr
    data = json.loads(shell.memflow("autopsy", "run-flight", "--json").out)
    assert data["cause"] == "killed at the limit"
    assert data["sureness"] == "certain" or (data["sureness"] == "likely" and bite_bytes > 128 * MIB)
    assert data["limit_bytes"] == 128 * MIB
    ranked = [each["batch"]["first"] for each in data["suspects"]]
    # At once, between two readings: those that started in the same few milliseconds cannot be told apart.
    assert ranked.index(int(culprit.read_text())) < (1 if bite_bytes < 128 * MIB else 8)
    assert len(data["suspects"]) > 25
    text = shell.memflow("autopsy", "run-flight").out
    assert text.startswith("cause      killed at the limit (")
    assert data["one_stands_out"] == (f"advice     run item {culprit.read_text()} alone" in text)
    assert data["one_stands_out"] or bite_bytes > 128 * MIB
