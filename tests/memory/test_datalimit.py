from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory import datalimit
from memflow.memory.datalimit import DataLimit, data_limit_bytes, original_data_limit
from memflow.memory.limit import read_rlimits
from memflow.memory.readings import AllocatorReading
from tests.cgroups import memory_group

__all__ = ["memory_group"]

MIB = 1 << 20
LIMIT = 512 * MIB
sizes = st.integers(0, 64 * LIMIT)


def test_room_is_what_is_left_of_93_per_cent():
    found = data_limit_bytes(
        private_bytes=100 * MIB, untouched_bytes=7 * MIB, in_use_bytes=120 * MIB, limit_bytes=LIMIT
    )
    assert found == int(107 * MIB + 0.93 * LIMIT - 120 * MIB)


@given(rss=sizes, untouched=sizes, in_use=sizes, limit=st.integers(1, 1 << 44))
def test_the_program_itself_always_has_a_little_room_and_nobody_much_beyond_the_limit(rss, untouched, in_use, limit):
    room = (
        data_limit_bytes(private_bytes=rss, untouched_bytes=untouched, in_use_bytes=in_use, limit_bytes=limit)
        - rss
        - untouched
    )
    assert room >= min(MIB, int(0.03 * limit))
    assert room <= max(0.93 * limit - in_use, min(8 * MIB, 0.03 * limit)) + 1
    assert in_use + room <= max(0.95 * limit, in_use) + MIB
    if in_use >= 0.95 * limit:
        assert room <= MIB  # the last 5 per cent are nearly nobody's


# ---- holes ------------------------------------------------------------------------------------------------------


class Process:
    """A process of which `DataLimit` reads what a script says, and whose limit is only noted."""

    RLIMIT_DATA, RLIMIT_STACK, RLIM_INFINITY = 2, 3, -1
    PAGE = 4096

    def __init__(self, path: Path) -> None:
        self.path, self.statm_fd = path, os.open(path, os.O_RDWR | os.O_CREAT)
        self.soft = self.RLIM_INFINITY
        self.free = 0
        self.limit = DataLimit()
        self.limit._resource = self
        self.show(private=100 * MIB, data=120 * MIB)

    def getrlimit(self, which: int) -> tuple[int, int]:
        return (self.soft, -1) if which == self.RLIMIT_DATA else (MIB, -1)

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_DATA
        self.soft = limits[0]

    def show(self, *, private: int, data: int, files: int = 30 * MIB) -> None:
        self.private, self.data = private, data
        pages = [0, private + files, files, 0, 0, data, 0]
        os.pwrite(self.statm_fd, (" ".join(f"{each // self.PAGE:12}" for each in pages) + "\n").encode(), 0)

    def hold(self) -> None:
        self.limit.hold()
        os.close(self.limit._statm_fd)
        self.limit._statm_fd = os.open(self.path, os.O_RDONLY)

    def move(self, now_s: float = 0.0) -> int:
        """Move the limit; what is left for large blocks, which need addresses of their own."""
        in_use = self.private + 30 * MIB
        self.limit.move(rss_bytes=in_use, in_use_bytes=self.private, limit_bytes=LIMIT, now_s=now_s)
        return self.soft - self.data


class FakePlugs:
    """Takes all holes, and notes where the limit stood meanwhile."""

    def __init__(self, process: Process) -> None:
        self.process, self.bytes, self.stood = process, 0, 0

    def take(self, stop_growth: Callable[[], bool], *, most_bytes: int) -> None:
        assert stop_growth()
        self.stood, self.bytes = self.process.soft, most_bytes

    def release(self) -> None:
        self.bytes = 0


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    if sys.platform != "linux":
        pytest.skip("RLIMIT_DATA bounds mappings on Linux only")
    assert original_data_limit() is None
    # Stacks are of this process's threads; they are no part of what is tested here.
    monkeypatch.setattr(datalimit, "_stack_bytes", lambda resource: 0)
    made = Process(tmp_path / "statm")
    monkeypatch.setattr(datalimit, "read_allocator", lambda: AllocatorReading(0, 0, made.free))
    made.hold()
    yield made
    while made.limit._holds > 0:
        made.limit.release()
    os.close(made.statm_fd)
    assert made.soft == made.RLIM_INFINITY


