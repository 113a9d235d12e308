"""Every setting, validated, with its unit, its range and its meaning.

Covers the four sections that a `BatchProcessor` is made of and `MemflowSettings`, which bundles them and reads
`MEMFLOW_…` variables (`MEMFLOW_BATCH_PROCESSOR__CONCURRENCY=8`). Reading `.env` and `pyproject.toml` is the
command line's (`memflow.cli`). Sizes are parsed in `memflow.units`.

Sections are frozen. Nothing is clamped: what contradicts raises and names both fields. An option of 0 is 0,
never taken for unset; unset is None.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from memflow.units import MemorySize

__all__ = [
    "BatchOptimizerSettings",
    "BatchProcessorSettings",
    "HeapAnalyzerSettings",
    "MemflowSettings",
    "MemoryManagerSettings",
]

Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    """What all sections share: frozen, unknown names refused, each field documented below itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    def _require_order(self, *names: str) -> None:
        """Raise unless the named fields rise strictly, in the order given."""
        for low, high in itertools.pairwise(names):
            low_value, high_value = getattr(self, low), getattr(self, high)
            if low_value is not None and high_value is not None and low_value >= high_value:
                raise ValueError(f"{low}={low_value:g} must be below {high}={high_value:g}; change one of the two")

    def _require_range(self, least: str, value: str, most: str) -> None:
        """Raise unless least <= value <= most, where set; both fields of the contradiction are named."""
        names = [each for each in (least, value, most) if getattr(self, each) is not None]
        for low, high in itertools.pairwise(names):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low}={getattr(self, low)} exceeds {high}={getattr(self, high)}; lower one or raise the other"
                )


class MemoryManagerSettings(_Section):
    """Reading memory, levels of pressure, giving memory back."""

    debug: bool = False
    """Log every change of level and every reclaim on the logger `memflow.memory`."""
    auto_gc: bool = True
    """Collect garbage (and trim, see `trim`) by itself when use reaches `gc_threshold_pct`."""
    gc_threshold_pct: Percent = 80
    """Use, in per cent of the limit, at which `auto_gc` collects and trims. Range (0, 100]."""
    limit: MemorySize | None = None
    """Upper bound for memory: bytes, `512MiB`, `1.5GB`, or a share of the detected limit such as `80%`.
    A size is measured against this process's RSS, a share against whatever the detected limit is measured by.
    None: only the detected limit counts. A stricter detected limit still decides."""
    sample_interval_s: PositiveSeconds = 0.05
    """Seconds between two looks at memory in the background while something is in flight. Where use hardly moves, a
    look is a glance, and every fifth a reading in full."""
    boundary_interval_s: Seconds = 0.002
    """Least seconds between two looks at batch boundaries; 0 reads in full at every one."""
    limit_refresh_s: PositiveSeconds = 1.0
    """Seconds after which the limit itself is looked up again, since it may move while running."""
    exact_peaks: bool = True
    """On Linux, reset the kernel's high-water mark at each reading, so that no burst between two readings is
    missed. It also resets `ru_maxrss`: switch it off where something else relies on that."""
    history_size: Annotated[int, Field(ge=16, le=100_000)] = 240
    """Readings kept. When full, neighbours are merged pairwise, so the span grows and the size does not."""
    hold_pct: Percent = 70
    """Use, in per cent of the limit, from which nothing grows any more."""
    shrink_pct: Percent = 80
    """Use, in per cent of the limit, from which batches shrink."""
    stop_pct: Percent = 90
    """Use, in per cent of the limit, from which no batch is admitted but one at a time."""
    hysteresis_pct: Annotated[float, Field(ge=0, lt=50)] = 5
    """A level is left only when use is this many points below the watermark that entered it."""
    cooldown_s: Seconds = 0.25
    """Least seconds at a level before it is left downwards, unless use is as far below the watermark beneath, too.
    Rising is immediate."""
    trim: bool = True
    """On glibc, hand freed heap back to the kernel (`malloc_trim`) after a collection, and try what that gives where an
    issue of `retention` says that much is kept."""
    pin_mmap_threshold: bool = True
    """On glibc, under a control group's limit or `limit`: once use is over 50 % of it and freed blocks keep more than
    10 % of it, pin `M_MMAP_THRESHOLD` at 128 KiB, unless the environment sets it. Large blocks then go back to the
    kernel when they are freed. Otherwise glibc raises the threshold up to 32 MiB by itself, and keeps what was freed:
    hundreds of MB where blocks of different sizes come and go. It is let go where that takes more than a quarter of a
    processor's time for page faults; for functions in threads with arenas of their own it stays. Until there is need,
    and then again, the threshold is 32 MiB, and the heap's end is left untrimmed up to an eighth of the limit."""
    one_arena: bool = True
    """On glibc, under a control group's limit or `limit`: once a function is to run in threads, set `M_ARENA_MAX` to 1,
    unless the environment sets it, so that threads started from then on allocate from one arena. What one of them has
    freed is room for the others then, where it would be gone for them otherwise. It stays for as long as the process
    runs. Switch it off where many threads allocate in C without holding the interpreter's lock, and wait for each
    other."""
    data_limit: bool = True
    """On Linux, under a control group's limit or `limit`: while something is in flight, keep the soft RLIMIT_DATA where
    use would reach 93 % of the limit, so that a wrong guess ends in a `MemoryError` of one item (which is run again
    alone, see `rerun_on_memory_error`) and not in SIGKILL. Processes started meanwhile inherit it."""
    reclaim_max_time_pct: Percent = 5
    """Ceiling for the share of time spent collecting and trimming by itself, in per cent."""

    @model_validator(mode="after")
    def _levels_rise(self) -> Self:
        self._require_order("hold_pct", "shrink_pct", "stop_pct")
        if self.hysteresis_pct >= self.hold_pct:
            raise ValueError(
                f"hysteresis_pct={self.hysteresis_pct:g} must be below hold_pct={self.hold_pct:g}, "
                "or the first level could never be left; change one of the two"
            )
        return self


