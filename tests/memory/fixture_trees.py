"""Trees of /proc and /sys as they look on real hosts, built under a temporary directory.

Each builder takes an empty directory and returns a `FixtureTree`, in which single files can then be changed.
`LAYOUTS` has all of them, with the limit that must be found in each, where, and what counts against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 1024, 1024**2, 1024**3
V1_NONE = 9223372036854771712


class FixtureTree:
    """A root directory with /proc of a process of 100 MiB on a host of 8 GiB, 6 GiB of them available."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mounts: list[str] = ["22 1 8:1 / / rw,relatime - ext4 /dev/root rw"]
        self.meminfo(total=8 * GIB, available=6 * GIB)
        self.process(rss=100 * MIB)
        self.write("proc/self/clear_refs", "")
        self.write("proc/self/cgroup", "0::/\n")
        self.write("proc/self/mountinfo", self.mounts[0] + "\n")

    def write(self, path: str, text: str | int) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{text}\n" if isinstance(text, int) else text)
        return target

    def meminfo(self, *, total: int, available: int | None, swap: int = 0) -> None:
        lines = [("MemTotal", total), ("MemFree", total // 8), ("MemAvailable", available), ("SwapTotal", swap)]
        self.write("proc/meminfo", "".join(f"{k + ':':<16}{v // KIB:>8} kB\n" for k, v in lines if v is not None))

    def process(
        self, *, rss: int, peak: int | None = None, size: int = 600 * MIB, data: int = 300 * MIB, stack: int = MIB
    ) -> None:
        pages = [size // 4096, rss // 4096, 2000, 1, 0, (data + stack) // 4096, 0]
        self.write("proc/self/statm", " ".join(map(str, pages)) + "\n")
        fields = {"VmSize": size, "VmHWM": peak or rss, "VmRSS": rss, "VmData": data, "VmStk": stack}
        text = "".join(f"{k}:\t{v // KIB:>8} kB\n" for k, v in fields.items())
        # A process may call itself anything; its name comes first.
        self.write("proc/self/status", f"Name:\tVmRSS: 7 kB\nUmask:\t0022\n{text}Threads:\t4\n")

    def own_groups(self, *lines: str) -> None:
        self.write("proc/self/cgroup", "".join(line + "\n" for line in lines))

    def mount(self, group: str, point: str, kind: str, options: str = "rw") -> None:
        number = 30 + len(self.mounts)
        self.mounts.append(f"{number} 22 0:{number} {group} {point} rw,nosuid shared:9 - {kind} {kind} {options}")
        self.write("proc/self/mountinfo", "\n".join(self.mounts) + "\n")

    def v2(
        self,
        directory: str,
        *,
        limit: int | str = "max",
        high: int | str = "max",
        use: int = 0,
        inactive: int = 0,
        active_file: int = 0,
    ) -> None:
        self.write(f"{directory}/memory.max", f"{limit}\n")
        self.write(f"{directory}/memory.high", f"{high}\n")
        self.write(f"{directory}/memory.low", "1048576\n")
        self.write(f"{directory}/memory.current", use)
        self.write(f"{directory}/memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n")
        anon = use - inactive - active_file
        stat = f"anon {anon}\nfile {inactive + active_file}\ninactive_anon 0\nactive_anon {anon}\n"
        self.write(f"{directory}/memory.stat", f"{stat}inactive_file {inactive}\nactive_file {active_file}\n")

    def v1(self, directory: str, *, limit: int = V1_NONE, use: int = 0, inactive: int = 0, hierarchy: int = 1) -> None:
        self.write(f"{directory}/memory.limit_in_bytes", limit)
        self.write(f"{directory}/memory.soft_limit_in_bytes", 4096)
        self.write(f"{directory}/memory.memsw.limit_in_bytes", 8192)
        self.write(f"{directory}/memory.usage_in_bytes", use)
        self.write(f"{directory}/memory.use_hierarchy", hierarchy)
        self.write(f"{directory}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
        own = f"cache {inactive}\nrss {use - inactive}\ninactive_file {inactive // 2}\nactive_file 0\n"
        total = f"total_cache {inactive}\ntotal_rss {use - inactive}\ntotal_inactive_file {inactive}\n"
        self.write(f"{directory}/memory.stat", own + (total if hierarchy else ""))


def v2_container(root: Path) -> FixtureTree:
    """A container with its own cgroup namespace: it sees its group as the root."""
    tree = FixtureTree(root)
    tree.mount("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate,memory_recursiveprot")
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=200 * MIB, inactive=40 * MIB, active_file=20 * MIB)
    return tree


def v2_nested(root: Path) -> FixtureTree:
    """A systemd service whose slice holds the limit; the root group has no memory files."""
    tree = FixtureTree(root)
    tree.own_groups("0::/app.slice/app@1.service")
    tree.mount("/", "/sys/fs/cgroup", "cgroup2")
    tree.write("sys/fs/cgroup/cgroup.procs", "")
    tree.v2("sys/fs/cgroup/app.slice", limit=GIB, use=700 * MIB, inactive=100 * MIB)
    tree.v2("sys/fs/cgroup/app.slice/app@1.service", limit=2 * GIB, use=300 * MIB)
    return tree


def v2_high(root: Path) -> FixtureTree:
    """memory.high, from which the kernel throttles, below memory.max."""
    tree = v2_container(root)
    tree.v2("sys/fs/cgroup", limit=512 * MIB, high=384 * MIB, use=200 * MIB, inactive=40 * MIB)
    return tree


def v2_parent_nearly_full(root: Path) -> FixtureTree:
    """The least limit is the child's, the least headroom the parent's: neighbours fill it."""
    tree = FixtureTree(root)
    tree.own_groups("0::/pod/app")
    tree.mount("/", "/sys/fs/cgroup", "cgroup2")
    tree.v2("sys/fs/cgroup/pod", limit=GIB, use=1000 * MIB)
    tree.v2("sys/fs/cgroup/pod/app", limit=512 * MIB, use=200 * MIB)
    return tree


def v2_escaped_path(root: Path) -> FixtureTree:
    """A mount point and a group with spaces, which mountinfo writes as octal escapes."""
    tree = FixtureTree(root)
    tree.own_groups("0::/my app:1")
    tree.mount("/", "/mnt/c\\040groups\\134x", "cgroup2")
    tree.v2("mnt/c groups\\x/my app:1", limit=256 * MIB, use=10 * MIB)
    return tree


def v2_above_the_namespace(root: Path) -> FixtureTree:
    """The process was moved out of its namespace's root: the kernel shows `/..`."""
    tree = v2_container(root)
    tree.own_groups("0::/../neighbour")
    return tree


def v2_host_mount_in_a_namespace(root: Path) -> FixtureTree:
    """The host's mount, seen from inside of a namespace: its root is shown as `/../..`."""
    tree = FixtureTree(root)
    tree.own_groups("0::/")
    tree.mount("/../..", "/sys/fs/cgroup", "cgroup2")
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=160 * MIB)
    return tree


def v1_container(root: Path) -> FixtureTree:
    """Version 1, Docker without a cgroup namespace: the mount shows the container's own group only."""
    tree = FixtureTree(root)
    tree.own_groups("9:name=systemd:/docker/abc", "4:memory:/docker/abc", "1:cpu,cpuacct:/docker/abc")
    tree.mount("/docker/abc", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
    tree.mount("/docker/abc", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")
    tree.v1("sys/fs/cgroup/memory", limit=512 * MIB, use=200 * MIB, inactive=40 * MIB)
    return tree


def v1_hybrid(root: Path) -> FixtureTree:
    """Version 1 with version 2 mounted beside it: memory is version 1's."""
    tree = FixtureTree(root)
    tree.own_groups("4:memory:/app", "1:name=systemd:/app", "0::/app")
    tree.mount("/", "/sys/fs/cgroup/unified", "cgroup2")
    tree.mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")
    tree.write("sys/fs/cgroup/unified/app/cgroup.procs", "")
    tree.v1("sys/fs/cgroup/memory", use=3 * GIB)
    tree.v1("sys/fs/cgroup/memory/app", limit=768 * MIB, use=100 * MIB)
    return tree


def v2_hybrid(root: Path) -> FixtureTree:
    """Version 1 controllers beside version 2, which has the memory controller."""
    tree = FixtureTree(root)
    tree.own_groups("2:freezer:/app", "0::/app")
    tree.mount("/", "/sys/fs/cgroup/freezer", "cgroup", "rw,freezer")
    tree.mount("/", "/sys/fs/cgroup/unified", "cgroup2")
    tree.v2("sys/fs/cgroup/unified/app", limit=768 * MIB, use=100 * MIB)
    return tree


def v1_parent(root: Path) -> FixtureTree:
    """Version 1 with the limit two levels up."""
    tree = FixtureTree(root)
    tree.own_groups("4:memory:/batch/job/step")
    tree.mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")
    tree.v1("sys/fs/cgroup/memory", use=4 * GIB)
    tree.v1("sys/fs/cgroup/memory/batch", limit=GIB, use=500 * MIB, inactive=100 * MIB)
    tree.v1("sys/fs/cgroup/memory/batch/job", use=450 * MIB)
    tree.v1("sys/fs/cgroup/memory/batch/job/step", use=110 * MIB)
    return tree


def v1_without_hierarchy(root: Path) -> FixtureTree:
    """Version 1 before kernel 5.11: a parent that is not charged for its children."""
    tree = FixtureTree(root)
    tree.own_groups("4:memory:/flat/job")
    tree.mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")
    tree.v1("sys/fs/cgroup/memory", hierarchy=0)
    tree.v1("sys/fs/cgroup/memory/flat", limit=MIB, use=MIB, hierarchy=0)
    tree.v1("sys/fs/cgroup/memory/flat/job", limit=512 * MIB, use=100 * MIB, inactive=40 * MIB, hierarchy=0)
    return tree


def docker_in_docker(root: Path) -> FixtureTree:
    """A container in a container on version 1: the mount's root is the outer group, the path goes on below it."""
    tree = FixtureTree(root)
    tree.own_groups("4:memory:/docker/outer/docker/inner")
    tree.mount("/docker/outer", "/sys/fs/cgroup/memory", "cgroup", "rw,memory")
    tree.v1("sys/fs/cgroup/memory", limit=512 * MIB, use=450 * MIB)
    tree.v1("sys/fs/cgroup/memory/docker/inner", limit=256 * MIB, use=100 * MIB)
    return tree


def v1_unseen_path(root: Path) -> FixtureTree:
    """The kernel names a group that is not in the mount: the mount's root stands for it."""
    tree = v1_container(root)
    tree.own_groups("4:memory:/kubepods/pod1/abc")
    return tree


def hidden_mount(root: Path) -> FixtureTree:
    """Two mounts show the group; the one that shows more ancestors is hidden by a later mount above it."""
    tree = FixtureTree(root)
    tree.own_groups("0::/pod/app")
    tree.mount("/", "/host/cgroup", "cgroup2")
    tree.mount("/pod", "/sys/fs/cgroup", "cgroup2")
    tree.v2("sys/fs/cgroup", limit=512 * MIB, use=100 * MIB)
    tree.v2("sys/fs/cgroup/app", use=50 * MIB)
    return tree


def limit_zero(root: Path) -> FixtureTree:
    """0 is a limit."""
    tree = v2_container(root)
    tree.v2("sys/fs/cgroup", limit=0, use=4 * MIB)
    return tree


def more_than_ram(root: Path) -> FixtureTree:
    """A limit larger than RAM is no licence to use more than there is; here others hold little of it."""
    tree = v2_container(root)
    tree.meminfo(total=8 * GIB, available=7 * GIB)
    tree.v2("sys/fs/cgroup", limit=64 * GIB, use=2 * GIB)
    return tree


def host_nearly_full(root: Path) -> FixtureTree:
    """The group has room; the host has not."""
    tree = v2_container(root)
    tree.meminfo(total=8 * GIB, available=100 * MIB)
    return tree


def no_cgroup(root: Path) -> FixtureTree:
    """A kernel without control groups."""
    tree = FixtureTree(root)
    (root / "proc/self/cgroup").unlink()
    return tree


def unlimited(root: Path) -> FixtureTree:
    """Groups everywhere, limits nowhere."""
    tree = v2_container(root)
    tree.v2("sys/fs/cgroup", use=200 * MIB)
    return tree


def garbage(root: Path) -> FixtureTree:
    """Files that hold nonsense are passed over."""
    tree = v2_container(root)
    tree.write("proc/self/cgroup", "\n:\n0:\nnonsense\n0::relative\n0::/\n\x01\xff::\n")
    tree.write("proc/self/mountinfo", "\n - \nshort line\n" + "\n".join(tree.mounts) + "\n1 2 3 4 - cgroup2\n")
    tree.write("sys/fs/cgroup/memory.max", "-5 elephants\n")
    tree.write("sys/fs/cgroup/memory.high", "")
    return tree


def garbage_use(root: Path) -> FixtureTree:
    """A limit without a use: what this process holds is the least that is in use."""
    tree = v2_container(root)
    tree.write("sys/fs/cgroup/memory.current", "?\n")
    return tree


def no_stat(root: Path) -> FixtureTree:
    """Use without memory.stat: page cache cannot be told apart."""
    tree = v2_container(root)
    (root / "sys/fs/cgroup/memory.stat").unlink()
    return tree


@dataclass(frozen=True, slots=True)
class Layout:
    """A builder, and what must be found in its tree."""

    build: Callable[[Path], FixtureTree]
    limit_bytes: int
    source: str
    in_use_bytes: int


HOST_USE = 2 * GIB
LAYOUTS = [
    Layout(v2_container, 512 * MIB, "cgroup v2 memory.max of /", 160 * MIB),
    Layout(v2_nested, GIB, "cgroup v2 memory.max of /app.slice", 600 * MIB),
    Layout(v2_high, 384 * MIB, "cgroup v2 memory.high of /", 160 * MIB),
    Layout(v2_parent_nearly_full, GIB, "cgroup v2 memory.max of /pod", 1000 * MIB),
    Layout(v2_escaped_path, 256 * MIB, "cgroup v2 memory.max of /my app:1", 10 * MIB),
    Layout(v2_above_the_namespace, 512 * MIB, "cgroup v2 memory.max of /", 160 * MIB),
    Layout(v2_host_mount_in_a_namespace, 512 * MIB, "cgroup v2 memory.max of /sys/fs/cgroup", 160 * MIB),
    Layout(v1_container, 512 * MIB, "cgroup v1 memory.limit_in_bytes of /docker/abc", 160 * MIB),
    Layout(v1_hybrid, 768 * MIB, "cgroup v1 memory.limit_in_bytes of /app", 100 * MIB),
    Layout(v2_hybrid, 768 * MIB, "cgroup v2 memory.max of /app", 100 * MIB),
    Layout(v1_parent, GIB, "cgroup v1 memory.limit_in_bytes of /batch", 400 * MIB),
    Layout(v1_without_hierarchy, 512 * MIB, "cgroup v1 memory.limit_in_bytes of /flat/job", 80 * MIB),
    Layout(docker_in_docker, 512 * MIB, "cgroup v1 memory.limit_in_bytes of /docker/outer", 450 * MIB),
    Layout(v1_unseen_path, 512 * MIB, "cgroup v1 memory.limit_in_bytes of /docker/abc", 160 * MIB),
    Layout(hidden_mount, 512 * MIB, "cgroup v2 memory.max of /pod", 100 * MIB),
    Layout(limit_zero, 0, "cgroup v2 memory.max of /", 4 * MIB),
    Layout(more_than_ram, 8 * GIB, "cgroup v2 memory.max of /", 2 * GIB),
    Layout(host_nearly_full, 8 * GIB, "host RAM", 8 * GIB - 100 * MIB),
    Layout(no_cgroup, 8 * GIB, "host RAM", HOST_USE),
    Layout(unlimited, 8 * GIB, "host RAM", HOST_USE),
    Layout(garbage, 8 * GIB, "host RAM", HOST_USE),
    Layout(garbage_use, 512 * MIB, "cgroup v2 memory.max of /", 100 * MIB),
    Layout(no_stat, 512 * MIB, "cgroup v2 memory.max of /", 200 * MIB),
]
