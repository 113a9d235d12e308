"""`memflow doctor`: `memflow.cli.doctor` and `checkup`."""

from __future__ import annotations

import importlib.metadata
import json
import sys

import pytest

from memflow.cli import checkup
from memflow.cli.checkup import examine
from memflow.memory.readings import LimitCandidate, MemoryLimit
from memflow.settings import MemflowSettings
from tests.cli.conftest import Shell

GIB = 1 << 30


def test_the_text_names_the_limit_its_source_and_what_was_looked_at(shell: Shell) -> None:
    done = shell.memflow("doctor", "--memory-manager.limit", "300MiB")
    assert done.status == 0, done.err
    assert done.err == ""
    assert "limit       300 MiB, from setting" in done.out
    assert "→ setting" in done.out
    assert "host RAM" in done.out
    for word in ("in use", "peaks", "allocator", "kernel", "versions", "CPython", "anyio", "warnings"):
        assert word in done.out


def test_json_says_the_same_for_programs(shell: Shell) -> None:
    done = shell.memflow("doctor", "--json", "--memory-manager.limit", "300MiB")
    data = json.loads(done.out)
    assert done.status == 0
    assert data["limit"]["limit_bytes"] == 300 * 1024 * 1024
    assert data["limit"]["kind"] == "setting"
    assert {"host", "setting"} <= {each["kind"] for each in data["limit"]["candidates"]}
    assert data["reading"]["in_use_bytes"] > 1_000_000
    assert data["versions"]["memflow"]


def test_unknown_variables_and_settings_that_cannot_work_are_warnings(shell: Shell) -> None:
    environment = {"MEMFLOW_MEMORYMANAGER__LIMIT": "1GiB", "MEMFLOW_BATCH_PROCESSOR__CONCURRENCY": "none"}
    done = shell.memflow("doctor", environment=environment)
    assert done.status == 0, done.err
    assert "MEMFLOW_MEMORYMANAGER__LIMIT is read by nobody; did you mean MEMFLOW_MEMORY_MANAGER__LIMIT?" in done.out
    assert "`memflow run` would refuse them, and here they don't count: MEMFLOW_BATCH_PROCESSOR__CONCURR" in done.out


def test_options_that_cannot_work_are_refused(shell: Shell) -> None:
    done = shell.memflow("doctor", "--jsn")
    assert (done.status, done.out) == (2, "")
    assert "unknown option --jsn; did you mean --json?" in done.err


def test_peaks_can_be_switched_off(shell: Shell) -> None:
    done = shell.memflow("doctor", "--no-memory-manager.exact-peaks")
    assert "peaks       sampled, not exact" in done.out


def warnings_for(monkeypatch: pytest.MonkeyPatch, limit: MemoryLimit) -> str:
    class Probe:
        exact_peaks = False

        def limit(self, now_s: float) -> MemoryLimit:
            return limit

        def read(self, now_s: float) -> None:
            return None

        def close(self) -> None:
            pass

    monkeypatch.setattr(checkup, "default_probe", lambda settings: Probe())
    return "\n".join(examine(MemflowSettings()).warnings)


HOST = LimitCandidate("host", "host RAM", 16 * GIB, GIB)


def test_no_limit_below_the_host_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    told = warnings_for(monkeypatch, MemoryLimit(16 * GIB, "host RAM", "host", (HOST,)))
    assert "no limit below the machine's own memory was found" in told


def test_a_host_larger_than_the_limit_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    told = warnings_for(monkeypatch, MemoryLimit(GIB, "cgroup", "cgroup", (HOST,)))
    assert "the host has 16 GiB and the limit is 1 GiB" in told


def test_both_distributions_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    told = warnings_for(monkeypatch, MemoryLimit(GIB, "cgroup", "cgroup"))
    assert "pip uninstall -y memflow memflow-async && pip install memflow-async" in told


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_the_kernel_is_looked_at(shell: Shell) -> None:
    data = json.loads(shell.memflow("doctor", "--json").out)
    assert {"cgroup", "exact peaks", "swap"} <= {each["name"] for each in data["features"]}
