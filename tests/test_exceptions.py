"""The error tree: `memflow.exceptions`."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from memflow import exceptions
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
    RecordError,
    ResultNotStorableError,
    SizeHintError,
    SourceFailed,
    TargetError,
)

GIB = 2**30

EXAMPLES: list[tuple[MemflowError, type[Exception], str]] = [
    (ConfigurationError("a=1 exceeds b=0"), ValueError, "a=1 exceeds b=0"),
    (InstallationError("files of another"), ImportError, "files of another"),
    (ProcessorClosedError("job"), RuntimeError, "processor 'job' is closed and takes no further work; make a new"),
    (SizeHintError(3, "returned -1"), MemflowError, "size_hint returned -1 for item 3; it must return a finite"),
    (
        BatchResultError("embed", 4, 3, "list"),
        MemflowError,
        "embed got a batch of 4 items and returned 3 results; it must return a sequence of exactly 4 results",
    ),
    (
        BatchResultError("embed", 4, None, "NoneType"),
        MemflowError,
        "embed got a batch of 4 items and returned a NoneType, which has no length",
    ),
    (
        SourceFailed("embed", 7, OSError("disk"), [1]),
        MemflowError,
        "the source of embed raised OSError: disk after 7 items; they are in .results",
    ),
    (SourceFailed("embed", 7, OSError("disk"), None), MemflowError, "their results were delivered first"),
    (ItemTimeoutError("embed", 2.5), TimeoutError, "embed took longer than item_timeout_s=2.5; raise it"),
    (RecordError("in.csv", 3, "half a line", "mend it"), MemflowError, "in.csv:3: half a line; mend it"),
    (RecordError("in.csv", None, "is a folder"), MemflowError, "in.csv: is a folder"),
    (FlightRecordError("run-flight", "is empty", "name it"), MemflowError, "run-flight is empty; name it"),
    (TargetError("no module"), MemflowError, "no module"),
    (
        MemoryPressureError(
            operation="embed",
            requested_bytes=GIB // 2,
            in_use_bytes=GIB,
            limit_bytes=GIB,
            limit_source="cgroup v2 memory.max of /app",
            waited_s=60.04,
        ),
        MemflowError,
        "embed needs 512 MiB and 1 GiB of 1 GiB (cgroup v2 memory.max of /app) are in use, after 60.0 s of waiting; "
        "raise the limit",
    ),
    (JournalError("a.db", "broke", "mend it"), MemflowError, "journal a.db: broke; mend it"),
    (
        JournalLockedError("a.db", 7, "pod-1", "2026-01-02 03:04:05 UTC"),
        JournalError,
        "journal a.db: process 7 on pod-1 has had it open since 2026-01-02 03:04:05 UTC; wait for it to end",
    ),
    (JournalLockedError("a.db", None, "", ""), JournalError, "journal a.db: another process has it open; wait"),
    (JournalExistsError("a.db"), JournalError, "journal a.db: it holds a run already; resume that run (resume=True"),
    (
        JournalMismatchError("a.db", ["keyed: the journal has True, this run False"]),
        JournalError,
        "journal a.db: it is of another run (keyed: the journal has True, this run False); give",
    ),
    (JournalVersionError("a.db", 2, 1), JournalError, "written by a newer memflow (format 2, this one reads 1)"),
    (JournalCorruptError("a.db", "no database", "row 3"), JournalError, "it cannot be read (row 3): no database"),
    (JournalWriteError("a.db", "disk full", "make room"), JournalError, "journal a.db: disk full; make room"),
    (DuplicateKeyError("a.db", "k1", 3, 9), JournalError, "items 3 and 9 have the same key 'k1'; give each item a key"),
    (KeyFunctionError("a.db", 3, KeyError("id")), JournalError, "journal a.db: key= failed for item 3 with KeyError"),
    (ResultNotStorableError("a.db", "numpy.ndarray", 4), JournalError, "the result of item 4 holds a numpy.ndarray,"),
    (ResultNotStorableError("a.db", "numpy.ndarray", None), JournalError, "a result holds a numpy.ndarray, which"),
]


@pytest.mark.parametrize(("error", "kind", "says"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_errors_say_what_happened_and_what_to_do(error: MemflowError, kind: type[Exception], says: str) -> None:
    assert isinstance(error, kind)
    assert isinstance(error, MemflowError)
    assert says in str(error)


def test_every_error_has_an_example_here() -> None:
    shown = {type(error) for error, _, _ in EXAMPLES} | {MemflowError, BatchFailed}
    assert shown == {getattr(exceptions, name) for name in exceptions.__all__}


def test_the_tree_is_drawn_in_the_docstring() -> None:
    assert all(name in (exceptions.__doc__ or "") for name in exceptions.__all__)


def test_all_is_every_error_there_is() -> None:
    defined = {
        name for name, value in vars(exceptions).items() if inspect.isclass(value) and issubclass(value, MemflowError)
    }
    assert defined == set(exceptions.__all__)


def test_fields_are_kept() -> None:
    error = MemoryPressureError(
        operation="embed",
        requested_bytes=1,
        in_use_bytes=2,
        limit_bytes=3,
        limit_source="x",
        waited_s=4.0,
        advice="wait",
    )
    assert (error.requested_bytes, error.in_use_bytes, error.limit_bytes, error.waited_s) == (1, 2, 3, 4.0)
    assert str(error).endswith("; wait")
    assert SourceFailed("embed", 7, OSError("disk"), [1]).results == [1]


# ---- the group --------------------------------------------------------------------------------------------------


def failed(*numbers: int) -> BatchFailed:
    return BatchFailed("embed", [ValueError(n) if n % 2 else KeyError(n) for n in numbers], [(n,) for n in numbers])


def test_a_group_names_operation_and_items() -> None:
    error = failed(3, 4)
    assert isinstance(error, ExceptionGroup)
    assert isinstance(error, MemflowError)
    assert "embed failed for item 3, item 4: ValueError: 3" in str(error)
    assert 'on_error="collect"' in str(error)
    assert error.operation == "embed"
    assert error.indices == ((3,), (4,))


def test_many_items_are_summed_up() -> None:
    assert "item 1, item 2, item 3 and 2 more" in str(failed(1, 2, 3, 4, 5))


def test_a_batch_is_named_by_its_ends() -> None:
    error = BatchFailed("embed", [ValueError("x"), ValueError("y")], [tuple(range(10, 20)), ()])
    assert "items 10 to 19, an item" in str(error)


def test_splitting_keeps_the_names() -> None:
    values, keys = failed(1, 2, 3, 4).split(ValueError)
    assert isinstance(values, BatchFailed)
    assert isinstance(keys, BatchFailed)
    assert (values.indices, keys.indices) == (((1,), (3,)), ((2,), (4,)))
    assert (values.operation, keys.operation) == ("embed", "embed")
    assert "item 1, item 3" in str(values)


def test_subgroup_and_except_star_keep_the_names() -> None:
    group = failed(1, 2, 3).subgroup(lambda error: error.args == (3,))
    assert isinstance(group, BatchFailed)
    assert group.indices == ((3,),)
    seen: list[Any] = []
    try:
        raise failed(1, 2)
    except* KeyError as keys:
        seen.append(keys.indices)  # type: ignore[attr-defined]
    except* ValueError as values:
        seen.append(values.indices)  # type: ignore[attr-defined]
    assert seen == [((2,),), ((1,),)]


def test_splitting_keeps_cause_and_traceback() -> None:
    error = failed(1, 2)
    error.__cause__ = OSError("why")
    error.add_note("note")
    part = error.subgroup(ValueError)
    assert part is not None
    assert isinstance(part.__cause__, OSError)
    assert part.__notes__ == ["note"]


def nested() -> BatchFailed:
    """What a function that runs a task group of its own fails with."""
    inner = ExceptionGroup("inner", [ValueError("a"), KeyError("b")])
    return BatchFailed("embed", [ValueError("plain"), inner], [(1,), (2,)])


def test_splitting_goes_into_groups_inside_and_loses_nothing() -> None:
    values, keys = nested().split(ValueError)
    assert isinstance(values, BatchFailed)
    assert isinstance(keys, BatchFailed)
    assert values.indices == ((1,), (2,))
    assert [str(leaf) for leaf in leaves(values)] == ["plain", "a"]
    assert keys.indices == ((2,),)
    assert [leaf.args for leaf in leaves(keys)] == [("b",)]


def test_splitting_twice_keeps_the_names() -> None:
    values, _ = nested().split(ValueError)
    assert values is not None
    again = values.subgroup(lambda error: error.args == ("a",))
    assert isinstance(again, BatchFailed)
    assert again.indices == ((2,),)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


# ---- travelling -------------------------------------------------------------------------------------------------


TRAVELLERS = [
    pytest.param(error, id=type(error).__name__) for error in [*(error for error, _, _ in EXAMPLES), failed(1, 2)]
]


@pytest.mark.parametrize("error", TRAVELLERS)
@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_errors_can_be_copied_and_sent_to_another_process(error: MemflowError, travel: Any) -> None:
    there = travel(error)
    assert type(there) is type(error)
    assert str(there) == str(error)
    kept = {name: value for name, value in vars(error).items() if not name.startswith("__")}
    assert {name: value for name, value in vars(there).items() if name in kept} == kept
