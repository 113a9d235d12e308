"""Readings: `memflow.memory.probe`; every probe against the conformance suite, and some in a real group."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memflow.memory.probe import LinuxProbe, MemoryProbe, PsutilProbe, default_probe
from memflow.settings import MemoryManagerSettings
from memflow.units import MemorySize
from tests.cgroups import MemoryGroup, memory_group
from tests.memory import fixture_trees as trees
from tests.memory.fixture_trees import MIB
from tests.memory.probe_conformance import ProbeConformance

__all__ = ["memory_group"]

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and control groups")


def no_rlimits() -> dict[str, int | None]:
    return {}


@linux
class TestLinuxProbe(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return LinuxProbe()


@linux
class TestLinuxProbeSampling(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return LinuxProbe(exact_peaks=False)


@linux
class TestLinuxProbeWithASize(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return LinuxProbe(setting=MemorySize("300MiB"))


@linux
class TestLinuxProbeWithAShare(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return LinuxProbe(setting=MemorySize("50%"))


@linux
class TestLinuxProbeUnderRlimitAs(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return LinuxProbe(rlimits=lambda: {"RLIMIT_AS": 64 * MIB})


@linux
class TestLinuxProbeUnderRlimitData(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return LinuxProbe(rlimits=lambda: {"RLIMIT_DATA": 32 * MIB})


class TestPsutilProbe(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return PsutilProbe()


class TestPsutilProbeWithASize(ProbeConformance):
    def make_probe(self) -> MemoryProbe:
        return PsutilProbe(setting=MemorySize("300MiB"))


@linux
class TestLinuxProbeInATree(ProbeConformance):
    rss_moves = False

    @pytest.fixture(autouse=True)
    def _tree(self, tmp_path: Path) -> None:
        self.tree = trees.v2_container(tmp_path)

    def make_probe(self) -> MemoryProbe:
        return LinuxProbe(root=self.tree.root, rlimits=no_rlimits)


def test_the_default_probe_follows_the_settings() -> None:
    settings = MemoryManagerSettings(limit=MemorySize("1MiB"), exact_peaks=False)
    probe = default_probe(settings)
    assert isinstance(probe, LinuxProbe if sys.platform == "linux" else PsutilProbe)
    assert probe.exact_peaks is False
    assert probe.limit(0.0).source == "setting of 1MiB"
    probe.close()


@linux
def test_the_default_probe_without_proc_is_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(LinuxProbe, "__init__", refuse)
    assert isinstance(default_probe(MemoryManagerSettings()), PsutilProbe)


def test_psutil_takes_a_setting_against_rss_and_a_share_of_ram() -> None:
    size = PsutilProbe(setting=MemorySize("10MiB"))
    reading = size.read(0.0)
    assert (reading.limit_bytes, reading.in_use_bytes) == (10 * MIB, reading.rss_bytes)
    share = PsutilProbe(setting=MemorySize("50%"))
    assert share.limit(0.0).source == "50% (setting) of host RAM"
    assert share.read(0.0).in_use_bytes != share.read(0.0).rss_bytes


Make = Callable[..., MemoryGroup]

PROBE = """
    import os, sys
    from memflow.memory.probe import LinuxProbe
    from memflow.units import MemorySize
    MIB = 1 << 20
    probe = LinuxProbe()
    limit = probe.limit(0.0)
"""


@linux
@pytest.mark.cgroup
def test_the_limit_of_a_real_group_is_found(memory_group: Make) -> None:
    group = memory_group(256 * MIB)
    shown = group.run(f"{PROBE}\n    print(limit.limit_bytes, limit.source, sep='|')")
    assert shown.strip() == f"{256 * MIB}|cgroup v{group.version} {group.limit_name} of {group.path}"


@linux
@pytest.mark.cgroup
def test_the_limit_on_a_real_parent_is_found(memory_group: Make) -> None:
    parent = memory_group(256 * MIB)
    child = memory_group(None, parent)
    shown = child.run(f"{PROBE}\n    print(limit.limit_bytes, limit.source, sep='|')")
    assert shown.strip() == f"{256 * MIB}|cgroup v{parent.version} {parent.limit_name} of {parent.path}"


@linux
@pytest.mark.cgroup
def test_page_cache_of_a_real_file_is_not_counted(memory_group: Make, tmp_path: Path) -> None:
    script = (
        PROBE
        + """
    before = probe.read(0.0).in_use_bytes
    with open(sys.argv[1], "wb") as file:
        for _ in range(40): file.write(os.urandom(MIB))
        file.flush(); os.fsync(file.fileno())
    usage = next(n for n in ("memory.current", "memory.usage_in_bytes")
                 if os.path.exists(os.path.join(os.path.dirname(os.environ["MEMFLOW_TEST_LIMIT_FILE"]), n)))
    raw = int(open(os.path.join(os.path.dirname(os.environ["MEMFLOW_TEST_LIMIT_FILE"]), usage)).read())
    after = probe.read(0.1).in_use_bytes
    print((after - before) // MIB, (raw - after) // MIB)
    """
    )
    rise, cached = map(int, memory_group(256 * MIB).run(script, str(tmp_path / "file")).split())
    assert abs(rise) <= 8
    assert cached >= 36


@linux
@pytest.mark.cgroup
def test_anonymous_memory_in_a_real_group_is_counted(memory_group: Make) -> None:
    script = (
        PROBE
        + """
    before = probe.read(0.0)
    held = bytearray(64 * MIB); held[::4096] = b"x" * len(held[::4096])
    now = probe.read(0.1, boundary=True)
    print((now.in_use_bytes - before.in_use_bytes) // MIB, now.headroom_bytes // MIB)
    del held
    print((probe.read(0.2, boundary=True).peak_rss_bytes - before.rss_bytes) // MIB)
    """
    )
    rise, headroom, peak = map(int, memory_group(256 * MIB).run(script).split())
    assert 62 <= rise <= 68
    assert 140 <= headroom <= 256 - 64
    assert 62 <= peak <= 66


@linux
@pytest.mark.cgroup
def test_a_real_limit_that_moves_is_seen(memory_group: Make) -> None:
    script = (
        PROBE
        + """
    share = LinuxProbe(setting=MemorySize("50%"))
    for size in (200, 300):
        open(os.environ["MEMFLOW_TEST_LIMIT_FILE"], "w").write(str(size * MIB))
        print(probe.read(0.1).limit_bytes // MIB, share.read(0.1).limit_bytes // MIB,
              probe.limit(1.0).limit_bytes // MIB)
    """
    )
    assert memory_group(256 * MIB).run(script).split() == ["200", "100", "200", "300", "150", "300"]


@linux
@pytest.mark.cgroup
def test_the_process_that_moves_to_another_real_group_is_followed(memory_group: Make) -> None:
    first, second = memory_group(256 * MIB), memory_group(128 * MIB)
    script = (
        PROBE
        + """
    open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
    print(probe.limit(1.0).limit_bytes // MIB, probe.read(1.1).limit_bytes // MIB)
    """
    )
    assert first.run(script, str(second.directory)).split() == ["128", "128"]
