"""Holding the holes of the heap: in a process of its own, since the heap belongs to the whole process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from memflow.memory.plugs import Plugs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds mappings on Linux only")

SCRIPT = """
    import ctypes, gc, resource
    from memflow.memory.allocator import allocator_name
    from memflow.memory.plugs import Plugs

    MB = 10**6

    def statm():
        fields = open("/proc/self/statm").read().split()
        return (int(fields[1]) * 4096, int(fields[5]) * 4096)

    junk = [b"y" * 60_000 for _ in range(2000)]
    pin = b"z" * 60_000
    del junk
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before, data = statm()
    before_limit = resource.getrlimit(resource.RLIMIT_DATA)

    def stop_growth():
        resource.setrlimit(resource.RLIMIT_DATA, (data, before_limit[1]))
        return True

    plugs = Plugs()
    plugs.take(stop_growth, most_bytes=1000 * MB)
    resource.setrlimit(resource.RLIMIT_DATA, before_limit)
    resident, grown = statm()
    print(100 * MB < plugs.bytes < 200 * MB, resident - before < 2 * MB, grown - data < 4 * MB)

    more = [b"w" * 60_000 for _ in range(1000)]
    print(statm()[1] - data > 40 * MB)  # the holes are taken: addresses of its own
    del more
    plugs.release()
    print(plugs.bytes)
    more = [b"w" * 60_000 for _ in range(1000)]
    print(statm()[1] - grown < 80 * MB)
"""


def test_the_holes_are_held_without_a_page_and_nothing_fills_them() -> None:
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT)], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines() == ["True True True", "True", "0", "True"], ran.stderr


def test_where_growth_cannot_be_stopped_nothing_is_taken() -> None:
    plugs = Plugs()
    plugs.take(lambda: False, most_bytes=1 << 30)
    assert plugs.bytes == 0
    plugs.release()
