"""What counts against the limit, reading after reading: `memflow.memory.meters`, through the probe that uses it."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memflow.memory.peaks import PeakLedger
from memflow.memory.probe import LinuxProbe
from memflow.units import MemorySize
from tests.memory import fixture_trees as trees
from tests.memory.fixture_trees import GIB, MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and control groups")


def no_rlimits() -> dict[str, int | None]:
    return {}


Open = Callable[..., LinuxProbe]


@pytest.fixture
def opened() -> Iterator[Open]:
    made: list[LinuxProbe] = []

    def make(tree: trees.FixtureTree, **options: object) -> LinuxProbe:
        made.append(LinuxProbe(root=tree.root, **{"rlimits": no_rlimits, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for probe in made:
        probe.close()


@pytest.mark.parametrize("layout", trees.LAYOUTS, ids=lambda layout: layout.build.__name__)
def test_readings_agree_with_the_limit_in_each_layout(layout: trees.Layout, tmp_path: Path, opened: Open) -> None:
    probe = opened(layout.build(tmp_path))
    for boundary in (True, False, True):
        reading = probe.read(0.0, boundary=boundary)
        assert (reading.limit_bytes, reading.in_use_bytes) == (layout.limit_bytes, layout.in_use_bytes)
        assert reading.rss_bytes == 100 * MIB


@pytest.mark.parametrize("layout", trees.LAYOUTS, ids=lambda layout: layout.build.__name__)
def test_a_glance_agrees_with_a_reading_at_a_boundary_in_each_layout(
    layout: trees.Layout, tmp_path: Path, opened: Open
) -> None:
    probe = opened(layout.build(tmp_path))
    probe.read(0.0)
    for _ in range(2):
        assert probe.glance() == probe.read(0.0, boundary=True).in_use_bytes == layout.in_use_bytes


@pytest.mark.parametrize(("cached", "asks"), [(0, False), (400 * MIB, True)])
def test_a_glance_asks_for_rss_only_where_page_cache_may_hide_what_it_gained(
    cached: int, asks: bool, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = trees.v2_container(tmp_path)
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=112 * MIB + cached, inactive=cached)
    probe = opened(tree)
    probe.read(0.0)
    tree.process(rss=350 * MIB)
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=max(112 * MIB + cached, 362 * MIB), inactive=cached)
    asked: list[bool] = []
    sample = PeakLedger.sample
    monkeypatch.setattr(PeakLedger, "sample", lambda self, **more: asked.append(True) or sample(self, **more))
    assert probe.glance() == 362 * MIB
    assert bool(asked) == asks


def test_page_cache_is_taken_from_the_last_full_reading(tmp_path: Path, opened: Open) -> None:
    tree = trees.v2_container(tmp_path)
    probe = opened(tree)
    assert probe.read(0.0).in_use_bytes == 160 * MIB
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=300 * MIB, inactive=100 * MIB)
    assert probe.read(0.1, boundary=True).in_use_bytes == 260 * MIB
    assert probe.read(0.2).in_use_bytes == 200 * MIB
    assert probe.read(0.3, boundary=True).in_use_bytes == 200 * MIB


def test_growth_is_seen_in_a_group_full_of_page_cache(tmp_path: Path, opened: Open) -> None:
    # Usage stands at the limit, since the kernel drops cache for each new page.
    tree = trees.v2_container(tmp_path)
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=512 * MIB, inactive=400 * MIB)
    probe = opened(tree)
    assert probe.read(0.0).in_use_bytes == 112 * MIB
    tree.process(rss=350 * MIB)
    assert probe.read(0.1, boundary=True).in_use_bytes == 362 * MIB


def test_a_moved_limit_is_seen_at_the_next_reading_and_at_a_glance(tmp_path: Path, opened: Open) -> None:
    tree = trees.v2_container(tmp_path)
    probe, share = opened(tree), opened(tree, setting=MemorySize("50%"))
    tree.write("sys/fs/cgroup/memory.max", 400 * MIB)
    assert probe.read(0.0).limit_bytes == 400 * MIB
    assert probe.glance() == 160 * MIB
    assert probe.read(0.1, boundary=True).limit_bytes == 400 * MIB
    tree.write("sys/fs/cgroup/memory.max", 300 * MIB)
    assert probe.glance() is None
    assert probe.read(0.1, boundary=True).limit_bytes == 300 * MIB
    assert probe.glance() == 160 * MIB
    assert share.read(0.0).limit_bytes == 150 * MIB
    tree.write("sys/fs/cgroup/memory.max", 64 * GIB)
    assert probe.read(0.2).limit_bytes == 8 * GIB  # RAM


@pytest.mark.parametrize("text", ["max\n", "", "nonsense\n"])
def test_a_limit_that_goes_away_stands_until_the_next_look_up(text: str, tmp_path: Path, opened: Open) -> None:
    tree = trees.v2_container(tmp_path)
    probe = opened(tree)
    tree.write("sys/fs/cgroup/memory.max", text)
    assert probe.read(0.0).limit_bytes == 512 * MIB
    assert probe.limit(1.0).source == "host RAM"
    assert probe.read(1.0).limit_bytes == 8 * GIB


def test_another_place_may_decide_at_the_next_look_up(tmp_path: Path, opened: Open) -> None:
    tree = trees.v2_container(tmp_path)
    probe = opened(tree)
    tree.meminfo(total=8 * GIB, available=50 * MIB)
    assert probe.limit(1.0).source == "host RAM"
    reading = probe.read(1.1)
    assert (reading.limit_bytes, reading.in_use_bytes) == (8 * GIB, 8 * GIB - 50 * MIB)


def test_boundary_readings_of_the_host_move_with_this_process(tmp_path: Path, opened: Open) -> None:
    tree = trees.no_cgroup(tmp_path)
    probe = opened(tree)
    assert probe.read(0.0).in_use_bytes == 2 * GIB
    tree.process(rss=130 * MIB)
    assert probe.read(0.1, boundary=True).in_use_bytes == 2 * GIB + 30 * MIB
    tree.meminfo(total=8 * GIB, available=5 * GIB)
    assert probe.read(0.2).in_use_bytes == 3 * GIB


def test_address_space_is_read_with_each_reading(tmp_path: Path, opened: Open) -> None:
    tree = trees.no_cgroup(tmp_path)
    size = opened(tree, rlimits=lambda: {"RLIMIT_AS": GIB})
    data = opened(tree, rlimits=lambda: {"RLIMIT_DATA": 400 * MIB})
    assert (size.read(0.0).in_use_bytes, data.read(0.0).in_use_bytes) == (600 * MIB, 300 * MIB)
    tree.process(rss=100 * MIB, size=700 * MIB, data=350 * MIB)
    for boundary in (True, False):
        assert size.read(0.1, boundary=boundary).in_use_bytes == 700 * MIB
        assert data.read(0.1, boundary=boundary).in_use_bytes == 350 * MIB


def test_a_group_that_vanishes_is_replaced_by_what_decides_then(tmp_path: Path, opened: Open) -> None:
    tree = trees.v2_nested(tmp_path)
    probe = opened(tree)
    assert probe.read(0.0).limit_bytes == GIB
    tree.write("sys/fs/cgroup/app.slice/memory.current", "")  # as a read of a removed group's file fails
    shutil.rmtree(tmp_path / "sys/fs/cgroup/app.slice")
    reading = probe.read(0.1, boundary=True)
    assert (reading.limit_bytes, reading.in_use_bytes) == (8 * GIB, 2 * GIB)


def test_use_that_turns_to_garbage_is_measured_by_rss(tmp_path: Path, opened: Open) -> None:
    tree = trees.v2_container(tmp_path)
    probe = opened(tree)
    tree.write("sys/fs/cgroup/memory.current", "garbage")
    for step in range(3):
        reading = probe.read(float(step))
        assert (reading.limit_bytes, reading.in_use_bytes) == (512 * MIB, 100 * MIB)
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=200 * MIB)
    probe.limit(5.0)
    assert probe.read(5.0).in_use_bytes == 200 * MIB


def test_out_of_descriptors_the_last_limit_stands(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = opened(trees.v2_container(tmp_path))
    first = probe.limit(0.0)

    def refuse(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert probe.limit(1.0) == first
    assert probe.read(1.1).limit_bytes == 512 * MIB
