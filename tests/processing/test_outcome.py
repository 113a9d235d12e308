"""Values that outlive their items: `memflow.processing.outcome`."""

from __future__ import annotations

import dataclasses
import pickle
import weakref

import pytest

from memflow.exceptions import BatchResultError
from memflow.processing.outcome import ItemFailure, ProcessorStatistics, SizeChange


class Thing:
    pass


def test_a_failure_says_what_happened() -> None:
    failure = ItemFailure.of(KeyError("name"), index=3)
    assert failure == ItemFailure(3, "KeyError", "'name'", 1)
    assert str(failure) == "item 3 failed: KeyError: 'name'"
    assert str(ItemFailure.of(ValueError("x"), index=0, attempts=4)) == "item 0 failed after 4 attempts: ValueError: x"


def test_a_failure_names_the_module_of_its_error() -> None:
    error = BatchResultError("work", 1, 2, "list")
    assert ItemFailure.of(error, index=0).error_type == "memflow.exceptions.BatchResultError"


def test_a_failure_is_false() -> None:
    assert not ItemFailure(0, "ValueError", "", 1)
    assert list(filter(None, [1, ItemFailure(1, "ValueError", "", 1), 2])) == [1, 2]


def test_a_failure_holds_neither_error_nor_item() -> None:
    thing = Thing()
    gone = weakref.ref(thing)

    def fail(item: Thing) -> None:
        raise ValueError("no")

    failure = None
    try:
        fail(thing)
    except ValueError as error:
        failure = ItemFailure.of(error, index=0)
    del thing
    assert gone() is None
    assert failure is not None


@pytest.mark.parametrize("kind", [ItemFailure, SizeChange, ProcessorStatistics])
def test_values_are_frozen_slotted_and_documented(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(kind, "__slots__")
    assert dataclasses.fields(kind)


def test_values_can_be_sent_elsewhere() -> None:
    failure = ItemFailure(0, "ValueError", "", 1)
    assert pickle.loads(pickle.dumps(failure)) == failure
