"""What the kernel offers: `memflow.memory.features`."""

from __future__ import annotations

from pathlib import Path

from memflow.memory.features import Feature, kernel_features
from tests.memory import fixture_trees as trees


def by_name(root: Path) -> dict[str, Feature]:
    return {feature.name: feature for feature in kernel_features(root)}


def test_everything_there(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    tree.write("proc/pressure/memory", "some avg10=0.10 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00\n")
    tree.write("proc/sys/vm/overcommit_memory", "1\n")
    tree.meminfo(total=8 * trees.GIB, available=6 * trees.GIB, swap=2 * trees.GIB)
    found = by_name(tmp_path)
    assert all(feature.available for feature in found.values())
    assert found["cgroup"].detail == "v2, /"
    assert found["pressure stall information"].detail == "some avg10=0.10 avg60=0.00 avg300=0.00 total=5"
    assert found["swap"].detail == "2 GiB; it is never counted as budget"
    assert found["overcommit"].detail.startswith("1: always granted")
    assert found["oom_kill counter"].detail == "1 so far (memory.events of /)"


def test_nothing_there(tmp_path: Path) -> None:
    found = by_name(tmp_path)
    assert not any(feature.available for feature in found.values())
    assert all(feature.detail for feature in found.values())
    assert "peaks are sampled" in found["exact peaks"].detail


def test_version_1(tmp_path: Path) -> None:
    found = by_name(trees.v1_parent(tmp_path).root)
    assert found["cgroup"].detail == "v1, /batch/job/step, 3 above it"
    assert found["oom_kill counter"].detail == "3 so far (memory.oom_control of /batch/job/step)"


def test_an_unseen_path_is_said(tmp_path: Path) -> None:
    assert "cannot be seen from here" in by_name(trees.v1_unseen_path(tmp_path).root)["cgroup"].detail


def test_looking_resets_nothing(tmp_path: Path) -> None:
    trees.v2_container(tmp_path)
    kernel_features(tmp_path)
    assert (tmp_path / "proc/self/clear_refs").read_text() == ""


def test_this_machine() -> None:
    assert len({feature.name for feature in kernel_features()}) == 6
