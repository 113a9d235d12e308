"""The heaps inside the process: `memflow.memory.allocator`."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from memflow.memory import allocator
from memflow.memory.allocator import (
    allocator_name,
    allocator_notes,
    pin_mmap_threshold,
    read_allocator,
    share_arena,
    trim,
    unpin_mmap_threshold,
)
from tests.memory.scripts import run_python

MIB = 1024 * 1024
on_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None) if sys.platform != "win32" else None, "mallinfo2"),
    reason="needs glibc 2.33 or newer",
)


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was learnt about the C library is forgotten before and after."""
    allocator._glibc.cache_clear()
    yield
    allocator._glibc.cache_clear()


def test_blocks_follow_python_objects() -> None:
    gc.collect()
    before = read_allocator().blocks
    held = [str(n) + "x" for n in range(50_000)]
    assert read_allocator().blocks - before > 45_000
    assert len(held) == 50_000


@on_glibc
def test_native_bytes_follow_what_is_held(fresh: None) -> None:
    before = read_allocator().native_live_bytes
    held = bytearray(32 * MIB)
    after = read_allocator().native_live_bytes
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(len(held), abs=MIB)


@on_glibc
def test_freed_heap_is_seen_and_given_back() -> None:
    # Blocks below the mmap threshold, the last of them kept so that the heap cannot shrink by itself.
    script = """
        from memflow.memory.allocator import read_allocator, trim
        from memflow.memory.procfs import read_process
        held = [bytearray(100_000) for _ in range(600)]
        for each in held: each[::4096] = b"x" * len(each[::4096])
        last = held[-1]
        del held, each
        free, rss = read_allocator().native_free_bytes, read_process().rss_bytes
        print(free, trim(), rss - read_process().rss_bytes)
    """
    free, trimmed, back = run_python(script).split()
    assert int(free) > 50_000_000
    assert trimmed == "True"
    assert int(back) > 50_000_000


@on_glibc
def test_a_pinned_threshold_returns_large_blocks_at_once() -> None:
    script = """
        import sys
        from memflow.memory.allocator import pin_mmap_threshold
        from memflow.memory.procfs import read_process
        if sys.argv[1:] == [] and {pin}: assert pin_mmap_threshold(128 * 1024)
        bytearray(30 << 20)  # its free raises the threshold where it is not pinned
        before = read_process().rss_bytes
        held = [bytearray(b"x") * (1 << 20) for _ in range(64)]
        last = bytearray(200_000)
        del held
        print(read_process().rss_bytes - before)
    """
    assert int(run_python(script.format(pin=True))) < 8 * MIB
    assert int(run_python(script.format(pin=False))) > 32 * MIB


@on_glibc
def test_a_threshold_that_was_let_go_keeps_blocks_and_pinned_again_returns_them() -> None:
    script = """
        from memflow.memory.allocator import pin_mmap_threshold, trim, unpin_mmap_threshold
        from memflow.memory.procfs import read_process
        def kept():
            before = read_process().rss_bytes
            held = [bytearray(b"x") * (1 << 20) for _ in range(40)]
            del held
            return read_process().rss_bytes - before
        assert pin_mmap_threshold(128 * 1024)
        first = kept()
        assert unpin_mmap_threshold(64 << 20)
        second = kept()
        assert pin_mmap_threshold(128 * 1024)
        trim()
        print(first, second, kept())
    """
    first, second, third = map(int, run_python(script).split())
    assert first < 8 * MIB
    assert second > 32 * MIB
    assert third < 8 * MIB


ARENAS = """
    import threading
    from memflow.memory.allocator import share_arena
    from memflow.memory.procfs import read_process
    print(share_arena() if {share} else None)
    threading.stack_size(256 << 10)
    before, ended = read_process().vm_size_bytes, threading.Barrier(9)
    def work():
        held = [bytes(60_000) for _ in range(20)]
        ended.wait()
    for _ in range(8): threading.Thread(target=work).start()
    print(read_process().vm_size_bytes - before)
    ended.wait()
"""


