"""Gathers what `memflow doctor` shows: limits, allocators, the kernel, versions, and what speaks for trouble.

Covers looking, never changing. Finding the limits is `memflow.memory.limit`'s; the text is `doctor`'s.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memflow._version import __version__
from memflow.memory.allocator import allocator_name, allocator_notes
from memflow.memory.features import Feature, kernel_features
from memflow.memory.probe import default_probe
from memflow.memory.readings import MemoryLimit, MemoryReading
from memflow.settings import MemflowSettings
from memflow.units import format_bytes

__all__ = ["Checkup", "examine"]

_PACKAGES = ("anyio", "pydantic", "pydantic-settings", "psutil", "trio", "rich", "zstandard", "stamina")


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found, at one moment."""

    limit: MemoryLimit
    """The effective limit, with every place that was looked at."""
    reading: MemoryReading
    """Memory now, against it."""
    exact_peaks: bool
    """Whether peaks between readings are exact."""
    allocator: str
    """The allocators in use."""
    allocator_notes: tuple[str, ...]
    """What they cannot tell, and why."""
    features: tuple[Feature, ...]
    """What the kernel offers."""
    versions: dict[str, str]
    """Versions of what matters, by name; only what is installed."""
    variables: tuple[str, ...]
    """MEMFLOW_ variables that are set."""
    warnings: tuple[str, ...]
    """What speaks for trouble."""


def examine(settings: MemflowSettings, warnings: Sequence[str] = ()) -> Checkup:
    """Look at everything.

    Args:
        settings: Their limit and their wish for exact peaks count.
        warnings: What was found before, about the settings themselves.
    """
    now_s = time.monotonic()
    probe = default_probe(settings.memory_manager)
    try:
        limit, reading, exact = probe.limit(now_s), probe.read(now_s), probe.exact_peaks
    finally:
        probe.close()
    features = kernel_features()
    return Checkup(
        limit=limit,
        reading=reading,
        exact_peaks=exact,
        allocator=allocator_name(),
        allocator_notes=allocator_notes(),
        features=features,
        versions=_versions(),
        variables=tuple(sorted(name for name in os.environ if name.upper().startswith("MEMFLOW_"))),
        warnings=(*warnings, *_warn(limit, features)),
    )


def _versions() -> dict[str, str]:
    found = {"memflow": __version__, platform.python_implementation(): platform.python_version()}
    for name in _PACKAGES:
        version = _version_of(name)
        if version is not None:
            found[name] = version
    found["system"] = f"{platform.system()} {platform.release()}"
    return found


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _warn(limit: MemoryLimit, features: Sequence[Feature]) -> Iterator[str]:
    host_bytes = max((each.limit_bytes or 0 for each in limit.candidates if each.kind == "host"), default=0)
    if limit.kind == "host":
        yield (
            "no limit below the machine's own memory was found; where other programs run too, set one: "
            "MEMFLOW_MEMORY_MANAGER__LIMIT=80%, or a limit of the container"
        )
    elif host_bytes > limit.limit_bytes:
        yield (
            f"the host has {format_bytes(host_bytes)} and the limit is {format_bytes(limit.limit_bytes)}: whatever "
            "sizes itself by the host (thread pools, caches, percentages of virtual_memory()) plans with memory that "
            "isn't there"
        )
    swap = next((each for each in features if each.name == "swap"), None)
    if swap is not None and swap.available:
        yield f"swap is on ({swap.detail}): near the limit, work gets slow before anything fails"
    if sys.platform == "linux" and not any(each.available for each in features if each.name == "cgroup"):
        yield "no memory control group was found, so a container's limit would not be seen"
    if _version_of("memflow") is not None:
        yield (
            "the distribution memflow, another project, is installed too and writes into the same folder; "
            "run: pip uninstall -y memflow memflow-async && pip install memflow-async"
        )