ROOM = int(0.93 * LIMIT)


def test_pages_of_files_are_no_data(process):
    assert process.move() == ROOM - 100 * MIB


def test_holes_count_as_filled_however_long_they_last(process):
    """Else small blocks could fill the holes, and large ones the room beside them: more than there is."""
    process.show(private=400 * MIB, data=420 * MIB)
    assert process.move(0.0) == ROOM - 400 * MIB
    process.show(private=200 * MIB, data=420 * MIB)
    for now_s in (0.1, 1.0, 10.0, 100.0):
        assert process.move(now_s) == ROOM - 400 * MIB
    process.show(private=300 * MIB, data=420 * MIB)  # filled half
    assert process.move(101.0) == ROOM - 400 * MIB
    process.show(private=100 * MIB, data=120 * MIB)  # the heap shrank
    assert process.move(102.0) == ROOM - 100 * MIB


def test_what_the_heap_has_free_at_first_may_be_holes(process):
    process.show(private=100 * MIB, data=400 * MIB)
    process.free = 250 * MIB
    assert process.move() == ROOM - 350 * MIB


def test_for_one_alone_holes_are_plugged_and_it_has_all_there_is(process):
    process.limit._plugs = plugs = FakePlugs(process)
    process.show(private=400 * MIB, data=420 * MIB)
    process.move()
    process.show(private=150 * MIB, data=420 * MIB)
    process.move(0.1)
    process.limit.plug()
    assert plugs.stood == 420 * MIB  # so that what is taken comes out of the heap
    assert process.move(0.2) == ROOM - 150 * MIB
    process.limit.unplug()
    assert process.move(0.3) == ROOM - 400 * MIB


def test_where_there_are_no_holes_nothing_is_plugged(process):
    process.limit._plugs = plugs = FakePlugs(process)
    process.move()
    process.limit.plug()
    assert (plugs.stood, plugs.bytes) == (0, 0)


def test_a_thread_is_started_only_where_it_finds_room(process, monkeypatch):
    assert process.limit.allows_thread()  # nothing is bound yet
    process.move()
    assert process.limit.allows_thread()
    process.show(private=490 * MIB, data=490 * MIB)
    process.move(0.1)
    assert not process.limit.allows_thread()


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


HOLES = """
    import anyio, ctypes, gc
    from memflow import BatchProcessor

    MB = 10**6

    async def work(piece):
        size, each = piece
        held = [b"x" * each for _ in range(size // each)]
        await anyio.sleep(0.02)
        return len(held)

    junk = [b"y" * 60_000 for _ in range(2000)]
    pin = b"z" * 60_000  # on top of the heap, which then can't shrink
    del junk
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)

    async def main(piece):
        pieces = [(MB, MB)] * 50 + [piece] + [(MB, MB)] * 50
        async with BatchProcessor(on_error="collect") as processor:
            results = await processor.process(pieces, work)
        print([index for index, got in enumerate(results) if not isinstance(got, int)])

    anyio.run(main, {piece})
"""


@pytest.mark.parametrize(
    ("piece", "failed"),
    [
        ("(160 * MB, 160 * MB)", []),  # one block, too large for the holes: they must not take the room from it
        ("(160 * MB, 60_000)", []),
        ("(400 * MB, 60_000)", [50]),  # fills the holes too, and is more than there is all the same
        ("(400 * MB, 400 * MB)", [50]),
    ],
)
def test_holes_of_the_heap_neither_kill_nor_take_room(memory_group, piece, failed):
    group = memory_group(256 * MIB)
    shown = group.run(HOLES.replace("{piece}", piece))
    assert shown.splitlines() == [str(failed)]


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