@on_glibc
def test_threads_started_from_now_on_share_an_arena() -> None:
    took, widened = run_python(ARENAS.format(share=True)).split()
    assert took == "True"
    assert int(widened) < 100 * MIB
    assert int(run_python(ARENAS.format(share=False)).split()[1]) > 200 * MIB  # an arena takes 64 MiB of addresses


@on_glibc
@pytest.mark.parametrize(
    "environment", [{"MALLOC_ARENA_MAX": "4"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}], ids=["old", "tunable"]
)
def test_whoever_chose_a_number_of_arenas_is_left_to_it(
    environment: dict[str, str], fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert share_arena() is False


@pytest.mark.parametrize("size", [-1, 2**31, 2**40])
def test_a_threshold_out_of_range_is_refused(size: int) -> None:
    assert pin_mmap_threshold(size) is False


@on_glibc
def test_a_slow_heap_is_asked_only_once(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.153])
    monkeypatch.setattr(allocator, "time", SimpleNamespace(thread_time=lambda: next(seconds)))
    assert read_allocator().native_live_bytes is not None
    for _ in range(3):
        reading = read_allocator()
        assert (reading.native_live_bytes, reading.native_free_bytes) == (None, None)
        assert reading.blocks > 0
    assert any("mallinfo2 took 153 ms" in note and "not called again" in note for note in allocator_notes())


@on_glibc
def test_nothing_to_note_where_everything_is_known(fresh: None) -> None:
    read_allocator()
    assert allocator_notes() == ()
    assert allocator_name().startswith("pymalloc over glibc 2.")


@pytest.mark.parametrize("name", ["musl", "macOS libmalloc", "Windows heap"])
def test_other_c_libraries_are_guarded(name: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_libc_name", lambda: name)
    monkeypatch.setattr(allocator, "_load", lambda: None)
    assert read_allocator().native_live_bytes is None
    assert read_allocator().blocks > 0
    assert trim() is False
    assert pin_mmap_threshold(128 * 1024) is False
    assert unpin_mmap_threshold(64 << 20) is False
    assert share_arena() is False
    assert name in allocator_name()
    assert allocator_notes() == (f"{name} does not tell what its heap holds; only RSS does",)


@pytest.mark.parametrize(("symbol", "name"), [("mallctl", "jemalloc"), ("tc_version", "tcmalloc")])
def test_a_rival_of_glibc_is_named_and_left_alone(
    symbol: str, name: str, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocator, "_load", lambda: SimpleNamespace(**{symbol: None}, malloc_trim=None))
    monkeypatch.setattr(allocator, "_libc_name", lambda: "glibc 2.36")
    assert allocator_name() == f"pymalloc over {name} in place of glibc 2.36"
    assert trim() is False
    assert read_allocator().native_live_bytes is None
    assert name in allocator_notes()[0]


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_an_unknown_c_library_has_a_name(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> str:
        raise error

    monkeypatch.setattr(allocator.os, "confstr", refuse)
    monkeypatch.setattr(allocator.glob, "glob", lambda pattern: [])
    assert allocator._libc_name() == "an unknown C library"
    monkeypatch.setattr(allocator.glob, "glob", lambda pattern: ["/lib/ld-musl-x86_64.so.1"])
    assert allocator._libc_name() == "musl"


def test_without_pymalloc_that_is_said() -> None:
    script = "from memflow.memory.allocator import *; print(allocator_name(), *allocator_notes(), sep='|')"
    shown = run_python(script, PYTHONMALLOC="malloc")
    assert "(PYTHONMALLOC=malloc, no pymalloc)" in shown
    assert "switched off" in shown
    assert "no pymalloc" not in run_python(script, PYTHONMALLOC="pymalloc_debug")


def test_nothing_is_looked_up_at_import() -> None:
    script = "import memflow.memory.allocator as a; assert a._glibc.cache_info().currsize == 0"
    run_python(script)
