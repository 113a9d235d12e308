"""The process-wide parts behind `memflow.memory_manager`, `memflow.heap_analyzer` and `memflow.batch_optimizer`.

Made on first use, from `MEMFLOW_…` variables, around one shared state: nothing happens at import.
"""

from __future__ import annotations

from functools import cache

from memflow.analysis.analyzer import HeapAnalyzer
from memflow.memory.manager import MemoryManager
from memflow.processing.bundle import MemoryBundle, shared_sampler
from memflow.settings import MemflowSettings
from memflow.sizing.optimizer import BatchOptimizer

__all__ = ["batch_optimizer", "default_bundle", "heap_analyzer", "memory_manager"]


@cache
def default_bundle() -> MemoryBundle:
    """Return the process-wide bundle; its state is the one that processors with the same settings use."""
    settings = MemflowSettings()
    return MemoryBundle(settings, sampler=shared_sampler(settings.memory_manager))


def memory_manager() -> MemoryManager:
    """Return the process-wide memory manager."""
    return default_bundle().manager


def heap_analyzer() -> HeapAnalyzer:
    """Return the process-wide heap analyzer."""
    return default_bundle().analyzer


def batch_optimizer() -> BatchOptimizer:
    """Return the process-wide batch optimizer."""
    return default_bundle().optimizer
