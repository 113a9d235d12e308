"""RSS and exact peaks: `memflow.memory.peaks`, mostly through the probe that uses it."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from memflow.memory import peaks
from memflow.memory.peaks import ledger_for
from memflow.memory.probe import LinuxProbe
from memflow.units import MemorySize
from tests.memory import fixture_trees as trees
from tests.memory.fixture_trees import MIB
from tests.memory.scripts import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def no_rlimits() -> dict[str, int | None]:
    return {}


@pytest.fixture
def exact() -> Iterator[LinuxProbe]:
    probe = LinuxProbe()
    if not probe.exact_peaks:
        probe.close()
        pytest.skip("this kernel does not let the high-water mark be reset")
    yield probe
    probe.close()


def burst(size: int) -> None:
    """Hold this many resident bytes, and let go of them, past the allocator, which might keep some."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        for page in range(0, size, mmap.PAGESIZE):
            held[page] = 1


@pytest.mark.parametrize("boundary", [False, True])
def test_a_burst_between_two_readings_is_caught(exact: LinuxProbe, boundary: bool) -> None:
    for _ in range(5):
        before = exact.read(0.0, boundary=boundary)
        burst(64 * MIB)
        after = exact.read(0.1, boundary=boundary)
        quiet = exact.read(0.2, boundary=boundary)
        assert after.peak_rss_bytes - before.rss_bytes == pytest.approx(64 * MIB, abs=2 * MIB)
        assert after.rss_bytes - before.rss_bytes < 2 * MIB
        assert quiet.peak_rss_bytes - quiet.rss_bytes < 2 * MIB


def test_bursts_of_every_size_are_caught(exact: LinuxProbe) -> None:
    for size in (4 * MIB, 128 * MIB, 8 * MIB, 16 * MIB):
        before = exact.read(0.0, boundary=True)
        burst(size)
        assert exact.read(0.1, boundary=True).peak_rss_bytes - before.rss_bytes == pytest.approx(size, abs=2 * MIB)


def test_several_probes_lose_none_of_each_others_peaks(exact: LinuxProbe) -> None:
    others = [LinuxProbe(), LinuxProbe(setting=MemorySize("50%"))]
    readers = [exact, *others]
    before = [probe.read(0.0).rss_bytes for probe in readers]
    burst(64 * MIB)
    exact.read(0.1)
    burst(16 * MIB)
    rises = [probe.read(0.2).peak_rss_bytes - start for probe, start in zip(readers, before, strict=True)]
    # The first has read the large burst already; the others have it still to come.
    assert rises == [pytest.approx(size * MIB, abs=2 * MIB) for size in (16, 64, 64)]
    for probe in others:
        probe.close()


def test_a_new_probe_does_not_start_on_a_peak_of_before(exact: LinuxProbe) -> None:
    exact.read(0.0)
    burst(64 * MIB)
    late = LinuxProbe()
    first = late.read(0.1)
    assert first.peak_rss_bytes - first.rss_bytes < 2 * MIB
    assert exact.read(0.2).peak_rss_bytes - first.rss_bytes == pytest.approx(64 * MIB, abs=2 * MIB)
    late.close()


def test_threads_that_read_at_once_see_every_burst_between_them(exact: LinuxProbe) -> None:
    base = exact.read(0.0).rss_bytes
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.append(exact.read(0.0, boundary=True).peak_rss_bytes)

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    burst(64 * MIB)
    stop.set()
    for thread in threads:
        thread.join()
    seen.append(exact.read(0.0).peak_rss_bytes)
    assert max(seen) - base == pytest.approx(64 * MIB, abs=8 * MIB)


def test_a_plain_probe_never_resets_the_mark() -> None:
    script = """
        import os
        from memflow.memory.probe import LinuxProbe
        probe = LinuxProbe(exact_peaks=False)
        held = bytearray(64 << 20); held[::4096] = b"x" * len(held[::4096]); del held
        for n in range(3):
            reading = probe.read(float(n))
            probe.limit(float(n))
        status = open("/proc/self/status").read()
        mark = int(status.split("VmHWM:")[1].split()[0]) * 1024
        assert mark - reading.rss_bytes > 60 << 20, (mark, reading)
        assert probe.exact_peaks is False
    """
    run_python(script)


BURSTS = """
    import mmap
    from memflow.memory.probe import LinuxProbe
    probe = LinuxProbe()
    assert probe.exact_peaks
    for size in (20 << 20, 8 << 20, 60 << 20, 12 << 20):
        before = probe.read(0.0)
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
            for page in range(0, size, 4096): held[page] = 1
        rise = probe.read(0.1, boundary=True).peak_rss_bytes - before.rss_bytes
        assert abs(rise - size) < 2 << 20, (size, rise)
        assert probe.read(0.2).peak_rss_bytes - before.rss_bytes < 2 << 20
"""


def test_a_peak_inherited_over_exec_is_not_taken_for_ours(exact: LinuxProbe) -> None:
    # ru_maxrss of the new program starts at what the old one held: here 200 MB.
    fat = "import os, sys; held = b'x' * (200 << 20); os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
    run_python(fat, textwrap.dedent(BURSTS))


def test_exact_peaks_in_a_fresh_program(exact: LinuxProbe) -> None:
    run_python(BURSTS)


