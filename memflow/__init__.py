"""Run an async function over any number of items as fast as the memory limit allows, and never past it.

    from memflow import BatchProcessor

    async with BatchProcessor(process_name="titles") as processor:
        titles = await processor.process(urls, fetch_title)

Covers the public names; each is imported on first use, so that `import memflow` does nothing but check that these
files are ours. The command line is `memflow.cli`, fakes for users' tests are in `memflow.testing`.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

from memflow import _version
from memflow._version import __version__

if TYPE_CHECKING:
    from memflow.analysis.analyzer import AnalysisReport, HeapAnalyzer, MemoryStatistics
    from memflow.analysis.issues import (
        EventsDropped,
        IssueEvent,
        IssueKind,
        IssueOpened,
        IssueResolved,
        IssueUpdated,
        MemoryIssue,
        Severity,
    )
    from memflow.exceptions import (
        BatchFailed,
        BatchResultError,
        ConfigurationError,
        DuplicateKeyError,
        FlightRecordError,
        InstallationError,
        ItemTimeoutError,
        JournalCorruptError,
        JournalError,
        JournalExistsError,
        JournalLockedError,
        JournalMismatchError,
        JournalVersionError,
        JournalWriteError,
        KeyFunctionError,
        MemflowError,
        MemoryPressureError,
        ProcessorClosedError,
        ResultNotStorableError,
        SizeHintError,
        SourceFailed,
    )
    from memflow.journal.sqlite import SqliteJournal
    from memflow.memory.manager import MemoryManager, MemoryTrend, MemoryUsage
    from memflow.memory.pressure import PressureLevel
    from memflow.memory.readings import MemoryLimit, MemoryReading
    from memflow.memory.state import MemoryState
    from memflow.processing.bundle import MemoryBundle, create_memory_manager
    from memflow.processing.critical import MemoryCritical
    from memflow.processing.outcome import FINISHED_EARLIER, ItemFailure, ProcessorStatistics
    from memflow.processing.processor import BatchProcessor
    from memflow.settings import (
        BatchOptimizerSettings,
        BatchProcessorSettings,
        HeapAnalyzerSettings,
        MemflowSettings,
        MemoryManagerSettings,
    )
    from memflow.sizing.optimizer import BatchOptimizer
    from memflow.units import MemorySize

    memory_manager: MemoryManager
    heap_analyzer: HeapAnalyzer
    batch_optimizer: BatchOptimizer

_HOMES = {
    "memflow.analysis.analyzer": ("AnalysisReport", "HeapAnalyzer", "MemoryStatistics"),
    "memflow.analysis.issues": (
        "EventsDropped",
        "IssueEvent",
        "IssueKind",
        "IssueOpened",
        "IssueResolved",
        "IssueUpdated",
        "MemoryIssue",
        "Severity",
    ),
    "memflow.exceptions": (
        "BatchFailed",
        "BatchResultError",
        "ConfigurationError",
        "DuplicateKeyError",
        "FlightRecordError",
        "InstallationError",
        "ItemTimeoutError",
        "JournalCorruptError",
        "JournalError",
        "JournalExistsError",
        "JournalLockedError",
        "JournalMismatchError",
        "JournalVersionError",
        "JournalWriteError",
        "KeyFunctionError",
        "MemflowError",
        "MemoryPressureError",
        "ProcessorClosedError",
        "ResultNotStorableError",
        "SizeHintError",
        "SourceFailed",
    ),
    "memflow.memory.manager": ("MemoryManager", "MemoryTrend", "MemoryUsage"),
    "memflow.journal.sqlite": ("SqliteJournal",),
    "memflow.memory.pressure": ("PressureLevel",),
    "memflow.memory.readings": ("MemoryLimit", "MemoryReading"),
    "memflow.memory.state": ("MemoryState",),
    "memflow.processing.bundle": ("MemoryBundle", "create_memory_manager"),
    "memflow.processing.critical": ("MemoryCritical",),
    "memflow.processing.outcome": ("FINISHED_EARLIER", "ItemFailure", "ProcessorStatistics"),
    "memflow.processing.processor": ("BatchProcessor",),
    "memflow.settings": (
        "BatchOptimizerSettings",
        "BatchProcessorSettings",
        "HeapAnalyzerSettings",
        "MemflowSettings",
        "MemoryManagerSettings",
    ),
    "memflow.sizing.optimizer": ("BatchOptimizer",),
    "memflow.units": ("MemorySize",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_DEFAULTS = ("batch_optimizer", "heap_analyzer", "memory_manager")

__all__ = [
    "AnalysisReport",
    "BatchFailed",
    "BatchOptimizer",
    "BatchOptimizerSettings",
    "BatchProcessor",
    "BatchProcessorSettings",
    "BatchResultError",
    "ConfigurationError",
    "DuplicateKeyError",
    "EventsDropped",
    "FINISHED_EARLIER",
    "FlightRecordError",
    "HeapAnalyzer",
    "HeapAnalyzerSettings",
    "InstallationError",
    "IssueEvent",
    "IssueKind",
    "IssueOpened",
    "IssueResolved",
    "IssueUpdated",
    "ItemFailure",
    "ItemTimeoutError",
    "JournalCorruptError",
    "JournalError",
    "JournalExistsError",
    "JournalLockedError",
    "JournalMismatchError",
    "JournalVersionError",
    "JournalWriteError",
    "KeyFunctionError",
    "MemflowError",
    "MemflowSettings",
    "MemoryBundle",
    "MemoryCritical",
    "MemoryIssue",
    "MemoryLimit",
    "MemoryManager",
    "MemoryManagerSettings",
    "MemoryPressureError",
    "MemoryReading",
    "MemorySize",
    "MemoryState",
    "MemoryStatistics",
    "MemoryTrend",
    "MemoryUsage",
    "PressureLevel",
    "ProcessorClosedError",
    "ProcessorStatistics",
    "ResultNotStorableError",
    "Severity",
    "SizeHintError",
    "SourceFailed",
    "SqliteJournal",
    "__version__",
    "batch_optimizer",
    "create_memory_manager",
    "heap_analyzer",
    "memory_manager",
]


def __getattr__(name: str) -> Any:
    if name in _DEFAULTS:
        value = getattr(importlib.import_module("memflow.defaults"), name)()
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module 'memflow' has no attribute {name!r}")
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_installation() -> None:
    """Say so when the other distribution that installs a `memflow` folder is here too.

    Looks only at the folder's names that importing our own submodules has listed already.
    """
    if getattr(_version, "DISTRIBUTION", None) != "memflow-async":
        from memflow.exceptions import InstallationError

        raise InstallationError(
            "files of another distribution stand in the folder memflow/; "
            "run: pip uninstall -y memflow memflow-async && pip install memflow-async"
        )
    if importlib.util.find_spec("memflow.memflow") is not None:
        warnings.warn(
            "the distributions memflow and memflow-async are both installed into the folder memflow/ and overwrite "
            "each other's files; run: pip uninstall -y memflow memflow-async && pip install memflow-async",
            RuntimeWarning,
            stacklevel=3,
        )


_check_installation()
