"""Parts around one state: `memflow.processing.bundle`."""

from __future__ import annotations

import gc
import weakref

import pytest
from pydantic import ValidationError

from memflow.memory.sampler import Sampler
from memflow.processing.bundle import MemoryBundle, create_memory_manager, shared_sampler
from memflow.settings import MemflowSettings, MemoryManagerSettings
from memflow.testing import ScriptedProbe

GIB = 2**30


def bundle(script: object = "100MiB", **memory_manager: object) -> tuple[MemoryBundle, ScriptedProbe]:
    probe = ScriptedProbe(script, limit=GIB)
    return create_memory_manager({"memory_manager": memory_manager}, probe=probe), probe


def test_everything_shares_one_state() -> None:
    made, _ = bundle()
    assert made.manager.state is made.analyzer.state is made.optimizer.state is made.state
    assert made.manager.sampler is made.sampler


def test_making_one_reads_nothing() -> None:
    _, probe = bundle()
    assert probe.reads == probe.limits == 0


def test_monitor_reaches_its_own_analyzer() -> None:
    made, _ = bundle("1000MiB", auto_gc=False)
    other, _ = bundle()
    assert made.monitor().level == "stop"
    assert made.analyzer.open_issues
    assert not other.analyzer.open_issues
    assert [issue.kind for issue in made.analyze().issues]


def test_every_method_reads_first() -> None:
    made, probe = bundle()
    for method in (
        made.current_usage,
        made.monitor,
        made.reclaim,
        made.analyze,
        made.memory_statistics,
        lambda: made.calculate_optimal_batch_size(5),
    ):
        before = probe.reads
        method()
        assert probe.reads > before
    assert made.trend().readings > 0


def test_figures_agree() -> None:
    made, _ = bundle("256MiB")
    statistics = made.memory_statistics()
    assert (statistics.in_use_bytes, statistics.limit_bytes) == (GIB // 4, GIB)
    assert made.calculate_optimal_batch_size(5) == 5
    assert made.calculate_optimal_batch_size([1] * 100) == made.settings.batch_optimizer.default_batch_size


def test_a_function_wrapped_by_its_optimizer_is_measured_by_its_probe(run) -> None:
    """A second sampler on the same state would read the real machine into it."""
    made, probe = bundle()

    async def work(items: list[int]) -> list[int]:
        return items

    async def main() -> None:
        assert await made.optimizer.optimize_process_function(work)(range(25)) == list(range(25))

    run(main)
    assert probe.reads > 0
    assert made.state.reading is not None
    assert made.state.reading.limit_bytes == GIB


def test_reservations_belong_to_the_state() -> None:
    sampler = Sampler(probe=ScriptedProbe())
    first = MemoryBundle(MemflowSettings(), sampler=sampler)
    second = MemoryBundle(MemflowSettings(), sampler=sampler)
    assert first.admission is second.admission
    assert bundle()[0].admission is not first.admission


def test_settings_come_in_several_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_MEMORY_MANAGER__HOLD_PCT", "42")
    assert create_memory_manager().settings.memory_manager.hold_pct == 42
    settings = MemflowSettings()
    assert create_memory_manager(settings).settings is settings
    with pytest.raises(ValidationError, match="hold_pct"):
        create_memory_manager({"memory_manager": {"hold_pct": 95}})


# ---- the process's samplers -------------------------------------------------------------------------------------


def test_equal_settings_share_a_sampler() -> None:
    assert shared_sampler(MemoryManagerSettings()) is shared_sampler(MemoryManagerSettings())
    kept = shared_sampler(MemoryManagerSettings(hold_pct=51))
    assert kept is not shared_sampler(MemoryManagerSettings())


def test_a_sampler_that_nobody_uses_is_forgotten() -> None:
    settings = MemoryManagerSettings(hold_pct=52)
    gone = weakref.ref(shared_sampler(settings))
    gc.collect()
    assert gone() is None
