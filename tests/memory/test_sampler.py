"""Taking readings while work is in flight: `memflow.memory.sampler`."""

from __future__ import annotations

import gc
import logging
import sys
import threading

import anyio
import pytest

from memflow.exceptions import MemflowError
from memflow.memory import state as state_module
from memflow.memory.allocator import allocator_name
from memflow.memory.pressure import PressureLevel
from memflow.memory.probe import LinuxProbe, MemoryProbe
from memflow.memory.readings import AllocatorReading
from memflow.memory.reclaim import ReclaimResult
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import MemoryManagerSettings
from memflow.testing import ScriptedProbe, Step
from tests.memory.scripts import run_python

GIB = 2**30


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make(script: object = "100MiB", *, clock: object = None, **settings: object) -> tuple[Sampler, ScriptedProbe]:
    probe = ScriptedProbe(script, limit=GIB)
    return Sampler(MemoryManagerSettings(**settings), probe=probe, clock=clock or Clock()), probe


def share(part: float) -> Step:
    return int(part * GIB)


# ---- one reading ------------------------------------------------------------------------------------------------


def test_making_one_reads_nothing() -> None:
    sampler, probe = make()
    assert (probe.reads, probe.limits, sampler.state.reading) == (0, 0, None)
    assert sampler.level is PressureLevel.NORMAL


def test_a_sample_goes_to_the_state_and_its_listeners() -> None:
    sampler, _ = make(["100MiB", "300MiB"])
    windows = []
    sampler.state.subscribe(windows.append)
    sampler.state.work.load("embed").start(3)
    first = sampler.sample()
    sampler.state.work.load("embed").stop(3)
    sampler.state.work.load("embed").finish(3)
    second = sampler.sample()
    assert sampler.state.reading is second
    assert [each.start_rss_bytes for each in windows] == [first.rss_bytes, first.rss_bytes]
    assert [dict(each.loads) for each in windows] == [{"embed": 3}, {"embed": 3}]
    assert [each.drained for each in windows] == [False, True]
    assert [dict(each.items_done) for each in windows] == [{"embed": 0}, {"embed": 3}]


def test_the_limit_is_looked_up_first_and_then_now_and_again() -> None:
    clock = Clock()
    sampler, probe = make(clock=clock, limit_refresh_s=1.0)
    for clock.now_s in (0.0, 0.5, 0.9):
        sampler.sample()
    assert probe.limits == 1
    probe.limit_bytes = GIB // 2
    clock.now_s = 1.0
    assert sampler.sample().limit_bytes == GIB // 2
    assert probe.limits == 2
    assert sampler.state.limit is not None
    assert sampler.state.limit.limit_bytes == GIB // 2


def test_a_boundary_reads_only_after_its_interval() -> None:
    clock = Clock()
    sampler, probe = make(clock=clock, boundary_interval_s=0.001)
    for now_s in (0.0, 0.0005, 0.0009, 0.001, 0.0015, 0.0021):
        clock.now_s = now_s
        sampler.at_boundary(now_s)
    assert probe.reads == probe.boundary_reads == 3


def test_an_interval_of_nothing_reads_at_every_boundary() -> None:
    sampler, probe = make(boundary_interval_s=0)
    for _ in range(5):
        sampler.at_boundary(0.0)
    assert probe.boundary_reads == 5


@pytest.mark.skipif(sys.platform != "linux", reason="glances need /proc")
def test_a_glance_does_between_two_readings_unless_it_shows_much_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    sampler = Sampler(MemoryManagerSettings(boundary_interval_s=0.001), clock=clock)
    first = sampler.sample()
    sampler.spacing.has_read(clock.now_s, 10.0, urgent=False)  # so dear that the next in full is due after 10 ms
    seen = []

    def glance(probe: LinuxProbe) -> int:
        seen.append(clock.now_s)
        return first.in_use_bytes + risen

    monkeypatch.setattr(LinuxProbe, "glance", glance)
    risen = 0
    for clock.now_s in (0.0005, 0.0015, 0.0016, 0.003):
        sampler.at_boundary(clock.now_s)
    assert seen == [0.0015, 0.003]
    assert sampler.state.samples == 1
    risen = first.limit_bytes
    clock.now_s = 0.005
    sampler.at_boundary(clock.now_s)
    assert (seen[-1], sampler.state.samples) == (0.005, 2)
    sampler.close()