class HeapAnalyzerSettings(_Section):
    """What counts as a memory issue."""

    debug: bool = False
    """Log every verdict on the logger `memflow.analysis`."""
    leak_threshold_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """Growth, in MB a minute, from which growth is reported."""
    high_utilization_threshold: Percent = 85
    """Use, in per cent of the limit, from which high utilisation is reported."""
    near_limit_threshold: Percent = 95
    """Use, in per cent of the limit, from which nearness to the limit is reported as critical."""
    sustained_s: Seconds = 1.0
    """Seconds for which utilisation must stay over its threshold before it is reported (near-limit is immediate)."""
    stall_threshold_s: PositiveSeconds = 1.0
    """Seconds for which a batch must have waited for memory, with nothing of ours in flight, before that is reported;
    ten times as long while something of ours runs but neither ends nor starts."""
    loop_blocked_s: PositiveSeconds = 1.0
    """Seconds without a sign of life from which the event loop counts as blocked, while a processor's call runs or the
    analyzer runs by itself."""
    min_window_s: PositiveSeconds = 3.0
    """Least seconds of history before a rate over time is judged."""
    update_interval_s: PositiveSeconds = 10.0
    """Least seconds between two updates of one issue, unless its severity rises."""
    find_suspects: bool = True
    """Look for who holds what grows: in a thread, for at most 1 % of the time while nothing is wrong, and 5 % while
    growth is suspected. Where the garbage collector is off, that collects once, to tell garbage from a leak."""
    allocation_sites: Literal["off", "tracemalloc", "memray"] = "off"
    """Trace allocations for a short while where growth is suspected, to name the place in the code. `tracemalloc` sees
    Python's objects; `memray` sees the C library's heap, which C extensions use, and needs
    `pip install 'memflow-async[memray]'`. For 5 % of an hour at most."""
    allocation_window_s: Annotated[float, Field(ge=1, le=60, allow_inf_nan=False)] = 10.0
    """Seconds of one such window. A fifth of it is traced, so that the program takes at most one and a half times as
    long over it, whatever tracing costs. Range [1, 60]."""
    allocation_frames: Annotated[int, Field(ge=1, le=64)] = 4
    """Frames of a stack that are looked through for the place in the code; more make `tracemalloc` slower."""
    channel_size: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Events kept for each subscriber; a full channel counts its loss and tells it (`EventsDropped`)."""

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        self._require_order("high_utilization_threshold", "near_limit_threshold")
        return self


class BatchOptimizerSettings(_Section):
    """How the size of the next batch is chosen."""

    debug: bool = False
    """Log every decision on the logger `memflow.sizing`."""
    default_batch_size: Annotated[int, Field(ge=1)] = 10
    """Items of a batch until something has been learnt."""
    min_batch_size: Annotated[int, Field(ge=1)] = 1
    """Least items of a batch; never crossed."""
    max_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Most items of a batch; never crossed. None: bounded by memory and time alone."""
    default_concurrency: Annotated[int, Field(ge=1)] = 8
    """Calls in flight until something has been learnt."""
    min_concurrency: Annotated[int, Field(ge=1)] = 1
    """Least calls in flight; memory may still hold all but one back."""
    max_concurrency: Annotated[int, Field(ge=1)] | None = None
    """Most calls in flight; never crossed. None: 1,000, and 32 for functions that run in threads."""
    target_utilization_pct: Percent = 70
    """Share of the limit, in per cent, that batches are sized to fill."""
    auto_adjust: bool = True
    """Adjust sizes while running. False: what the run started with is kept."""
    pre_process_gc: bool = False
    """Collect garbage before each call of `process` and before each call of a wrapped function."""
    knee_overhead_pct: Annotated[float, Field(gt=0, lt=100)] = 5
    """A batch stops growing once its fixed cost is this share of its time, in per cent."""
    max_batch_s: PositiveSeconds = 30.0
    """A batch stops growing once it takes this many seconds, so that progress shows and little is lost."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        self._require_range("min_batch_size", "default_batch_size", "max_batch_size")
        self._require_range("min_concurrency", "default_concurrency", "max_concurrency")
        return self


class BatchProcessorSettings(_Section):
    """One processor: what it is called, where it starts, what it may do."""

    process_name: Annotated[str, Field(min_length=1)] = "memflow"
    """Names the processor in issues, statistics and learnt costs."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Items of a batch: where sizing starts with `auto_optimize`, what is kept without. None: the optimizer's
    default, within its bounds."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Calls in flight: where sizing starts with `auto_optimize`, what is kept without. None: the optimizer's
    default, within its bounds."""
    auto_optimize: bool = True
    """Size batches and concurrency from live memory and measured time."""
    memory_monitoring: bool = True
    """Read memory while working and admit batches by it. False: nothing is read and nothing is held back."""
    detect_memory_issues: bool = True
    """Watch for memory issues and emit them to `issues()`."""
    force_gc_on_completion: bool = False
    """Collect garbage (and trim) after each call."""
    delay_between_batches_s: Seconds = 0.0
    """Seconds that a worker rests after each batch."""
    on_error: Literal["raise", "collect"] = "raise"
    """`raise`: the first failure cancels the rest. `collect`: the failed item's place holds an `ItemFailure`."""
    item_timeout_s: PositiveSeconds | None = None
    """Seconds that one call of the function may take; None for no bound. Threads can't be interrupted: a sync
    function that overruns is abandoned."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """How often an item (or batch) is tried before it counts as failed; 1 means no retries."""
    retry_wait_s: Seconds = 0.1
    """Seconds before the second attempt; doubled for each further one, up to `retry_wait_max_s`."""
    retry_wait_max_s: Seconds = 30.0
    """Most seconds between two attempts."""
    admission_timeout_s: PositiveSeconds = 60.0
    """Seconds for which a batch may wait for memory with nothing of ours in flight, before
    `MemoryPressureError`."""
    rerun_on_memory_error: bool = True
    """Run an item (or batch) that failed with `MemoryError` again, with nothing else in flight; an item twice at most.
    A batch that fails even so is halved, down to one item; what fails alone counts as failed."""
    cost_profile: Path | None = None
    """File in which what is learnt about operations is kept from run to run, so that the next one starts warm; made
    when there is none. One that can't be used is told and never fails a call. None: nothing is kept."""
    max_deaths: Annotated[int, Field(ge=1)] = 3
    """With a journal: deaths of the run at which an item was in flight, after which it is not run any more but
    reported as `ItemFailure(kind="poison")`."""
    journal_synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    """With a journal given as a path: NORMAL loses nothing to a kill or a crash of the process, and a power cut may
    take the last seconds with it; FULL waits for the disk at each commit, and a power cut takes nothing."""
    linger_s: PositiveSeconds | None = None
    """With a slow async source: seconds after which a batch is started though it isn't full. None: a batch waits
    until it is full or the source ends."""

    @model_validator(mode="after")
    def _waits_fit(self) -> Self:
        if self.retry_wait_s > self.retry_wait_max_s:
            raise ValueError(
                f"retry_wait_s={self.retry_wait_s:g} exceeds retry_wait_max_s={self.retry_wait_max_s:g}; "
                "lower one or raise the other"
            )
        if self.detect_memory_issues and not self.memory_monitoring and "detect_memory_issues" in self.model_fields_set:
            raise ValueError(
                "detect_memory_issues=True needs memory_monitoring=True, since issues are found in readings; "
                "switch both on or both off"
            )
        return self


