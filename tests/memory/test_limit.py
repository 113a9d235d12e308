"""The effective limit: `memflow.memory.limit`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.limit import Bound, decide, read_rlimits, resolve_limit
from memflow.memory.readings import LimitCandidate
from memflow.units import MemorySize
from tests.memory import fixture_trees as trees
from tests.memory.fixture_trees import GIB, LAYOUTS, MIB, Layout


def no_rlimits() -> dict[str, int | None]:
    return {}


def candidate_of(tree: trees.FixtureTree, source: str, **options: object) -> LimitCandidate:
    found = resolve_limit(root=tree.root, **{"rlimits": no_rlimits, **options}).limit  # type: ignore[arg-type]
    return next(each for each in found.candidates if each.source.startswith(source))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.build.__name__)
def test_each_layout(layout: Layout, tmp_path: Path) -> None:
    tree = layout.build(tmp_path)
    found = resolve_limit(root=tree.root, rlimits=no_rlimits)
    assert (found.limit.limit_bytes, found.limit.source) == (layout.limit_bytes, layout.source)
    assert found.deciding.candidate.in_use_bytes == layout.in_use_bytes
    assert found.deciding.candidate in found.limit.candidates


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.build.__name__)
def test_a_small_setting_decides_in_each_layout_but_zero(layout: Layout, tmp_path: Path) -> None:
    tree = layout.build(tmp_path)
    found = resolve_limit(root=tree.root, setting=MemorySize("101MiB"), rlimits=no_rlimits)
    # A setting is measured against RSS, which leaves 1 MiB of it.
    if layout.build is trees.limit_zero:
        assert found.limit.kind == "cgroup"
    else:
        assert (found.limit.kind, found.limit.limit_bytes) == ("setting", 101 * MIB)
        assert found.deciding.candidate.in_use_bytes == 100 * MIB
        assert found.limit.source == "setting of 101MiB"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.build.__name__)
def test_a_share_is_of_what_is_detected_and_measured_like_it(layout: Layout, tmp_path: Path) -> None:
    tree = layout.build(tmp_path)
    found = resolve_limit(root=tree.root, setting=MemorySize("80%"), rlimits=no_rlimits)
    assert found.limit.limit_bytes == layout.limit_bytes * 4 // 5
    assert found.limit.source == f"80% (setting) of {layout.source}"
    assert found.limit.kind == "setting"
    assert found.deciding.candidate.in_use_bytes == layout.in_use_bytes


def test_a_detected_limit_with_less_headroom_beats_the_setting(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    found = resolve_limit(root=tree.root, setting=MemorySize("2GiB"), rlimits=no_rlimits)
    assert found.limit.source == "cgroup v2 memory.max of /"
    assert found.limit.candidates[0].limit_bytes == 2 * GIB


def test_every_place_is_listed(tmp_path: Path) -> None:
    tree = trees.v2_nested(tmp_path)
    found = resolve_limit(root=tree.root, setting=MemorySize("4GiB"), rlimits=no_rlimits)
    assert [each.source for each in found.limit.candidates] == [
        "setting of 4GiB",
        "cgroup v2 memory.max of /app.slice/app@1.service",
        "cgroup v2 memory.high of /app.slice/app@1.service",
        "cgroup v2 memory.max of /app.slice",
        "cgroup v2 memory.high of /app.slice",
        "cgroup v2 memory.max of /",
        "cgroup v2 memory.high of /",
        "RLIMIT_AS (address space)",
        "RLIMIT_DATA (private writable address space)",
        "host RAM",
    ]
    assert [each.limit_bytes for each in found.limit.candidates[1:4]] == [2 * GIB, None, GIB]


def test_memory_low_and_version_1_soft_and_swap_limits_are_no_limits(tmp_path: Path) -> None:
    for build in (trees.v2_container, trees.v1_container):
        tree = build(tmp_path / build.__name__)
        sources = [each.source for each in resolve_limit(root=tree.root, rlimits=no_rlimits).limit.candidates]
        assert not any("low" in source or "soft" in source or "memsw" in source for source in sources)


@pytest.mark.parametrize("page_bytes", [4096, 16384, 65536])
def test_version_1_shows_none_as_a_large_number_that_depends_on_the_page_size(page_bytes: int, tmp_path: Path) -> None:
    tree = trees.v1_container(tmp_path)
    tree.v1("sys/fs/cgroup/memory", limit=(2**63 - 1) // page_bytes * page_bytes)
    assert candidate_of(tree, "cgroup v1").limit_bytes is None


def test_swap_is_no_budget(tmp_path: Path) -> None:
    tree = trees.no_cgroup(tmp_path)
    tree.meminfo(total=8 * GIB, available=6 * GIB, swap=32 * GIB)
    assert resolve_limit(root=tree.root, rlimits=no_rlimits).limit.limit_bytes == 8 * GIB


def test_resource_limits_are_measured_in_address_space(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    by_size = resolve_limit(root=tree.root, rlimits=lambda: {"RLIMIT_AS": 700 * MIB, "RLIMIT_DATA": None})
    assert (by_size.limit.kind, by_size.limit.limit_bytes) == ("rlimit", 700 * MIB)
    assert by_size.limit.source.startswith("RLIMIT_AS")
    assert by_size.deciding.candidate.in_use_bytes == 600 * MIB
    by_data = resolve_limit(root=tree.root, rlimits=lambda: {"RLIMIT_AS": None, "RLIMIT_DATA": 350 * MIB})
    assert by_data.limit.source.startswith("RLIMIT_DATA")
    assert by_data.deciding.candidate.in_use_bytes == 300 * MIB


def test_resource_limits_are_not_capped_at_ram(tmp_path: Path) -> None:
    tree = trees.no_cgroup(tmp_path)
    tree.process(rss=100 * MIB, size=20 * GIB)
    found = candidate_of(tree, "RLIMIT_AS", rlimits=lambda: {"RLIMIT_AS": 21 * GIB})
    assert (found.limit_bytes, found.in_use_bytes) == (21 * GIB, 20 * GIB)


def test_a_limit_above_ram_is_capped_and_that_is_said(tmp_path: Path) -> None:
    tree = trees.more_than_ram(tmp_path)
    found = candidate_of(tree, "cgroup v2 memory.max")
    assert found.limit_bytes == 8 * GIB
    assert "more than the host's RAM" in found.note
    assert candidate_of(tree, "setting", setting=MemorySize("9GiB")).limit_bytes == 8 * GIB


@pytest.mark.parametrize(
    ("build", "source", "note"),
    [
        (trees.no_cgroup, "cgroup", "/proc/self/cgroup: no such file"),
        (trees.garbage, "cgroup v2 memory.max", "holds b'-5 elephants', which is no size"),
        (trees.garbage, "cgroup v2 memory.high", "holds b'', which is no size"),
        (trees.garbage_use, "cgroup v2 memory.max", "memory.current: holds b'?'"),
        (trees.no_stat, "cgroup v2 memory.max", "page cache is counted as use (memory.stat: no such file)"),
        (trees.v1_unseen_path, "cgroup v1", "cannot be seen from here"),
    ],
)
def test_what_cannot_be_read_is_noted(build, source: str, note: str, tmp_path: Path) -> None:
    assert note in candidate_of(build(tmp_path), source).note


def test_an_unreadable_limit_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = trees.v2_container(tmp_path)
    fail(monkeypatch, "memory.max", errno.EACCES)
    found = resolve_limit(root=tree.root, rlimits=no_rlimits)
    assert found.limit.source == "host RAM"
    assert candidate_of(tree, "cgroup v2 memory.max").note == "not readable (Permission denied)"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_being_out_of_descriptors_is_not_taken_for_no_limit(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = trees.v2_container(tmp_path)
    fail(monkeypatch, "memory.max", number)
    with pytest.raises(OSError, match=os.strerror(number)):
        resolve_limit(root=tree.root, rlimits=no_rlimits)


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Make every file of this name fail with this error; permissions alone don't stop root."""
    original = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == name:
            raise OSError(number, os.strerror(number))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