@pytest.mark.skipif(sys.platform != "linux", reason="glances need /proc")
@pytest.mark.parametrize(("moved_share", "reads"), [(0.0, (3, 4)), (0.02, (3, 4)), (0.04, (20,)), (-0.04, (20,))])
def test_ticks_read_in_full_when_use_has_moved_or_the_fifth_time(
    moved_share: float, reads: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, run_virtual
) -> None:
    """As if a reading in full were so dear that it should wait for longer than that."""

    def glance(probe: LinuxProbe) -> int:
        reading = sampler.state.reading
        assert reading is not None
        return int(reading.in_use_bytes + moved_share * reading.limit_bytes)

    async def main() -> None:
        sampler.sample()
        async with anyio.create_task_group() as group:
            with sampler.attached(group):
                for _ in range(200):
                    sampler.spacing.has_read(anyio.current_time(), 1.0, urgent=False)
                await anyio.sleep(1.01)

    monkeypatch.setattr(LinuxProbe, "glance", glance)
    monkeypatch.setattr("memflow.memory.spacing._EAGER_S", 0.0)
    settings = MemoryManagerSettings(sample_interval_s=0.05, data_limit=False, auto_gc=False)
    sampler = Sampler(settings, clock=anyio.current_time)
    run_virtual(main)
    sampler.close()
    assert sampler.state.samples - 1 in reads


@pytest.mark.skipif(sys.platform != "linux", reason="glances need /proc")
def test_while_somebody_holds_objects_every_boundary_is_read_in_full() -> None:
    clock = Clock()
    sampler = Sampler(MemoryManagerSettings(boundary_interval_s=0.001), clock=clock)
    sampler.sample()
    sampler.spacing.has_read(clock.now_s, 10.0, urgent=False)
    with sampler.state.pins.held():
        clock.now_s = 0.002
        sampler.at_boundary(clock.now_s)
    assert sampler.state.samples == 2
    sampler.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_glance_is_what_a_reading_says() -> None:
    with_glances = Sampler(MemoryManagerSettings())
    reading = with_glances.sample()
    probe = with_glances.probe
    assert isinstance(probe, LinuxProbe)
    in_use = probe.glance()
    assert in_use is not None
    assert abs(in_use - reading.in_use_bytes) < 64 << 20
    probe.close()
    with pytest.raises(MemflowError, match="closed"):
        probe.glance()


def test_the_level_follows_and_is_logged_in_debug(caplog: pytest.LogCaptureFixture) -> None:
    sampler, _ = make([share(0.5), share(0.95), share(0.95)], debug=True)
    with caplog.at_level(logging.DEBUG, "memflow.memory"):
        levels = [(sampler.sample(), sampler.level)[1] for _ in range(3)]
    assert levels == [PressureLevel.NORMAL, PressureLevel.STOP, PressureLevel.STOP]
    assert len(caplog.records) == 1
    assert "95.0 %" in caplog.text


def test_nothing_is_logged_without_debug(caplog: pytest.LogCaptureFixture) -> None:
    sampler, _ = make([share(0.95)])
    with caplog.at_level(logging.DEBUG, "memflow.memory"):
        sampler.sample()
        sampler.reclaim()
    assert not caplog.records


def test_a_probe_that_fails_leaves_the_state_as_it_was() -> None:
    sampler, _ = make(["100MiB", OSError("no /proc"), "200MiB"])
    first = sampler.sample()
    with pytest.raises(OSError, match="no /proc"):
        sampler.sample()
    assert sampler.state.reading is first
    assert sampler.sample().rss_bytes == 200 * 2**20


def test_the_default_probe_is_made_on_the_first_reading() -> None:
    sampler = Sampler()
    assert sampler._probe is None
    assert sampler.sample().rss_bytes > 0
    sampler.close()


def test_after_closing_a_later_reading_opens_the_default_probe_again() -> None:
    sampler = Sampler()
    sampler.close()
    sampler.sample()
    sampler.close()
    sampler.close()
    assert sampler.sample().rss_bytes > 0
    sampler.close()


def test_a_probe_that_was_given_stays_closed() -> None:
    sampler, probe = make()
    sampler.close()
    assert probe.closed
    with pytest.raises(MemflowError, match="closed"):
        sampler.sample()


