"""One injected state with everything that reads or writes it.

Covers wiring only: which parts share a state. The parts are in `memflow.memory`, `memflow.sizing` and
`memflow.analysis`; the process-wide bundle behind `memflow.memory_manager` and its siblings is `memflow.defaults`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from memflow.analysis.analyzer import AnalysisReport, HeapAnalyzer, MemoryStatistics
from memflow.memory.manager import MemoryManager, MemoryTrend, MemoryUsage
from memflow.memory.probe import MemoryProbe
from memflow.memory.reclaim import ReclaimResult
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import MemflowSettings, MemoryManagerSettings
from memflow.sizing.admission import Admission
from memflow.sizing.optimizer import BatchOptimizer

__all__ = ["MemoryBundle", "create_memory_manager", "shared_sampler"]

_samplers: weakref.WeakValueDictionary[MemoryManagerSettings, Sampler] = weakref.WeakValueDictionary()
_admissions: weakref.WeakKeyDictionary[MemoryState, Admission] = weakref.WeakKeyDictionary()


def shared_sampler(settings: MemoryManagerSettings) -> Sampler:
    """Return the process's sampler for these settings, made on first use.

    RSS and the limit belong to the whole process, so processors with equal settings share one state: each then sees
    what the others have in flight.
    """
    sampler = _samplers.get(settings)
    if sampler is None:
        sampler = _samplers[settings] = Sampler(settings)
    return sampler


class MemoryBundle:
    """A memory manager with its own analyzer and optimizer, all around one state.

    Args:
        settings: all sections.
        sampler: shared with other bundles; by default one of its own.
        probe: how to read memory, where the sampler is its own.

    Example:
        >>> bundle = create_memory_manager({"memory_manager": {"limit": "512MiB"}})
        >>> bundle.analyzer.memory_statistics().limit_bytes <= 512 * 2**20
        True
    """

    def __init__(
        self, settings: MemflowSettings, *, sampler: Sampler | None = None, probe: MemoryProbe | None = None
    ) -> None:
        self.settings = settings
        self.sampler = sampler if sampler is not None else Sampler(settings.memory_manager, probe=probe)
        self.state = self.sampler.state
        self.manager = MemoryManager(sampler=self.sampler)
        self.analyzer = HeapAnalyzer(
            settings.heap_analyzer,
            state=self.state,
            refresh=self.sampler.sample,
            watch=settings.batch_processor.detect_memory_issues,
            trim=self.sampler.try_trim if self.sampler.may_trim else None,
        )
        self.optimizer = BatchOptimizer(settings.batch_optimizer, sampler=self.sampler)
        admission = _admissions.get(self.state)
        self.admission = admission if admission is not None else _admissions.setdefault(self.state, Admission())

    def current_usage(self) -> MemoryUsage:
        """Read memory now."""
        return self.manager.current_usage()

    def monitor(self, *, force_gc: bool = False) -> MemoryUsage:
        """Read memory and collect when due or forced; the bundle's own analyzer and optimizer see the reading."""
        return self.manager.monitor(force_gc=force_gc)

    def reclaim(self) -> ReclaimResult:
        """Collect garbage and hand freed memory back to the kernel. Blocks."""
        return self.manager.reclaim()

    def trend(self) -> MemoryTrend:
        """Tell where use is heading."""
        return self.manager.trend()

    def calculate_optimal_batch_size(self, items: Sequence[Any] | int, *, operation: str = "default") -> int:
        """Size a batch from live memory and what the optimizer has learnt about `operation`."""
        self.sampler.sample()
        return self.optimizer.calculate_optimal_batch_size(items, operation=operation)

    def analyze(self) -> AnalysisReport:
        """Judge memory now."""
        self.sampler.sample()
        return self.analyzer.analyze()

    def memory_statistics(self) -> MemoryStatistics:
        """Return limit, available, in use, peak, allocator and collector figures."""
        self.sampler.sample()
        return self.analyzer.memory_statistics()


def create_memory_manager(
    settings: MemflowSettings | dict[str, Any] | None = None, *, probe: MemoryProbe | None = None
) -> MemoryBundle:
    """Make a memory manager with its own state, analyzer and optimizer.

    Args:
        settings: all sections, or a mapping of them; by default `MEMFLOW_…` variables and defaults.
        probe: how to read memory; what fits this machine by default.

    Raises:
        pydantic.ValidationError: a setting is out of range, unknown, or contradicts another.
    """
    if settings is None:
        settings = MemflowSettings()
    elif not isinstance(settings, MemflowSettings):
        settings = MemflowSettings(**settings)
    return MemoryBundle(settings, probe=probe)
