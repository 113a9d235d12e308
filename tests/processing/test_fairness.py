"""Several calls wait for one memory: each gets its turn. In virtual time."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.processing.batch import Batch
from memflow.processing.gate import Gate
from tests.backends import BACKENDS
from tests.backends import run_virtual as run_virtual_on
from tests.processing.parts import MIB
from tests.processing.site import Site


@given(
    calls=st.lists(
        st.tuples(st.integers(10, 900), st.floats(0.01, 2.0), st.integers(1, 30), st.sampled_from([1, 2, 4])),
        min_size=2,
        max_size=5,
    ),
    backend=st.sampled_from(BACKENDS),
)
@settings(max_examples=25, deadline=None)
def test_no_call_starves_beside_others(calls: list[tuple[int, float, int, int]], backend: str) -> None:
    """Calls of all sizes share a ledger: each ends, and nobody waits longer than its turn takes to come.

    Whoever waits longest goes first, so it waits for those in flight when that began, and for those before it in line.
    """

    async def main() -> None:
        site = Site()
        gates = [site.gate(f"call {n}", size_mib=size) for n, (size, *_) in enumerate(calls)]
        waited: list[float] = []

        async def worker(gate: Gate, size: int, lasts_s: float, count: int) -> None:
            for _ in range(count):
                batch, asked_s = Batch(0, [None], None, full=True), anyio.current_time()
                if not gate.try_enter(batch):
                    assert await gate.wait_enter(batch)
                waited.append(anyio.current_time() - asked_s)
                site.ours += size * MIB
                await anyio.sleep(lasts_s)
                site.ours -= size * MIB
                gate.leave(batch, anyio.current_time())

        async with anyio.create_task_group() as group:
            for gate, (size, lasts_s, count, workers) in zip(gates, calls, strict=True):
                for _ in range(workers):
                    group.start_soon(worker, gate, size, lasts_s, count)
        assert len(waited) == sum(count * workers for _, _, count, workers in calls)
        assert site.bundle.admission.holders == 0
        # Patience, then each one in line before it: one poll and the longest batch in flight.
        most_s = 0.25 + (1 + sum(workers for *_, workers in calls)) * (
            0.05 + max(lasts_s for _, lasts_s, _, _ in calls)
        )
        assert max(waited) <= most_s + 0.001

    run_virtual_on(backend, main)


@pytest.mark.parametrize("interval_s", [0.05, 5.0])
def test_a_large_batch_gets_its_turn_however_seldom_memory_is_read(run_virtual, interval_s: float) -> None:
    """Small ones of another call keep coming; the large one needs all of them gone at once."""

    async def main() -> None:
        site = Site(sample_interval_s=interval_s)
        small, large = (site.gate(name, size_mib=size) for name, size in (("small", 100), ("large", 800)))
        over = anyio.Event()

        async def keep_coming() -> None:
            while not over.is_set():
                batch = Batch(0, [None], None, full=True)
                if small.try_enter(batch) or await small.wait_enter(batch):
                    await anyio.sleep(1)
                    small.leave(batch, anyio.current_time())

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(keep_coming)
                await anyio.sleep(0.1)
            batch = Batch(0, [None], None, full=True)
            assert await large.wait_enter(batch)
            assert site.now_s < 4
            large.leave(batch, anyio.current_time())
            over.set()

    run_virtual(main)


def test_a_batch_that_is_to_be_alone_gets_there_and_keeps_others_out(run_virtual) -> None:
    async def main() -> None:
        site, beside = Site(), []
        gate = site.gate("a", size_mib=10)
        over = anyio.Event()

        async def keep_coming() -> None:
            while not over.is_set():
                batch = Batch(0, [None], None, full=True)
                if gate.try_enter(batch) or await gate.wait_enter(batch):
                    await anyio.sleep(0.7)
                    gate.leave(batch, anyio.current_time())

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(keep_coming)
                await anyio.sleep(0.1)
            batch = Batch(0, [None], None, full=True)
            batch.alone = True
            assert not gate.try_enter(batch)
            assert await gate.wait_enter(batch)
            assert batch.alone
            for _ in range(20):
                beside.append(site.bundle.admission.holders)
                await anyio.sleep(0.1)
            gate.leave(batch, anyio.current_time())
            over.set()
        assert set(beside) == {1}
        assert site.bundle.admission.holders == 0

    run_virtual(main)
