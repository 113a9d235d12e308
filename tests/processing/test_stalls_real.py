"""No silent stall, in real memory groups: a neighbour takes nearly all of one, or its limit falls. In real time.

The steps one by one, in virtual time, are `test_stalls`'s.
"""

from __future__ import annotations

import json

import pytest

from tests.cgroups import memory_group

__all__ = ["memory_group"]

MIB = 2**20

PARTS = '''
import asyncio, json, os, subprocess, sys
from pathlib import Path
from memflow import BatchProcessor, MemflowSettings, MemoryPressureError

MIB = 2**20
LIMIT = Path(os.environ["MEMFLOW_TEST_LIMIT_FILE"])
EACH = 24 * MIB
NEIGHBOUR = """
import sys
for line in sys.stdin:
    held = bytearray(int(line)) if int(line) else None
    if held:
        held[::4096] = bytes(len(range(0, len(held), 4096)))
    print("done", flush=True)
"""
# Begun before any work, since it would inherit a limit of the work's.
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
neighbour = subprocess.Popen([sys.executable, "-c", NEIGHBOUR], **PIPES)

def take(count):
    neighbour.stdin.write(f"{count}\\n")
    neighbour.stdin.flush()
    assert neighbour.stdout.readline() == "done\\n"

async def work(item):
    if item == 10:
        await DISTURB()
        return item
    held = bytearray(EACH)
    held[::4096] = bytes(len(range(0, EACH, 4096)))
    await asyncio.sleep(0.005)
    return item

async def watch(kinds):
    async with processor.issues() as issues:
        async for event in issues:
            if event.issue and event.issue.kind == "admission_stalled":
                kinds.append(type(event).__name__)
                if kinds[-1] == "IssueOpened":
                    seen = processor.statistics()
                    kinds += [seen.stalled, seen.items_done, event.issue.evidence["others_bytes"]]
                    MEND()

async def main():
    global processor
    told, results, error = [], [], None
    settings = MemflowSettings(memory_manager={"limit_refresh_s": 0.05})
    async with BatchProcessor(settings, concurrency=1, auto_optimize=False, admission_timeout_s=TIMEOUT_S) as processor:
        watcher = asyncio.create_task(watch(told))
        await asyncio.sleep(0)
        try:
            results = await processor.process(range(40), work, size_hint=lambda item: EACH)
        except MemoryPressureError as caught:
            error = caught
        statistics = processor.statistics()
    await watcher
    print(json.dumps({
        "results": results, "told": told, "stalled": statistics.stalled, "gave_up": statistics.waits_given_up,
        "alone": statistics.waits_alone, "longest_s": statistics.longest_wait_s, "done": statistics.items_done,
        "error": error and [str(error), error.in_use_bytes, error.limit_bytes, error.limit_source, error.waited_s],
    }))
'''

TAKES = """
async def DISTURB():
    processor.memory.reclaim()
    seen = processor.memory.memory_statistics()
    take(int(SHARE * seen.limit_bytes) - seen.in_use_bytes)
"""
LOWERS = """
FULL = int(LIMIT.read_text())
async def DISTURB():
    processor.memory.reclaim()
    LIMIT.write_text(str(processor.memory.memory_statistics().in_use_bytes + 16 * MIB))
    while processor.memory.state.limit.limit_bytes == FULL:  # until then it could only be hit
        await asyncio.sleep(0.01)
"""
RUN = """
asyncio.run(main())
neighbour.stdin.close()
neighbour.wait()
"""


def run(group, *parts: str) -> dict:
    return json.loads(group.run("\n".join([PARTS, *parts, RUN]), timeout_s=60))


@pytest.mark.parametrize("share", [0.9, 0.97])
def test_a_neighbour_that_takes_most_of_the_group_and_gives_it_back_costs_no_item(memory_group, share: float) -> None:
    """At 90 %, an item would fit under the limit and meet RLIMIT_DATA: it waits as well."""
    shown = run(memory_group(384 * MIB), f"SHARE = {share}", TAKES, "MEND = lambda: take(0)", "TIMEOUT_S = 60")
    assert shown["error"] is None
    assert shown["results"] == list(range(40))
    opened, step, done, others, *_, resolved = shown["told"]
    assert (opened, step, done, resolved) == ("IssueOpened", "alone", 11, "IssueResolved")
    assert others > 150 * MIB
    assert (shown["stalled"], shown["gave_up"], shown["alone"]) == ("", 0, 1)


def test_a_limit_that_is_lowered_and_raised_again_costs_no_item(memory_group) -> None:
    shown = run(memory_group(384 * MIB), LOWERS, "MEND = lambda: LIMIT.write_text(str(FULL))", "TIMEOUT_S = 60")
    assert shown["error"] is None
    assert shown["results"] == list(range(40))
    assert shown["told"][0] == "IssueOpened"
    assert shown["told"][-1] == "IssueResolved"


def test_a_neighbour_that_keeps_it_ends_the_call_with_the_numbers(memory_group) -> None:
    shown = run(memory_group(384 * MIB), "SHARE = 0.97", TAKES, "MEND = lambda: None", "TIMEOUT_S = 2")
    message, in_use, limit, source, waited_s = shown["error"]
    assert "look at what else runs under the same limit" in message
    assert in_use > 0.9 * limit
    assert limit == 384 * MIB
    assert "memory" in source
    assert waited_s >= 2
    assert (shown["done"], shown["gave_up"]) == (11, 1)
    assert shown["told"][0] == "IssueOpened"
    assert shown["told"][-1] == "IssueResolved"
