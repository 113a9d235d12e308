"""What one optimizer took from cost profiles, and what it has learnt that is worth one.

Covers recalling an operation when it first runs, and exporting. What of a profile holds is decided in
`memflow.sizing.warm`; files are `memflow.sizing.profile_file`'s.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from memflow.sizing.cost import MemoryCost
from memflow.sizing.learning import Learning
from memflow.sizing.operation import Operation
from memflow.sizing.profile import CostProfile, Machine, OperationProfile
from memflow.sizing.profile_file import this_machine
from memflow.sizing.warm import recall

__all__ = ["Recollection"]

_NOTES = 8


class Recollection:
    """Profiles of one optimizer.

    Args:
        learning: What it learns about bytes.
        operations: What it remembers of operations, by name.

    Attributes:
        notes: what became of profiles, newest last.
    """

    def __init__(self, learning: Learning, operations: Mapping[str, Operation]) -> None:
        self.notes: tuple[str, ...] = ()
        self._learning = learning
        self._operations = operations
        self._loaded: dict[str, OperationProfile] = {}
        self._here: Machine | None = None

    def note(self, text: str) -> None:
        """Keep a sentence, once."""
        self.notes = (*(each for each in self.notes if each != text), text)[-_NOTES:]

    def load(self, profile: CostProfile) -> None:
        """Keep a profile for operations that have not run yet."""
        self._loaded.update({each.operation: each for each in profile.operations})

    def recall(self, operation: Operation, *, hinted: bool) -> None:
        """Tell a new operation what is known about it."""
        profile = self._loaded.get(operation.name)
        if profile is None:
            return
        known = recall(profile, kind=operation.kind, hinted=hinted, here=self._machine())
        if known is None:
            self.note(f"{operation.name}: its profile is of functions of {_takes(profile.kind)}, and is not used")
            return
        self._learning.recall(operation.name, known.prior, known.guard_bytes)
        operation.weight_per_item = known.weight_per_item
        operation.start = known.start
        if known.line is not None:
            operation.recall_times(known.line, known.start.concurrency if known.start is not None else 1)
        if profile.machine != self._here:
            self.note(f"{operation.name}: its profile is of another machine or version, so only its bytes are used")

    def cost(self, operation: str) -> MemoryCost | None:
        """Return what an item of an operation that has not run yet is thought to take; None where nothing is known."""
        profile = self._loaded.get(operation)
        if profile is None or profile.bytes_per_weight is None or operation in self._operations:
            return None
        return MemoryCost(profile.bytes_per_weight * profile.weight_per_item, profile.bytes_per_call, 0)

    def export(self, operations: Collection[str] | None) -> CostProfile:
        """Return what was learnt about operations that ran here."""
        ran = [each for each in tuple(self._operations.values()) if each.batches]
        return CostProfile(tuple(self._describe(each) for each in ran if operations is None or each.name in operations))

    def _describe(self, operation: Operation) -> OperationProfile:
        """Describe an operation; what this run did not find out is as it was."""
        before = self._loaded.get(operation.name)
        if before is not None and (before.kind, before.hinted) != (operation.kind, operation.hinted):
            before = None
        here = self._machine()
        elsewhere = before is not None and before.machine != here
        cost = self._learning.cost(operation.name)
        sized = operation.concurrency is not None
        line = operation.line
        if not sized and before is not None and not elsewhere:
            size, calls, climbing, rate = before.batch_size, before.concurrency, before.climbing, before.items_per_s
        else:
            size = operation.batch_size if operation.kind == "batches" else None
            calls, climbing, rate = operation.concurrency, operation.climbing, operation.rate
        return OperationProfile(
            operation=operation.name,
            kind=operation.kind,
            hinted=operation.hinted,
            weight_per_item=operation.weight_per_item,
            bytes_per_weight=cost.bytes_per_weight if cost is not None else None,
            bytes_per_call=cost.bytes_per_call if cost is not None else 0.0,
            guard_bytes=float(self._learning.guard_bytes),
            fixed_s=line[0] if line is not None else None,
            item_s=line[1] if line is not None else None,
            batch_size=size,
            concurrency=calls,
            climbing=climbing,
            items_per_s=rate,
            limit_bytes=self._learning.limit_bytes(),
            machine=here,
            saved_s=time.time(),
        )

    def _machine(self) -> Machine:
        if self._here is None:
            self._here = this_machine()
        return self._here


def _takes(kind: str) -> str:
    return "one item" if kind == "items" else "a list"
