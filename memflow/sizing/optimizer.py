"""`BatchOptimizer`: sizes batches and concurrency from live memory and measured time.

Covers wiring: readings to what learns from them, calls to their sizers, settings to bounds. It is pulled, never a task.
The thinking is elsewhere: `learning`, `cost` and `timing` learn, `policy` and `concurrency` choose, `call` decides
when, `admission` lets batches start, `recollection` remembers other runs. Reading memory is `memflow.memory`, running
functions `memflow.processing`; `optimize_process_function` (in `wrapping`) is the one place here that runs something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence, Sized
from typing import Any, TypeVar

from memflow.exceptions import ConfigurationError
from memflow.memory.readings import MemoryWindow
from memflow.memory.sampler import Sampler
from memflow.memory.state import MemoryState
from memflow.settings import BatchOptimizerSettings
from memflow.sizing.call import CallSizer
from memflow.sizing.decisions import Decision
from memflow.sizing.learning import Learning
from memflow.sizing.operation import Kind, Operation
from memflow.sizing.outlook import SizerLimits
from memflow.sizing.policy import SizeBounds, items_that_fit
from memflow.sizing.profile import CostProfile
from memflow.sizing.recollection import Recollection
from memflow.sizing.saturation import LoopTime
from memflow.sizing.statistics import BatchStatistics, OperationStatistics, describe
from memflow.sizing.warm import first_size, going_on
from memflow.sizing.wrapping import wrap

__all__ = ["BatchOptimizer", "CallSizer"]

_MOST_CONCURRENCY = 1000
_MOST_THREADS = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchOptimizer:
    """Learns what operations cost, and sizes their batches.

    Args:
        settings: Bounds, starting points and targets.
        state: The memory state to learn from; one of its own by default, which nobody writes until
            `optimize_process_function` or a sampler does.
        sampler: Writes the state; needed only where a wrapped function is to be measured and the state has a sampler
            already. By default one of its own.

    Example:
        >>> optimizer = BatchOptimizer()
        >>> optimizer.calculate_optimal_batch_size(1000, operation="embed")
        10
    """

    def __init__(
        self,
        settings: BatchOptimizerSettings | None = None,
        *,
        state: MemoryState | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.settings = settings if settings is not None else BatchOptimizerSettings()
        if state is None:
            state = sampler.state if sampler is not None else MemoryState()
        elif sampler is not None and sampler.state is not state:
            raise ConfigurationError("state and sampler belong to different memory states; pass one of them")
        self.state = state
        self._sampler = sampler
        self._learning = Learning(state, debug=self.settings.debug)
        self._operations: dict[str, Operation] = {}
        self._sizers: dict[str, CallSizer] = {}
        self._recollection = Recollection(self._learning, self._operations)
        state.subscribe(self.observe)

    # ---- public -------------------------------------------------------------------------------------------------

    def calculate_optimal_batch_size(self, items: Sized | int, *, operation: str = "default") -> int:
        """Size the next batch of an operation from memory as it is now.

        Args:
            items: What there is to do, or how much of it.
            operation: Under which name costs were learnt.

        Returns:
            Items of a batch: at least 1, within the settings' bounds, and no more than there is to do. The default
            where nothing was learnt yet.
        """
        count = items if isinstance(items, int) else len(items)
        if count < 0:
            raise ConfigurationError(f"items={count} must not be negative; pass the items, or how many there are")
        settings = self.settings
        most = self._learnt_size(operation)
        if settings.max_batch_size is not None:
            most = min(most, settings.max_batch_size)
        return max(1, min(max(settings.min_batch_size, most), count))

    def optimize_process_function(
        self,
        fn: Callable[[list[Item]], Any],
        *,
        operation: str | None = None,
        monitored: bool = True,
    ) -> Callable[[Sequence[Item]], Coroutine[Any, Any, list[Any]]]:
        """Wrap a batch function so that it takes any number of items and works through them in batches of good size.

        Batches run one after another; for batches side by side, and for lazy input, use a `BatchProcessor`.

        Args:
            fn: (list of items) -> one result for each item; async, or sync (then it runs in a thread).
            operation: Under which name costs are learnt; by default the function's.
            monitored: Read memory around each batch and learn from it.

        Returns:
            A coroutine function: items in, list of results out, aligned.

        Raises:
            ConfigurationError: `fn` is not callable.
        """
        if not callable(fn):
            raise ConfigurationError(f"fn must be callable, not {type(fn).__name__}; pass the function itself")
        if self._sampler is None and monitored:
            self._sampler = Sampler(state=self.state)
        return wrap(self, fn, operation=operation, sampler=self._sampler if monitored else None)

    def batch_statistics(self) -> BatchStatistics:
        """Return what was learnt about every operation, with recommendations that carry numbers."""
        figures: list[OperationStatistics] = []
        advice: list[str] = []
        for operation in tuple(self._operations.values()):
            sizer = self._sizers.get(operation.name) if operation.open else None
            each, said = describe(
                operation,
                self._learning.cost(operation.name),
                batch_size=sizer.batch_size if sizer is not None else operation.batch_size,
                concurrency=sizer.concurrency if sizer is not None else operation.concurrency,
                overhead_pct=self.settings.knee_overhead_pct,
            )
            figures.append(each)
            advice += said
        return BatchStatistics(tuple(figures), tuple(advice), self._recollection.notes)

    def explain(self, operation: str | None = None) -> tuple[Decision, ...]:
        """Return the last decisions (64 an operation), oldest first; `str(decision)` is a sentence.

        Args:
            operation: Only this one's; None for all.
        """
        if operation is not None:
            known = self._operations.get(operation)
            return tuple(known.decisions) if known is not None else ()
        decisions = [each for known in tuple(self._operations.values()) for each in tuple(known.decisions)]
        return tuple(sorted(decisions, key=lambda each: each.time_s))

    def load_profile(self, profile: CostProfile) -> None:
        """Take what an earlier run learnt for a guess about operations that have not run here yet.

        A call then begins as carefully as ever, and takes up the sizes of then once it has measured one round; see
        `memflow.sizing.warm`. What is measured soon replaces what was loaded.

        Args:
            profile: What `export_profile` gave, in this process or another.
        """
        self._recollection.load(profile)

    def export_profile(self, operations: Collection[str] | None = None) -> CostProfile:
        """Return what was learnt about the operations that ran here, to be loaded by a later run.

        Args:
            operations: Only these; None for all.
        """
        return self._recollection.export(operations)

    def note_profile(self, note: str) -> None:
        """Keep a sentence about a profile for `batch_statistics()`, in place of an equal one."""
        self._recollection.note(note)

    # ---- for the pipeline ---------------------------------------------------------------------------------------

    def open_call(
        self,
        operation: str,
        *,
        kind: Kind,
        batch_size: int | None,
        concurrency: int | None,
        auto: bool,
        threads: bool = False,
        most_concurrency: int | None = None,
        hinted: bool = False,
        now_s: float,
        loop_time: Callable[[], LoopTime] | None = None,
    ) -> CallSizer:
        """Return the sizes of a call that begins now.

        Args:
            operation: Under which name costs are learnt.
            kind: "items" for a function of one item, "batches" for one of a list.
            batch_size: Where it starts; None takes what the operation reached before, or the default.
            concurrency: Likewise, calls in flight.
            auto: Adjust; False keeps both as they are.
            threads: Each call occupies a thread.
            most_concurrency: Never more calls in flight than this, whatever the settings say.
            hinted: Weight is in bytes of size hint.
            now_s: Monotonic time, seconds.
            loop_time: What the thread that runs the event loop has spent its time on.
        """
        known = self._operation(operation, kind, hinted=hinted)
        settings, warm = self.settings, known.start
        start = first_size(
            concurrency,
            known.concurrency,
            warm.concurrency if warm is not None else None,
            default=settings.default_concurrency,
            least=settings.min_concurrency,
        )
        size = first_size(
            batch_size,
            known.batch_size,
            warm.batch_size if warm is not None else None,
            default=settings.default_batch_size,
            least=settings.min_batch_size,
        )
        most = most_concurrency or settings.max_concurrency
        if most is None:
            most = max(start, _MOST_THREADS if threads else _MOST_CONCURRENCY)
        limits = SizerLimits(
            bounds=SizeBounds(settings.min_batch_size, settings.max_batch_size),
            least_concurrency=min(most, settings.min_concurrency),
            most_concurrency=most,
            target_pct=settings.target_utilization_pct,
            knee_overhead_pct=settings.knee_overhead_pct,
            max_batch_s=settings.max_batch_s,
        )
        if self.state.work.drained:
            self._learning.begin()
        sizer = CallSizer(
            self._learning,
            known,
            limits,
            batch_size=size,
            concurrency=start,
            auto=auto and settings.auto_adjust,
            now_s=now_s,
            warm=going_on(warm, batch_size, concurrency, kind),
            loop_time=loop_time,
        )
        self._sizers[operation] = sizer
        return sizer

    def observe(self, window: MemoryWindow) -> None:
        """Learn from a window; the state calls this with each one."""
        self._learning.observe(window, self._operations)

    # ---- private ------------------------------------------------------------------------------------------------

    def _operation(self, name: str, kind: Kind, *, hinted: bool) -> Operation:
        known = self._operations.get(name)
        if known is None or known.kind != kind:
            known = self._operations[name] = Operation(name, kind)
            self._recollection.recall(known, hinted=hinted)
        known.hinted = hinted
        return known

    def _learnt_size(self, operation: str) -> int:
        """Return what memory as it is now, and time, allow in one batch; the default where nothing was learnt."""
        settings, known = self.settings, self._operations.get(operation)
        cost = self._learning.cost(operation) or self._recollection.cost(operation)
        room = self._learning.live_room_bytes(settings.target_utilization_pct)
        if cost is None or room is None:
            return settings.default_batch_size
        per_item = cost.bytes_per_weight * (known.weight_per_item if known is not None else 1.0)
        fits = items_that_fit(room_bytes=room, calls=1, bytes_per_item=per_item, bytes_per_call=cost.bytes_per_call)
        bounds = [fits]
        if known is not None:
            timing = known.timing
            bounds += [
                each
                for each in (timing.knee_items(settings.knee_overhead_pct), timing.items_within(settings.max_batch_s))
                if each is not None
            ]
        return int(min(*bounds, 2**53))
