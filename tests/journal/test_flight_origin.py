"""What the kernel says about a record's process, boot and group: `memflow.journal.flight_origin`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from memflow.journal.autopsy import Aftermath
from memflow.journal.flight_format import FlightHeader
from memflow.journal.flight_origin import is_alive, read_aftermath, read_origin


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {
    "proc/self/cgroup": "0::/app\n",
    "proc/self/mountinfo": "30 1 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "proc/sys/kernel/random/boot_id": "b-1\n",
    "proc/vmstat": "nr_free_pages 1\noom_kill 7\n",
    "sys/fs/cgroup/app/memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n",
    "sys/fs/cgroup/app/memory.max": "268435456\n",
    "sys/fs/cgroup/app/memory.high": "max\n",
}
V1 = {
    "proc/self/cgroup": "4:memory:/app\n",
    "proc/self/mountinfo": "30 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    "proc/sys/kernel/random/boot_id": "b-1\n",
    "proc/vmstat": "oom_kill 7\n",
    "sys/fs/cgroup/memory/app/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "sys/fs/cgroup/memory/app/memory.limit_in_bytes": "268435456\n",
}


def header_from(root: Path) -> FlightHeader:
    return FlightHeader("embed", False, 0.0, 0.0, 0, "", "", read_origin(root))


@pytest.mark.parametrize(("files", "version"), [(V1, 1), (V2, 2)])
def test_the_counters_of_both_versions_are_read(tmp_path: Path, files: dict[str, str], version: int) -> None:
    header = header_from(tree(tmp_path, files))
    origin = header.origin
    assert (origin.group_path, origin.group_version, origin.boot_id) == ("/app", version, "b-1")
    assert (origin.oom_kills, origin.machine_oom_kills) == (2, 7)
    assert read_aftermath(header, tmp_path) == Aftermath(True, True, 2, 7, 256 << 20)


def test_another_boot_or_host_tells_nothing(tmp_path: Path) -> None:
    header = header_from(tree(tmp_path, V2))
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b-2\n")
    assert read_aftermath(header, tmp_path) == Aftermath()
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b-1\n")
    assert read_aftermath(header, tmp_path).same_boot
    moved = replace(header, origin=replace(header.origin, host="elsewhere.invalid"))
    assert read_aftermath(moved, tmp_path) == Aftermath()


def test_a_later_group_of_that_name_is_another(tmp_path: Path) -> None:
    header = header_from(tree(tmp_path, V2))
    other = replace(header, origin=replace(header.origin, group_inode=header.origin.group_inode + 1))
    assert read_aftermath(other, tmp_path) == Aftermath(same_boot=True, machine_oom_kills=7)


def test_a_machine_without_proc_knows_little(tmp_path: Path) -> None:
    origin = read_origin(tmp_path)
    assert (origin.group_version, origin.oom_kills, origin.machine_oom_kills, origin.boot_id) == (0, None, None, "")


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    assert is_alive(read_origin())
    assert not is_alive(replace(read_origin(), started="1"))


@pytest.mark.skipif(sys.platform == "win32", reason="no processes that are dead and still listed")
def test_a_dead_child_that_nobody_has_asked_for_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        stat = Path(f"/proc/{child.pid}/stat")
        if not stat.exists():
            pytest.skip("no /proc here")
        started = stat.read_text().rpartition(")")[2].split()[19]
        origin = replace(read_origin(), pid=child.pid, started=started)
        assert is_alive(origin)
        child.kill()
        while ") Z " not in stat.read_text():
            pass
        assert not is_alive(origin)
