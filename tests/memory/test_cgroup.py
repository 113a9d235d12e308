"""Finding the memory groups of this process: `memflow.memory.cgroup`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memflow.memory.cgroup import Group, droppable_bytes, find_groups, stat_field
from tests.memory import fixture_trees as trees


def paths(chain: tuple[Group, ...]) -> list[str]:
    return [group.path for group in chain]


def test_every_ancestor_is_walked_on_version_1(tmp_path: Path) -> None:
    chain = find_groups(trees.v1_parent(tmp_path).root)
    assert paths(chain.groups) == ["/batch/job/step", "/batch/job", "/batch", "/"]
    assert {group.version for group in chain.groups} == {1}
    assert chain.groups[-1].directory == tmp_path / "sys/fs/cgroup/memory"
    assert chain.note == ""


def test_every_ancestor_is_walked_on_version_2(tmp_path: Path) -> None:
    chain = find_groups(trees.v2_nested(tmp_path).root)
    assert paths(chain.groups) == ["/app.slice/app@1.service", "/app.slice", "/"]
    assert {group.version for group in chain.groups} == {2}


def test_a_namespace_root_is_the_whole_chain(tmp_path: Path) -> None:
    chain = find_groups(trees.v2_container(tmp_path).root)
    assert paths(chain.groups) == ["/"]
    assert chain.groups[0].directory == tmp_path / "sys/fs/cgroup"


def test_the_mount_root_is_taken_off_the_path(tmp_path: Path) -> None:
    chain = find_groups(trees.docker_in_docker(tmp_path).root)
    assert paths(chain.groups) == ["/docker/outer/docker/inner", "/docker/outer/docker", "/docker/outer"]
    assert chain.groups[0].directory == tmp_path / "sys/fs/cgroup/memory/docker/inner"


def test_a_mount_root_is_no_mere_prefix_of_letters(tmp_path: Path) -> None:
    tree = trees.docker_in_docker(tmp_path)
    tree.own_groups("4:memory:/docker/outer2/inner")
    (tmp_path / "sys/fs/cgroup/memory/2/inner").mkdir(parents=True)
    chain = find_groups(tmp_path)
    assert paths(chain.groups) == ["/docker/outer"]
    assert "/docker/outer2/inner cannot be seen from here" in chain.note


@pytest.mark.parametrize("build", [trees.v2_above_the_namespace, trees.v1_unseen_path])
def test_a_path_that_is_not_seen_stands_for_the_mount_root(build, tmp_path: Path) -> None:
    tree = build(tmp_path)
    chain = find_groups(tree.root)
    assert len(chain.groups) == 1
    assert "cannot be seen from here" in chain.note


def test_hybrid_hosts_use_version_1_where_it_has_the_memory_controller(tmp_path: Path) -> None:
    assert find_groups(trees.v1_hybrid(tmp_path).root).groups[0].version == 1


def test_hybrid_hosts_use_version_2_where_version_1_lacks_the_memory_controller(tmp_path: Path) -> None:
    assert find_groups(trees.v2_hybrid(tmp_path).root).groups[0].version == 2


def test_octal_escapes_and_colons(tmp_path: Path) -> None:
    chain = find_groups(trees.v2_escaped_path(tmp_path).root)
    assert paths(chain.groups) == ["/my app:1", "/"]
    assert chain.groups[0].usage_path.exists()


def test_the_mount_that_shows_most_ancestors_is_taken(tmp_path: Path) -> None:
    tree = trees.hidden_mount(tmp_path)
    assert paths(find_groups(tmp_path).groups) == ["/pod/app", "/pod"]
    tree.v2("host/cgroup/pod/app")
    tree.v2("host/cgroup/pod", limit=trees.GIB)
    assert paths(find_groups(tmp_path).groups) == ["/pod/app", "/pod", "/"]


def test_of_two_mounts_at_one_place_either_leads_to_the_same_files(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    tree.mount("/", "/sys/fs/cgroup", "cgroup2")
    assert paths(find_groups(tmp_path).groups) == ["/"]


def test_a_removed_group_is_found_by_what_is_left_of_it(tmp_path: Path) -> None:
    tree = trees.v2_nested(tmp_path)
    tree.own_groups("0::/app.slice/app@1.service (deleted)")
    assert paths(find_groups(tmp_path).groups)[0] == "/app.slice/app@1.service"


def test_the_chain_ends_below_a_version_1_parent_that_does_not_count_children(tmp_path: Path) -> None:
    chain = find_groups(trees.v1_without_hierarchy(tmp_path).root)
    assert paths(chain.groups) == ["/flat/job"]
    assert "/flat does not count its children" in chain.note
    assert chain.groups[0].read_working_set() == (80 * trees.MIB, "")


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ("proc/self/cgroup", "/proc/self/cgroup: no such file"),
        ("proc/self/mountinfo", "/proc/self/mountinfo: no such file"),
    ],
)
def test_without_the_files_there_is_no_chain_and_a_reason(missing: str, note: str, tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    (tree.root / missing).unlink()
    chain = find_groups(tmp_path)
    assert (chain.groups, chain.note) == ((), note)


def test_a_directory_in_place_of_a_file_is_a_reason_too(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    (tree.root / "proc/self/cgroup").unlink()
    (tree.root / "proc/self/cgroup").mkdir()
    assert "not readable" in find_groups(tmp_path).note


def test_a_hierarchy_that_is_not_mounted_is_a_reason(tmp_path: Path) -> None:
    tree = trees.FixtureTree(tmp_path)
    tree.own_groups("4:memory:/app")
    assert "no mount shows" in find_groups(tmp_path).note
    tree.own_groups("3:cpu:/app")
    assert "names no memory group" in find_groups(tmp_path).note


def test_mounts_that_cannot_be_seen_are_named(tmp_path: Path) -> None:
    tree = trees.FixtureTree(tmp_path)
    tree.mount("/", "/sys/fs/cgroup", "cgroup2")
    chain = find_groups(tmp_path)
    assert chain.groups == ()
    assert "can be seen: /sys/fs/cgroup" in chain.note


def test_garbage_lines_are_passed_over(tmp_path: Path) -> None:
    assert paths(find_groups(trees.garbage(tmp_path).root).groups) == ["/"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(own=st.binary(max_size=200), mounts=st.binary(max_size=200))
def test_no_bytes_in_these_files_raise(own: bytes, mounts: bytes, tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::/\n" + own)
    (tmp_path / "proc/self/mountinfo").write_bytes("\n".join(tree.mounts).encode() + b"\n" + mounts)
    find_groups(tmp_path)


def test_working_set_is_use_less_inactive_page_cache(tmp_path: Path) -> None:
    group = find_groups(trees.v2_container(tmp_path).root).groups[0]
    # 200 MiB in use, 40 of them inactive and 20 active page cache.
    assert group.read_working_set() == (160 * trees.MIB, "")


def test_working_set_of_version_1_takes_children_in(tmp_path: Path) -> None:
    group = find_groups(trees.v1_container(tmp_path).root).groups[0]
    assert group.read_working_set() == (160 * trees.MIB, "")


def test_working_set_is_never_negative(tmp_path: Path) -> None:
    tree = trees.v2_container(tmp_path)
    tree.write("sys/fs/cgroup/memory.current", 30 * trees.MIB)
    assert find_groups(tmp_path).groups[0].read_working_set() == (0, "")


def test_without_memory_stat_page_cache_counts_and_that_is_said(tmp_path: Path) -> None:
    use, note = find_groups(trees.no_stat(tmp_path).root).groups[0].read_working_set()
    assert use == 200 * trees.MIB
    assert "page cache is counted as use" in note


def stat(prefix: str = "", **fields: int) -> bytes:
    return "".join(f"{prefix}{name} {count}\n" for name, count in {"cache": 1, **fields}.items()).encode()


def test_clean_page_cache_is_droppable_active_or_not() -> None:
    """A file that was read twice is active."""
    version_2 = stat(inactive_file=100, active_file=400, file_mapped=30, file_dirty=5, file_writeback=2)
    assert droppable_bytes(version_2) == 463
    version_1 = stat("total_", inactive_file=100, active_file=400, mapped_file=30, dirty=5, writeback=2)
    assert droppable_bytes(version_1, b"total_") == 463


def test_what_is_mapped_or_to_be_written_takes_nothing_from_the_inactive_part() -> None:
    assert (
        droppable_bytes(stat(inactive_file=100, active_file=40, file_mapped=90, file_dirty=1, file_writeback=0)) == 100
    )


def test_where_the_kernel_does_not_tell_all_only_the_inactive_part_is_droppable() -> None:
    assert droppable_bytes(stat(inactive_file=100, active_file=400)) == 100
    assert droppable_bytes(stat(active_file=400)) is None


def test_stat_fields_match_whole_names() -> None:
    data = b"cache 1\nxinactive_file 2\ninactive_file 3\ntotal_inactive_file 4\nrest x\n"
    assert stat_field(data, b"inactive_file") == 3
    assert stat_field(data, b"total_inactive_file") == 4
    assert stat_field(data, b"rest") is None
    assert stat_field(data, b"missing") is None
    assert stat_field(b"a 1\nlast 5", b"last") == 5


@pytest.mark.skipif(not os.path.exists("/proc/self/cgroup"), reason="this kernel has no control groups")
def test_the_real_chain_is_found_or_a_reason_is_given() -> None:
    chain = find_groups()
    assert chain.note or all(group.directory.is_dir() for group in chain.groups)
