"""What every `MemoryProbe` must do, whatever it reads.

class TestMyProbe(ProbeConformance):
    def make_probe(self):
        return MyProbe()
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from memflow.exceptions import MemflowError
from memflow.memory.probe import MemoryProbe
from memflow.memory.readings import MemoryReading


class ProbeConformance:
    """Inherit and override `make_probe`; `rss_moves` is for probes whose figures follow this very process."""

    rss_moves = True

    def make_probe(self) -> MemoryProbe:
        raise NotImplementedError

    @pytest.fixture
    def probe(self) -> Iterator[MemoryProbe]:
        probe = self.make_probe()
        yield probe
        probe.close()

    @pytest.mark.parametrize("boundary", [False, True])
    def test_a_reading_makes_sense(self, probe: MemoryProbe, boundary: bool) -> None:
        reading = probe.read(12.5, boundary=boundary)
        assert isinstance(reading, MemoryReading)
        assert reading.time_s == 12.5
        assert 0 < reading.rss_bytes <= reading.peak_rss_bytes
        assert reading.in_use_bytes >= 0
        assert reading.limit_bytes >= 0

    def test_figures_are_whole_bytes(self, probe: MemoryProbe) -> None:
        reading = probe.read(0.0)
        for name in ("rss_bytes", "peak_rss_bytes", "in_use_bytes", "limit_bytes"):
            assert type(getattr(reading, name)) is int

    def test_a_boundary_reading_may_come_first(self) -> None:
        probe = self.make_probe()
        first = probe.read(0.0, boundary=True)
        second = probe.read(0.1)
        assert first.limit_bytes == second.limit_bytes
        probe.close()

    def test_exact_peaks_is_a_bool(self, probe: MemoryProbe) -> None:
        assert isinstance(probe.exact_peaks, bool)

    def test_the_limit_has_a_source_and_the_reading_agrees(self, probe: MemoryProbe) -> None:
        limit = probe.limit(0.0)
        assert limit.source
        assert limit.kind in {"setting", "cgroup", "rlimit", "host"}
        assert probe.read(0.1).limit_bytes == limit.limit_bytes

    def test_the_limit_can_be_asked_again_and_again(self, probe: MemoryProbe) -> None:
        assert len({probe.limit(float(n)).source for n in range(5)}) == 1
        assert probe.read(9.0).rss_bytes > 0

    def test_closing_twice_is_fine(self, probe: MemoryProbe) -> None:
        probe.close()
        probe.close()

    def test_a_closed_probe_says_so(self, probe: MemoryProbe) -> None:
        probe.close()
        with pytest.raises(MemflowError, match="closed"):
            probe.read(0.0)
        with pytest.raises(MemflowError, match="closed"):
            probe.limit(0.0)

    def test_closing_one_leaves_another_working(self, probe: MemoryProbe) -> None:
        other = self.make_probe()
        other.close()
        assert probe.read(0.0).rss_bytes > 0

    def test_several_threads_may_use_it(self, probe: MemoryProbe) -> None:
        failures: list[BaseException] = []

        def use(number: int) -> None:
            try:
                for step in range(100):
                    reading = probe.read(float(step), boundary=step % 3 > 0)
                    assert reading.peak_rss_bytes >= reading.rss_bytes
                    if step % 40 == number:
                        probe.limit(float(step))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_memory_that_is_held_is_seen(self, probe: MemoryProbe) -> None:
        if not self.rss_moves:
            return
        before = probe.read(0.0)
        held = bytearray(b"x") * (32 * 1024 * 1024)
        during = probe.read(0.1)
        assert during.rss_bytes - before.rss_bytes > 24 * 1024 * 1024
        assert during.peak_rss_bytes >= during.rss_bytes
        assert len(held) > 0