def test_a_forked_child_reads_itself(exact: LinuxProbe) -> None:
    script = """
        import os, sys
        from memflow.memory.probe import LinuxProbe, PsutilProbe
        probes = [LinuxProbe(), LinuxProbe(exact_peaks=False), PsutilProbe()]
        start = [probe.read(0.0).rss_bytes for probe in probes]
        child = os.fork()
        if child == 0:
            held = bytearray(80 << 20); held[::4096] = b"x" * len(held[::4096])
            grown = [probe.read(1.0).rss_bytes - rss for probe, rss in zip(probes, start)]
            # A child starts without some of its parent's file pages, so it may gain a little less.
            assert all(60 << 20 < each < 82 << 20 for each in grown), grown
            del held
            held = bytearray(120 << 20); held[::4096] = b"x" * len(held[::4096]); del held
            reading = probes[0].read(2.0)
            assert reading.peak_rss_bytes - reading.rss_bytes > 110 << 20, reading
            assert probes[0].limit(3.0).limit_bytes > 0
            for probe in probes: probe.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        reading = probes[0].read(4.0)
        assert reading.peak_rss_bytes - start[0] < 4 << 20, reading
    """
    run_python(script)


def test_a_fork_while_a_thread_reads_leaves_no_lock_behind(exact: LinuxProbe) -> None:
    script = """
        import os, threading, time, warnings
        warnings.simplefilter("ignore")
        from memflow.memory.probe import LinuxProbe
        probe = LinuxProbe()
        stop = False
        def watch():
            while not stop: probe.read(0.0)
        threads = [threading.Thread(target=watch) for _ in range(2)]
        for thread in threads: thread.start()
        for _ in range(40):
            child = os.fork()
            if child == 0:
                probe.read(0.0); probe.limit(0.0); probe.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop = True
        for thread in threads: thread.join()
    """
    run_python(script)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change its user")
def test_after_setuid_peaks_are_sampled_without_an_error() -> None:
    # The new user cannot read the modules of this one, so all of them are loaded first.
    script = """
        import os, psutil
        from memflow.memory.probe import LinuxProbe, default_probe
        from memflow.settings import MemoryManagerSettings
        LinuxProbe().close()
        kept = LinuxProbe()
        os.setuid(65534)
        kept.read(0.0)
        kept.close()
        probe = default_probe(MemoryManagerSettings())
        assert isinstance(probe, LinuxProbe)
        assert probe.exact_peaks is False
        assert probe.read(0.0).rss_bytes > 0
        probe.close()
    """
    run_python(script)


def test_a_kernel_without_clear_refs_is_sampled(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    (tmp_path / "proc/self/clear_refs").unlink()
    probe = LinuxProbe(root=tmp_path, rlimits=no_rlimits)
    assert probe.exact_peaks is False
    tree.process(rss=50 * MIB, peak=500 * MIB)
    assert probe.read(0.0).peak_rss_bytes == 100 * MIB  # the larger of both ends
    assert probe.read(0.1).peak_rss_bytes == 50 * MIB
    probe.close()


def test_a_kernel_without_a_mark_is_sampled(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    tree.write("proc/self/status", "Name:\tx\nVmRSS:\t  1024 kB\n")
    probe = LinuxProbe(root=tmp_path, rlimits=no_rlimits)
    assert probe.exact_peaks is False
    assert probe.read(0.0).rss_bytes == 100 * MIB
    probe.close()


def test_a_reset_that_fails_midway_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = trees.v2_container(tmp_path)
    probe = LinuxProbe(root=tmp_path, rlimits=no_rlimits)
    assert probe.exact_peaks is True
    tree.process(rss=100 * MIB, peak=300 * MIB)

    def refuse(fd: int, data: bytes) -> int:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(peaks.os, "write", refuse)
    assert probe.read(0.0).peak_rss_bytes == 300 * MIB
    assert probe.exact_peaks is False
    assert probe.read(0.1).peak_rss_bytes == 100 * MIB
    probe.close()


def test_a_mark_that_is_gone_midway_falls_back(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    probe = LinuxProbe(root=tmp_path, rlimits=no_rlimits)
    tree.write("proc/self/status", "Name:\tx\n")
    assert probe.read(0.0).peak_rss_bytes == 100 * MIB
    assert probe.exact_peaks is False
    probe.close()


def test_the_mark_is_reset_by_writing_five(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    probe = LinuxProbe(root=tmp_path, rlimits=no_rlimits)
    tree.write("proc/self/clear_refs", "")
    tree.process(rss=100 * MIB, peak=300 * MIB)
    probe.read(0.0)
    assert "5" in (tmp_path / "proc/self/clear_refs").read_text()
    probe.close()


def test_closing_releases_every_descriptor_and_the_registration() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    readers = len(ledger_for()._readers)
    probes = [LinuxProbe(), LinuxProbe(exact_peaks=False), LinuxProbe(setting=MemorySize("50%"))]
    for probe in probes:
        probe.read(0.0)
        probe.limit(0.0)
    assert len(ledger_for()._readers) == readers + 3
    for probe in probes:
        probe.close()
    assert count() == before
    assert len(ledger_for()._readers) == readers


def test_descriptors_are_not_inherited_by_programs() -> None:
    probe = LinuxProbe()
    done = subprocess.run(
        ["/bin/ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True, close_fds=False
    )
    assert "statm" not in done.stdout
    assert "clear_refs" not in done.stdout
    probe.close()