class MemflowSettings(BaseSettings):
    """Everything, read from keyword arguments and `MEMFLOW_…` variables (sections nested with `__`).

    Example:
        >>> MemflowSettings(memory_manager={"limit": "512MiB"}).memory_manager.limit
        MemorySize('512MiB')
    """

    model_config = SettingsConfigDict(
        env_prefix="MEMFLOW_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    memory_manager: MemoryManagerSettings = Field(default_factory=MemoryManagerSettings)
    """Reading memory, levels of pressure, giving memory back."""
    heap_analyzer: HeapAnalyzerSettings = Field(default_factory=HeapAnalyzerSettings)
    """What counts as a memory issue."""
    batch_optimizer: BatchOptimizerSettings = Field(default_factory=BatchOptimizerSettings)
    """How the size of the next batch is chosen."""
    batch_processor: BatchProcessorSettings = Field(default_factory=BatchProcessorSettings)
    """One processor: what it is called, where it starts, what it may do."""

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        bounds, start = self.batch_optimizer, self.batch_processor
        for name, value, least, most in (
            ("batch_size", start.batch_size, bounds.min_batch_size, bounds.max_batch_size),
            ("concurrency", start.concurrency, bounds.min_concurrency, bounds.max_concurrency),
        ):
            if value is not None and value < least:
                raise ValueError(
                    f"batch_processor.{name}={value} is below batch_optimizer.min_{name}={least}; change one of the two"
                )
            if value is not None and most is not None and value > most:
                raise ValueError(
                    f"batch_processor.{name}={value} exceeds batch_optimizer.max_{name}={most}; change one of the two"
                )
        return self