def test_without_mem_available_free_memory_is_taken(tmp_path: Path) -> None:
    tree = trees.no_cgroup(tmp_path)
    tree.meminfo(total=8 * GIB, available=None)
    found = candidate_of(tree, "host RAM")
    assert found.in_use_bytes == 7 * GIB
    assert "page cache is counted" in found.note


def test_without_meminfo_ram_comes_from_sysconf(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    (tmp_path / "proc/meminfo").unlink()
    found = candidate_of(tree, "host RAM")
    assert found.limit_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.in_use_bytes == 100 * MIB
    assert "sysconf" in found.note


def test_nothing_at_all_still_gives_a_limit(tmp_path: Path) -> None:
    found = resolve_limit(root=tmp_path, rlimits=no_rlimits)
    assert found.limit.kind == "host"
    assert found.limit.limit_bytes > 0


def test_real_resource_limits_are_read() -> None:
    assert set(read_rlimits()) == {"RLIMIT_AS", "RLIMIT_DATA"}


def test_the_real_limit_is_positive_and_has_a_source() -> None:
    found = resolve_limit()
    assert found.limit.limit_bytes >= 0
    assert found.limit.source
    assert found.limit.candidates


sizes = st.integers(0, 2**45)
bounds = st.lists(
    st.builds(
        lambda limit, use: Bound(LimitCandidate("cgroup", f"{limit}/{use}", limit, use), "group"),
        st.none() | sizes,
        sizes,
    ),
    max_size=6,
).map(lambda found: [*found, Bound(LimitCandidate("host", "host RAM", 2**35, 2**30), "host")])


@given(bounds, st.none() | sizes.map(MemorySize), sizes)
def test_none_has_less_headroom_than_the_one_that_decides(found: list[Bound], setting: MemorySize, rss: int) -> None:
    decided = decide(found, setting=setting, rss_bytes=rss, ram_bytes=2**35)
    headrooms = [each.headroom_bytes for each in decided.limit.candidates if each.headroom_bytes is not None]
    assert decided.deciding.candidate.headroom_bytes == min(headrooms)
    assert len(decided.limit.candidates) == len(found) + (setting is not None)


@given(bounds, st.integers(1, 100), sizes)
def test_a_share_never_leaves_more_than_what_it_is_a_share_of(found: list[Bound], percent: int, rss: int) -> None:
    whole = decide(found, setting=None, rss_bytes=rss, ram_bytes=2**35)
    share = decide(found, setting=MemorySize(f"{percent}%"), rss_bytes=rss, ram_bytes=2**35)
    assert share.limit.limit_bytes <= whole.limit.limit_bytes
    assert share.limit.kind == "setting"
