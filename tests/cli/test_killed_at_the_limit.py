"""A run that the kernel kills for want of memory, in a real group: told apart, the item named, the others finished."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from tests.cgroups import MemoryGroup, memory_group
from tests.cli.conftest import Done, Shell

__all__ = ["memory_group"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory groups are Linux's")

MIB = 1 << 20
ITEMS, POISON = 600, 211
# Shared pages, since no limit on private ones holds them back: the kernel has to kill.
JOBS = f"""
import asyncio, mmap
async def crowd(record):
    kept = bytearray(1 << 20)
    await asyncio.sleep(0.05)
    while record["id"] == {POISON}:
        more = mmap.mmap(-1, 2 << 20)
        more[:] = bytes(2 << 20)
        kept = kept, more
        await asyncio.sleep(0.002)
    return record["id"]
"""
WORDS = ["run", "crowd:crowd", "--input", "in.jsonl", "--output", "out.jsonl", "--journal", "run.journal"]


def run_in(group: MemoryGroup, shell: Shell, *words: str) -> Done:
    snippet = "import os, sys; os.chdir(sys.argv[1]); os.execv(sys.executable, [sys.executable, '-m', *sys.argv[2:]])"
    ended = group.run_unchecked(snippet, str(shell.folder), "memflow", *WORDS, *words, timeout_s=120)
    return Done(ended.returncode, ended.stdout, ended.stderr)


def prepare(shell: Shell) -> None:
    (shell.folder / "crowd.py").write_text(JOBS)
    shell.write_ids(ITEMS)


def test_the_first_kill_is_told_with_the_item_among_many_in_flight(
    shell: Shell, memory_group: Callable[..., MemoryGroup]
) -> None:
    prepare(shell)
    group = memory_group(256 * MIB)
    words = ["--batch-processor.concurrency", "20", "--no-batch-processor.auto-optimize"]
    killed = run_in(group, shell, *words)
    assert killed.status == -9, killed.err
    told = json.loads(shell.memflow("autopsy", "run.journal", "--json").out)
    assert told["cause"] == "killed at the limit"
    assert told["sureness"] == "certain"
    in_flight = [each["batch"]["first"] for each in told["suspects"]]
    assert in_flight[0] == POISON
    assert told["one_stands_out"]


def test_started_again_it_finishes_all_others_and_gives_that_one_up(
    shell: Shell, memory_group: Callable[..., MemoryGroup]
) -> None:
    prepare(shell)
    group = memory_group(256 * MIB)
    done = run_in(group, shell, "--failures", "failures.jsonl", "--restart-on-kill")
    assert done.status == 1, done.err
    assert done.err.count("killed by SIGKILL") == 3
    assert shell.read() == [each for each in range(ITEMS) if each != POISON]
    (failure,) = shell.read("failures.jsonl")
    assert (failure["index"], failure["error_type"]) == (POISON, "Poison")
