from __future__ import annotations

import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.datalimit import DataLimit, data_limit_bytes, original_data_limit
from memflow.memory.limit import read_rlimits
from tests.cgroups import memory_group

__all__ = ["memory_group"]

MIB = 1 << 20
LIMIT = 512 * MIB
sizes = st.integers(0, 64 * LIMIT)


def test_room_is_what_is_left_of_93_per_cent():
    found = data_limit_bytes(rss_bytes=100 * MIB, untouched_bytes=7 * MIB, in_use_bytes=120 * MIB, limit_bytes=LIMIT)
    assert found == int(107 * MIB + 0.93 * LIMIT - 120 * MIB)


@given(rss=sizes, untouched=sizes, in_use=sizes, limit=st.integers(1, 1 << 44))
def test_the_program_itself_always_has_a_little_room_and_nobody_much_beyond_the_limit(rss, untouched, in_use, limit):
    room = (
        data_limit_bytes(rss_bytes=rss, untouched_bytes=untouched, in_use_bytes=in_use, limit_bytes=limit)
        - rss
        - untouched
    )
    assert room >= min(MIB, int(0.03 * limit))
    assert room <= max(0.93 * limit - in_use, min(8 * MIB, 0.03 * limit)) + 1
    if in_use <= 0.98 * limit:
        assert in_use + room <= max(0.93 * limit, in_use + min(8 * MIB, 0.03 * limit), 0.985 * limit) + MIB


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds mappings on Linux only")
def test_it_slides_while_held_and_is_put_back_after():
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    first, second = DataLimit(), DataLimit()
    wide, narrow = 1 << 42, 1 << 41
    first.hold()
    second.hold()
    try:
        first.move(rss_bytes=0, in_use_bytes=0, limit_bytes=wide, now_s=0.0)
        soft = resource.getrlimit(resource.RLIMIT_DATA)[0]
        assert 0.9 * wide < soft < wide
        second.move(rss_bytes=0, in_use_bytes=0, limit_bytes=narrow, now_s=0.0)
        assert 0.9 * narrow < resource.getrlimit(resource.RLIMIT_DATA)[0] < narrow
        assert original_data_limit() == before
        # What slides is nobody's limit: a look-up of limits still sees the one that was set.
        assert read_rlimits()["RLIMIT_DATA"] == (None if before[0] == resource.RLIM_INFINITY else before[0])
        second.release()
        assert 0.9 * wide < resource.getrlimit(resource.RLIMIT_DATA)[0] < wide
    finally:
        first.release()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert original_data_limit() is None
    assert not first.active


def test_a_limit_that_was_set_is_never_exceeded(run_python):
    shown = run_python(
        """
        import resource
        from memflow.memory.datalimit import DataLimit
        resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, resource.RLIM_INFINITY))
        limit = DataLimit()
        limit.hold()
        limit.move(rss_bytes=0, in_use_bytes=0, limit_bytes=1 << 40, now_s=0.0)
        print(resource.getrlimit(resource.RLIMIT_DATA)[0])
        limit.release()
        print(resource.getrlimit(resource.RLIMIT_DATA)[0])
        """
    )
    assert shown.split() == [str(3 << 30)] * 2


def test_address_space_that_stays_untouched_is_no_use_but_what_was_just_reserved_is(run_python):
    shown = run_python(
        """
        import mmap, os, resource
        from memflow.memory.datalimit import DataLimit

        def room():
            fields = open("/proc/self/statm").read().split()
            return resource.getrlimit(resource.RLIMIT_DATA)[0] - int(fields[5]) * 4096

        limit, big = DataLimit(), 1 << 33
        limit.hold()

        def move(now_s):
            limit.move(rss_bytes=0, in_use_bytes=0, limit_bytes=big, now_s=now_s)
            return room() / big

        before = move(0.0)
        reserved = mmap.mmap(-1, big // 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        just_reserved, long_ago = move(0.1), move(10.0)
        print(before, just_reserved, long_ago)
        """
    )
    before, just_reserved, long_ago = map(float, shown.split())
    assert before - just_reserved == pytest.approx(0.25, abs=0.02)
    assert long_ago == pytest.approx(before, abs=0.02)


def test_a_wrong_guess_is_a_memory_error_of_one_item_and_not_a_kill(memory_group):
    group = memory_group(256 * MIB)
    shown = group.run(
        """
        import anyio
        from memflow import BatchProcessor

        async def work(size):
            data = b"x" * size
            await anyio.sleep(0.05)
            return len(data)

        sizes = [1 << 20] * 60
        sizes[30] = 190 << 20  # fits alone, and not beside the others
        sizes[45] = 400 << 20  # fits nowhere

        async def main():
            async with BatchProcessor(on_error="collect", concurrency=40) as processor:
                results = await processor.process(sizes, work)
                figures = processor.statistics()
            print([index for index, (size, got) in enumerate(zip(sizes, results)) if size != got])
            print(results[45].error_type, figures.items_done)

        anyio.run(main)
        """
    )
    assert shown.splitlines() == ["[45]", "MemoryError 59"]


def test_stacks_of_threads_that_just_started_take_no_room(memory_group):
    group = memory_group(256 * MIB)
    shown = group.run(
        """
        import anyio, time
        from memflow import BatchProcessor

        def work(size):
            data = b"x" * size
            time.sleep(0.05)
            return len(data)

        sizes = [1 << 20] * 100
        sizes[60] = 150 << 20

        async def main():
            async with BatchProcessor(on_error="collect", concurrency=32) as processor:
                print(await processor.process(sizes, work) == sizes)

        anyio.run(main)
        """
    )
    assert shown.split() == ["True"]


@pytest.fixture
def run_python():
    """Runs a snippet in a process of its own, since a limit belongs to a process."""
    if sys.platform != "linux":
        pytest.skip("RLIMIT_DATA bounds mappings on Linux only")
    import subprocess

    def run(snippet: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(snippet)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
