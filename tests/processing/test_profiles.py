"""A second run begins where the first one ended; nothing about a profile ever fails a call."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from memflow.memory.readings import MemoryReading
from memflow.processing.outcome import SizeChange
from memflow.sizing.profile_file import read_profile
from memflow.testing import ScriptedProbe, make_processor
from tests.processing.calls import check_quiet
from tests.processing.parts import GIB, MIB


class Memory:
    """Memory that holds what runs."""

    def __init__(self) -> None:
        self.held = self._peak = 0
        self.most = 0
        self.probe = ScriptedProbe(self._read, limit=GIB, source="the script")

    def _read(self, now_s: float) -> MemoryReading:
        in_use = 100 * MIB + self.held
        peak, self._peak = max(self._peak, in_use), in_use
        return MemoryReading(now_s, in_use, peak, in_use, 0)

    def work(self, each: int, sizes: list[int]) -> Any:
        async def embed(batch: list[int]) -> list[int]:
            sizes.append(len(batch))
            self.held += each * len(batch)
            self.most = max(self.most, 100 * MIB + self.held)
            self._peak = max(self._peak, 100 * MIB + self.held)
            try:
                await anyio.sleep(0.004 + 0.00001 * len(batch))
            finally:
                self.held -= each * len(batch)
            return batch

        return embed


async def a_run(path: Path, *, items: int = 6000, each: int = MIB // 4, **more: Any) -> tuple[list[SizeChange], Memory]:
    """Returns the settings that it went through, and the memory it took."""
    memory = Memory()
    async with make_processor(memory.probe, cost_profile=path, **more) as processor:
        assert await processor.process_batches(range(items), memory.work(each, [])) == list(range(items))
        check_quiet(processor)
        changes = list(processor.statistics().size_changes)
    return changes, memory


def test_the_second_run_starts_at_the_right_size(run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "profile.json"
        first, _ = await a_run(path, items=12_000)
        found = read_profile(path)[0].operations
        assert [each.operation for each in found] == ["memflow.embed"]
        (learnt,) = found
        assert learnt.bytes_per_weight == pytest.approx(MIB // 4, rel=0.3)
        assert learnt.batch_size is not None
        assert learnt.concurrency is not None
        reached = learnt.batch_size * learnt.concurrency
        assert reached >= 500  # of the 80 of a cold start
        second, memory = await a_run(path, items=12_000)
        cold, warm = ([(each.batch_size, each.concurrency) for each in changes] for changes in (first, second))
        steps = next(n for n, (size, calls) in enumerate(cold) if size * calls >= 0.9 * reached)
        assert cold[0] == (10, 8)
        assert steps > 1
        # A round of ten at most, and then in one step what was learnt; the first run took more of them.
        assert (learnt.batch_size, learnt.concurrency) in warm[:2]
        assert memory.most <= GIB

    run(main)


@pytest.mark.parametrize("claimed", [1000.0, 1e9])
def test_a_profile_that_is_wrong_costs_no_memory_and_no_items(run, tmp_path: Path, claimed: float) -> None:
    async def main() -> None:
        path = tmp_path / "profile.json"
        await a_run(path)
        data = json.loads(path.read_text())
        data["operations"]["memflow.embed"] |= {"bytes_per_weight": claimed, "batch_size": 5000, "concurrency": 8}
        path.write_text(json.dumps(data))
        _, memory = await a_run(path, each=4 * MIB, items=2000)
        assert memory.most <= GIB

    run(main)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "memflow cost profile", "version": 99}'])
def test_a_corrupt_profile_is_told_and_replaced(
    run, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        path = tmp_path / "profile.json"
        path.write_text(text)
        with caplog.at_level(logging.WARNING, "memflow.processing"):
            await a_run(path, items=300)
        assert "is ignored" in caplog.text
        assert read_profile(path)[0].operations

    run(main)


def test_where_it_cannot_be_written_the_work_is_done_all_the_same(
    run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with caplog.at_level(logging.WARNING, "memflow.processing"):
            await a_run(tmp_path / "no" / "such" / "folder.json", items=300)
            await a_run(tmp_path, items=300)
        assert "is not saved" in caplog.text

    run(main)
    assert os.listdir(tmp_path) == []


def test_a_call_that_is_cancelled_keeps_what_it_has_learnt(run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "profile.json"
        memory, sizes = Memory(), []
        async with make_processor(memory.probe, cost_profile=path) as processor:
            with anyio.move_on_after(0.3):
                await processor.process_batches(iter(int, 1), memory.work(MIB // 4, sizes))
            check_quiet(processor)
        assert read_profile(path)[0].operations

    run(main)
