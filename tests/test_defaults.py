"""The process-wide parts: `memflow.defaults`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from memflow import defaults
from memflow.analysis.analyzer import HeapAnalyzer
from memflow.memory.manager import MemoryManager
from memflow.processing.bundle import shared_sampler
from memflow.processing.processor import BatchProcessor
from memflow.sizing.optimizer import BatchOptimizer


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget the process's parts before and after."""
    defaults.default_bundle.cache_clear()
    yield
    defaults.default_bundle.cache_clear()


def test_all_parts_share_one_state() -> None:
    manager, analyzer, optimizer = defaults.memory_manager(), defaults.heap_analyzer(), defaults.batch_optimizer()
    assert isinstance(manager, MemoryManager)
    assert isinstance(analyzer, HeapAnalyzer)
    assert isinstance(optimizer, BatchOptimizer)
    assert manager.state is analyzer.state is optimizer.state


def test_parts_are_made_once() -> None:
    assert defaults.memory_manager() is defaults.memory_manager()
    assert defaults.heap_analyzer() is defaults.heap_analyzer()
    assert defaults.batch_optimizer() is defaults.batch_optimizer()


def test_processors_with_the_same_settings_use_the_same_state() -> None:
    bundle = defaults.default_bundle()
    assert BatchProcessor().memory.state is bundle.state
    assert bundle.sampler is shared_sampler(bundle.settings.memory_manager)


def test_closing_a_processor_leaves_the_parts_alone(run) -> None:
    async def main() -> None:
        async with BatchProcessor() as processor:
            await processor.process([1], _same)
        assert defaults.heap_analyzer().memory_statistics().limit_bytes > 0

    run(main)


async def _same(item: int) -> int:
    return item


def test_variables_are_read_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_OPTIMIZER__DEFAULT_BATCH_SIZE", "77")
    assert defaults.batch_optimizer().settings.default_batch_size == 77
    monkeypatch.setenv("MEMFLOW_BATCH_OPTIMIZER__DEFAULT_BATCH_SIZE", "78")
    assert defaults.batch_optimizer().settings.default_batch_size == 77


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_OPTIMIZER__DEFAULT_BATCH_SIZE", "-1")
    with pytest.raises(ValidationError, match="default_batch_size"):
        defaults.memory_manager()


def test_they_read_real_memory() -> None:
    assert defaults.memory_manager().current_usage().rss_bytes > 0
    assert defaults.heap_analyzer().memory_statistics().rss_bytes > 0
