"""The fixed part of a call: `memflow.processing.plan`."""

from __future__ import annotations

import dataclasses

import pytest

from tests.processing.parts import plan


def test_a_plan_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().delay_s = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "hint", "weighs"), [("items", None, True), ("items", len, False), ("batches", None, False)]
)
def test_busy_workers_are_the_work_of_unhinted_items_only(kind: str, hint: object, weighs: bool) -> None:
    assert plan(kind, hint=hint).weighs_workers is weighs
