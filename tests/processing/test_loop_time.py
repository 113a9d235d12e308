"""What the loop's thread spends its time on: `memflow.processing.loop_time`."""

import os
import sys
import threading
import time

import pytest

from memflow.processing.loop_time import LoopClock

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@linux
def test_running_and_waiting_are_most_of_a_busy_threads_time() -> None:
    clock = LoopClock()
    before, began_s = clock.read(), time.perf_counter()
    while time.perf_counter() < began_s + 0.2:
        pass
    after, lasted_s = clock.read(), time.perf_counter() - began_s
    clock.close()
    assert after.ran_s > before.ran_s
    spent_s = after.ran_s - before.ran_s + after.waited_s - before.waited_s
    assert 0.5 * lasted_s < spent_s < 1.5 * lasted_s


@linux
def test_sleeping_is_neither() -> None:
    clock = LoopClock()
    before = clock.read()
    time.sleep(0.2)
    after = clock.read()
    clock.close()
    assert after.ran_s - before.ran_s < 0.1


@linux
def test_it_keeps_one_descriptor_until_it_is_closed() -> None:
    clock, before = LoopClock(), open_descriptors()
    clock.read()
    clock.read()
    assert open_descriptors() == before + 1
    clock.close()
    clock.close()
    assert open_descriptors() == before
    assert clock.read().waited_s == 0.0
    assert open_descriptors() == before


@pytest.mark.parametrize("fault", [OSError("no such file"), b"", b"12", b"a b c"])
def test_where_the_kernel_does_not_tell_waiting_is_nothing(monkeypatch: pytest.MonkeyPatch, fault: object) -> None:
    def pread(*_: object) -> bytes:
        if isinstance(fault, bytes):
            return fault
        raise OSError("gone")

    def refuse(*_: object) -> int:
        raise OSError("no such file")

    clock = LoopClock()
    if isinstance(fault, OSError):
        monkeypatch.setattr("memflow.processing.loop_time.os.open", refuse)
    else:
        monkeypatch.setattr("memflow.processing.loop_time.os.pread", pread)
    assert clock.read().waited_s == 0.0
    assert clock.read().waited_s == 0.0
    clock.close()


def test_the_thread_is_the_one_that_asks() -> None:
    clock, found = LoopClock(), []
    busy = threading.Thread(target=lambda: found.append(clock.read()))
    busy.start()
    busy.join()
    clock.close()
    assert found[0].ran_s < time.process_time() + 1
