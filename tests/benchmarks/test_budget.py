"""The bench of workloads: what it computes, and one tiny run in a real group."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cgroups import memory_group

__all__ = ["memory_group"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_the_search_goes_down_from_where_everything_dies_and_stops_when_slower():
    from benchmarks.budget.search import search

    asked = []

    def rate(setting: int, seed: int) -> float:
        asked.append((setting, seed))
        return 0.0 if setting > 40 or (setting, seed) == (40, 2) else setting * 10.0

    best = search([1, 2, 5, 10, 20, 30, 40, 50], [1, 2], rate)
    assert (best.setting, best.rate, best.killed) == (30, 300.0, (50, 40))
    assert asked == [(50, 1), (40, 1), (40, 2), (30, 1), (30, 2), (20, 1), (20, 2)]


def test_where_nothing_survives_there_is_no_best():
    from benchmarks.budget.search import search, search_grid

    assert search([1, 2], [1], lambda setting, seed: 0.0).setting is None
    assert search_grid([1, 2], [1], lambda setting, seed: 0.0).setting is None


def test_the_grid_takes_the_fastest_that_survives_every_seed():
    from benchmarks.budget.search import search_grid

    rates = {1: 10.0, 2: 80.0, 3: 40.0, 4: 60.0, 5: 0.0}
    best = search_grid(
        list(rates), [1, 2, 3], lambda setting, seed: 0.0 if (setting, seed) == (2, 3) else rates[setting]
    )
    assert (best.setting, best.rate) == (4, 60.0)
    assert set(best.killed) == {2, 5}


class DearClock:
    """Reading it takes a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def work(self, seconds: float) -> None:
        self.now_s += seconds


def test_the_stopwatch_counts_the_outermost_call_alone_and_not_itself():
    from benchmarks.budget.control import Stopwatch

    clock = DearClock()
    watch = Stopwatch(clock)

    @watch.around
    def inner() -> None:
        clock.work(5.0)
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            watch.around(inner)()
    assert (watch.control_s, watch.calls) == (10.0, 2)


def test_the_stopwatch_tells_analysis_from_control():
    from benchmarks.budget.control import Stopwatch

    clock = DearClock()
    watch = Stopwatch(clock)

    @watch.apart
    def analysis() -> None:
        clock.work(3.0)
        watch.around(clock.work)(4.0)

    @watch.around
    def control() -> None:
        clock.work(2.0)
        analysis()
        clock.work(1.0)

    control()
    assert (watch.control_s, watch.analysis_s) == (3.0, 7.0)
    analysis()
    assert (watch.control_s, watch.analysis_s) == (3.0, 14.0)


def test_measuring_control_leaves_nothing_behind():
    from benchmarks.budget.control import measured
    from memflow.memory.sampler import Sampler

    before = Sampler.sample
    with measured():
        assert Sampler.sample is not before
    assert Sampler.sample is before


def test_what_was_found_is_kept(tmp_path: Path):
    from benchmarks.budget.search import Best, Cache

    found = Best(7, 1.5, (9,))
    assert Cache(tmp_path / "kept").get("a", lambda: found) == found
    assert Cache(tmp_path / "kept").get("a", lambda: pytest.fail("it was known")) == found


def test_batches_until_the_size_is_right_after_a_step():
    from benchmarks.budget.__main__ import settled_after

    before = [(1, 400)] * 5
    assert settled_after([*before, (8, 50), (8, 48), (8, 52), (8, 50)]) == 0
    assert settled_after([*before, (8, 400), (8, 10), (8, 48), (8, 50), (8, 50), (8, 52)]) == 2


def test_pieces_come_from_the_seed_alone():
    import random

    from benchmarks.budget.workloads import WORKLOADS

    for workload in WORKLOADS.values():
        first, second = (workload.make(random.Random(3), 50) for _ in range(2))
        assert first == second
        assert len(first) >= 20


def test_a_tiny_run_in_a_real_group(memory_group, capsys):
    memory_group(1 << 26)  # skips, or fails, where none can be made
    from benchmarks.budget.__main__ import main

    assert main(["--workloads", "uniform_100ms", "--strategies", "memflow", "--seeds", "1", "--share", "1"]) == 0
    shown = capsys.readouterr().out
    assert "uniform_100ms, items" in shown
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["memflow"])
    assert row.split()[1:3] == ["0/1", "20"]


def test_wrong_names_are_told_with_the_right_ones(capsys):
    from benchmarks.budget.__main__ import main

    with pytest.raises(SystemExit):
        main(["--workloads", "nonsense"])
    assert "heavy_1s" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no control groups")
def test_where_no_group_can_be_made_it_says_so_and_stops(monkeypatch, capsys):
    from benchmarks.budget import group
    from benchmarks.budget.__main__ import main

    monkeypatch.setattr(group, "_V1_TOP", Path("/nonexistent"))
    monkeypatch.setattr(group, "_V2_TOP", Path("/nonexistent"))
    assert main(["--workloads", "uniform_100ms"]) == 1
    assert "no memory controller" in capsys.readouterr().err
