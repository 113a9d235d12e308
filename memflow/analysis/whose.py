"""Whose growth it is, from look to look: what operations did, who is named, and the numbers of who is. *Pure*.

Covers keeping a name until it is doubtful, and putting it into evidence. How likely an operation is the cause is judged
in `memflow.analysis.attribution`; that something grows is decided elsewhere, whatever is found here.
"""

from __future__ import annotations

from collections.abc import Mapping

from memflow.analysis.attribution import SURE, UNSURE, Attribution, attribute
from memflow.analysis.trend import Series
from memflow.analysis.work_history import WorkHistory

__all__ = ["Whose"]


class Whose:
    """Follows whose the growth that is open, or about to be, seems to be."""

    def __init__(self) -> None:
        self.work = WorkHistory()
        self.found: Attribution | None = None
        """What was found at the last look; None where no operation was at work, or nothing grows."""
        self.operation: str | None = None
        """Whose it surely is; None where that cannot be told."""

    def look(self, live: Mapping[str, Series], evidence: Mapping[str, float]) -> None:
        """Judge anew, by the signals that evidence of growth says rise."""
        self.found = found = attribute(
            {name: series for name, series in live.items() if f"{name}_per_min" in evidence}, self.work.at
        )
        if found is None:
            self.operation = None
        elif found.sureness >= SURE:
            self.operation = found.operation
        elif found.sureness < UNSURE or found.operation != self.operation:
            self.operation = None

    def forget(self) -> None:
        """Nothing grows any more."""
        self.found = self.operation = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """Operations of which any may be the cause, the likeliest first; empty where one is named, or none is known."""
        if self.operation is not None or self.found is None:
            return ()
        return tuple(name for name in self.found.candidates if name is not None)

    def evidence(self, evidence: Mapping[str, float]) -> dict[str, float]:
        """Return evidence of growth with who it is, and for whoever is named what falls to one item and one hour."""
        found = self.found
        share = found.share if found is not None and self.operation is not None else 1.0
        told = {**evidence, "growth_mb_per_hour": 60 * share * evidence["growth_mb_per_min"]}
        if found is None:
            return told
        told |= {"operation_sureness": found.sureness, "operation_share": found.share}
        if self.operation is None or found.is_alone:
            return told
        each = [name for name in evidence if name.endswith("_per_item")]
        if not found.items:  # in flight all the while: nothing falls to an item of it
            return {name: value for name, value in told.items() if name not in each}
        per_item = share * evidence["seen_s"] / 60 / found.items
        told |= {name: per_item * evidence[minute] for name in each if (minute := _a_minute(name)) in evidence}
        if "growth_bytes_per_item" in evidence:
            told["growth_bytes_per_item"] = share * evidence["gained_bytes"] / found.items
        return told | {"operation_items": found.items}


def _a_minute(per_item: str) -> str:
    return per_item.removesuffix("_per_item") + "_per_min"