def test_many_threads_may_sample() -> None:
    sampler, probe = make(lambda now_s: 100)
    threads = [threading.Thread(target=lambda: [sampler.sample() for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert probe.reads == sampler.state.samples == 800


# ---- ticking ----------------------------------------------------------------------------------------------------


def ticking(**settings: object) -> tuple[Sampler, ScriptedProbe]:
    return make(clock=anyio.current_time, sample_interval_s=0.05, auto_gc=False, **settings)


def test_reads_every_interval_while_attached_and_never_after(run_virtual) -> None:
    async def main() -> None:
        sampler, probe = ticking()
        async with anyio.create_task_group() as group:
            with sampler.attached(group):
                await anyio.sleep(1.01)
            assert probe.reads == 20
            assert not sampler._hosts
        await anyio.sleep(10)
        assert probe.reads == 20

    run_virtual(main)


def test_the_allocators_are_asked_once_for_all_who_learn_from_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, _ = make()
    asked = []

    def read() -> AllocatorReading:
        asked.append(1)
        return AllocatorReading(len(asked), 0, 0)

    monkeypatch.setattr(state_module, "read_allocator", read)
    heard = []

    def hear(_: object) -> None:
        heard.extend([sampler.state.allocator().blocks, sampler.state.allocator().blocks])
        if len(heard) == 4:
            sampler.state.forget_heap()  # as after a trim
            heard.append(sampler.state.allocator().blocks)

    sampler.state.subscribe(hear)
    sampler.sample()
    sampler.sample()
    assert heard == [1, 1, 2, 2, 3]
    assert [sampler.state.allocator().blocks for _ in range(2)] == [4, 5]


def test_another_call_takes_over_when_the_host_leaves(run_virtual) -> None:
    async def main() -> None:
        sampler, probe = ticking()
        async with anyio.create_task_group() as outer:
            with sampler.attached(outer):
                async with anyio.create_task_group() as first:
                    with sampler.attached(first):
                        await anyio.sleep(0.51)
                await anyio.sleep(0.5)
                before = probe.reads
                assert before >= 19
            async with anyio.create_task_group() as second:
                with sampler.attached(second):
                    await anyio.sleep(0.51)
            assert probe.reads == before + 10

    run_virtual(main)


def test_the_first_call_may_leave_before_the_second(run_virtual) -> None:
    async def main() -> None:
        sampler, probe = ticking()

        async def call(from_s: float, to_s: float) -> None:
            await anyio.sleep(from_s)
            async with anyio.create_task_group() as group:
                with sampler.attached(group):
                    await anyio.sleep(to_s - from_s)

        async with anyio.create_task_group() as group:
            for times in ((0, 1.01), (0.5, 2.02), (0.7, 1.2), (1.5, 3.03)):
                group.start_soon(call, *times)
            await anyio.sleep(1.3)
            assert len(sampler._hosts) == 1
        assert probe.reads >= 58  # a hand-over begins its interval anew
        assert not sampler._hosts

    run_virtual(main)


def test_only_one_task_ticks_for_many_calls(run_virtual) -> None:
    async def main() -> None:
        sampler, probe = ticking()

        async def call() -> None:
            async with anyio.create_task_group() as group:
                with sampler.attached(group):
                    await anyio.sleep(1.01)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(call)
        assert probe.reads == 20

    run_virtual(main)


def test_a_host_whose_group_was_cancelled_hands_over(run_virtual) -> None:
    async def main() -> None:
        sampler, probe = ticking()

        async def dies() -> None:
            with anyio.move_on_after(0.2):
                async with anyio.create_task_group() as group:
                    with sampler.attached(group):
                        await anyio.sleep(99)

        async with anyio.create_task_group() as group:
            group.start_soon(dies)
            await anyio.sleep(0.01)
            async with anyio.create_task_group() as own:
                with sampler.attached(own):
                    await anyio.sleep(1.21)
        assert probe.reads >= 23

    run_virtual(main)


def test_each_thread_ticks_by_itself() -> None:
    sampler, probe = make(sample_interval_s=0.001, auto_gc=False)
    both = threading.Barrier(2, timeout=60)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            with sampler.attached(group):
                await anyio.to_thread.run_sync(both.wait)
                before = probe.reads
                while probe.reads < before + 3:
                    await anyio.sleep(0.001)

    threads = [threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": b}) for b in ("asyncio", "trio")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not sampler._hosts


# ---- giving back ------------------------------------------------------------------------------------------------


def test_a_reclaim_counts_and_is_learnt_from() -> None:
    clock = Clock()
    sampler, _ = make(["400MiB", "300MiB", "300MiB"], clock=clock)
    result = sampler.reclaim()
    assert result.freed_bytes == sampler.reclaimed_bytes == 100 * 2**20
    assert sampler.reclaims == 1
    assert not sampler._schedule.allowed(0.4)
    clock.now_s = 60.0
    assert sampler._schedule.allowed(60.0)


def test_a_reclaim_is_logged_in_debug(caplog: pytest.LogCaptureFixture) -> None:
    sampler, _ = make(debug=True)
    with caplog.at_level(logging.DEBUG, "memflow.memory"):
        sampler.reclaim()
    assert "gave back 0 bytes" in caplog.text


def test_reclaiming_keeps_to_the_time_budget(run) -> None:
    async def main() -> None:
        sampler, _ = make()
        assert isinstance(await sampler.reclaim_if_allowed(), ReclaimResult)
        assert await sampler.reclaim_if_allowed() is None
        assert isinstance(await sampler.reclaim_in_thread(), ReclaimResult)

    run(main)


def test_trimming_is_tried_within_the_time_budget_and_counts_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    sampler, _ = make(["400MiB", "400MiB", "100MiB", "100MiB"], clock=clock)
    monkeypatch.setattr(sampler, "_own_probe", True)
    sampler.sample()
    result = sampler.try_trim()
    assert result is not None
    assert result.freed_bytes == sampler.reclaimed_bytes == 300 * 2**20
    assert result.collected_objects == 0
    assert sampler.reclaims == 1
    sampler._schedule.spend(1.0, 0.0)
    assert sampler.try_trim() is None
    clock.now_s = 60.0
    assert sampler.try_trim() is not None


def test_trimming_may_be_tried_where_it_is_switched_on_and_this_process_is_read() -> None:
    assert Sampler().may_trim
    assert not Sampler(MemoryManagerSettings(trim=False)).may_trim
    assert not make()[0].may_trim


PROGRAM = """
import sys
from memflow.memory.sampler import Sampler

sampler, freed, kept = Sampler(), [], []
for _ in range(20_000):
    freed.append(bytes(1) * 2_000)
    if sys.argv[1] == "between":
        kept.append(bytes(1) * 700)
beyond = bytes(1) * 100_000
freed.clear()
print(sampler.try_trim().freed_bytes)
"""
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


@pytest.mark.skipif(not allocator_name().startswith("pymalloc over glibc"), reason="needs glibc")
@pytest.mark.parametrize(("where", "least", "most"), [("alone", 30_000_000, 50_000_000), ("between", 0, 10_000_000)])
def test_a_real_trim_gives_back_what_lies_free_alone_and_hardly_what_lies_between(
    where: str, least: int, most: int
) -> None:
    freed_bytes = int(run_python(PROGRAM, where, **KEEPING))
    assert least <= freed_bytes <= most  # of 40 MB


def test_only_one_reclaims_at_a_time(run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        sampler, _ = make()
        started, go_on = threading.Event(), threading.Event()

        def slow(with_trim: bool) -> ReclaimResult:
            started.set()
            go_on.wait(60)
            return ReclaimResult(0, 0, False, 0.0)

        monkeypatch.setattr(sampler, "_reclaim", slow)
        async with anyio.create_task_group() as group:
            group.start_soon(sampler.reclaim_if_allowed)
            while not started.is_set():
                await anyio.sleep(0.001)
            assert await sampler.reclaim_if_allowed() is None
            go_on.set()
        assert await sampler.reclaim_if_allowed() is not None

    run(main)


@pytest.mark.parametrize(("auto_gc", "in_use"), [(True, 0.9), (True, 0.5), (False, 0.9)])
def test_ticks_reclaim_when_use_is_over_the_threshold(run, auto_gc: bool, in_use: float) -> None:
    async def main() -> None:
        probe = ScriptedProbe(share(in_use), limit=GIB)
        settings = MemoryManagerSettings(sample_interval_s=0.001, auto_gc=auto_gc, gc_threshold_pct=80, trim=False)
        sampler = Sampler(settings, probe=probe)
        async with anyio.create_task_group() as group:
            with sampler.attached(group):
                while probe.reads < 10:
                    await anyio.sleep(0.001)
        assert sampler.reclaims == (1 if auto_gc and in_use > 0.8 else 0)

    run(main)


def test_a_sampler_that_nobody_uses_goes_away() -> None:
    sampler, _ = make()
    state = sampler.state
    sampler.sample()
    assert isinstance(state, MemoryState)
    del sampler
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Sampler) and each.state is state]


def test_probe_is_the_one_given() -> None:
    sampler, probe = make()
    given: MemoryProbe = sampler.probe
    assert given is probe
