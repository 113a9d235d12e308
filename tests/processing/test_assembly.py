"""From what the user passed to a call: `memflow.processing.assembly`."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from pydantic import ValidationError

from memflow.exceptions import ConfigurationError
from memflow.processing.assembly import Assembly, merge_settings
from memflow.processing.bundle import MemoryBundle, create_memory_manager
from memflow.processing.totals import Totals
from memflow.settings import BatchOptimizerSettings, BatchProcessorSettings, MemflowSettings
from memflow.testing import ScriptedProbe


async def work(item: Any) -> Any:
    return item


class Callable_:
    async def __call__(self, item: Any) -> Any:
        return item


def assembly(retry: Any = None, **fields: Any) -> tuple[Assembly, MemoryBundle]:
    settings = MemflowSettings(batch_processor=BatchProcessorSettings(**fields))
    bundle = create_memory_manager(settings, probe=ScriptedProbe())
    return Assembly(settings, bundle, Totals(), retry), bundle


def plan_of(fn: Any = work, **changes: Any) -> Any:
    of, _ = assembly(**changes.pop("fields", {}))
    arguments = {"operation": None, "hint": None, "on_error": None, **changes}
    return of.plan("items", fn, **arguments)


# ---- plans ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (work, "memflow.work"),
        (functools.partial(functools.partial(work)), "memflow.work"),
        (Callable_(), "memflow.Callable_"),
        (lambda item: item, "memflow.lambda"),
        (len, "memflow.len"),
    ],
)
def test_operations_are_named_after_processor_and_function(fn: Any, name: str) -> None:
    assert plan_of(fn).operation == name


def test_an_operation_that_is_named_keeps_its_name() -> None:
    assert plan_of(operation="embed").operation == "embed"
    assert plan_of(fields={"process_name": "job"}).operation == "job.work"


@pytest.mark.parametrize(
    ("setting", "argument", "collects"),
    [("raise", None, False), ("raise", "collect", True), ("collect", None, True), ("collect", "raise", False)],
)
def test_on_error_of_the_call_comes_before_the_setting(setting: str, argument: Any, collects: bool) -> None:
    assert plan_of(on_error=argument, fields={"on_error": setting}).collect is collects


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="fn must be callable, not int"):
        plan_of(7)
    with pytest.raises(ConfigurationError, match="size_hint must be callable, not int"):
        plan_of(hint=100)
    with pytest.raises(ConfigurationError, match='on_error must be "raise" or "collect"'):
        plan_of(on_error="ignore")


# ---- calls ------------------------------------------------------------------------------------------------------


def test_sizes_of_the_user_are_where_a_call_starts() -> None:
    of, _ = assembly(batch_size=7, concurrency=3)
    call = of.call(of.plan("batches", work, operation=None, hint=None, on_error=None), [], work)
    assert (call.sizer.batch_size, call.sizer.concurrency) == (7, 3)
    call.release()


def refuse(fn: Any) -> Any:
    raise ConfigurationError("no")


def test_a_call_that_cannot_be_made_opens_nothing() -> None:
    of, bundle = assembly(retry=refuse)
    plan = of.plan("items", work, operation=None, hint=None, on_error=None)
    with pytest.raises(ConfigurationError, match="no"):
        of.call(plan, [], work)
    with pytest.raises(ConfigurationError, match="must be an iterable"):
        of.call(plan, 7, work)
    assert not [each for each in bundle.optimizer._operations.values() if each.open]


# ---- settings ---------------------------------------------------------------------------------------------------


def test_nothing_given_is_variables_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "5")
    assert merge_settings(None, None, {}).batch_processor.concurrency == 5


def test_a_section_stands_beside_variables_of_other_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "5")
    monkeypatch.setenv("MEMFLOW_BATCH_OPTIMIZER__DEFAULT_BATCH_SIZE", "33")
    whole = merge_settings(BatchProcessorSettings(batch_size=2), None, {})
    assert whole.batch_processor.batch_size == 2
    assert whole.batch_processor.concurrency is None
    assert whole.batch_optimizer.default_batch_size == 33


def test_all_sections_are_taken_as_they_are() -> None:
    given = MemflowSettings(batch_optimizer=BatchOptimizerSettings(default_batch_size=3))
    assert merge_settings(given, None, {}) is given


def test_a_bundle_brings_its_settings() -> None:
    bundle = create_memory_manager({"batch_processor": {"concurrency": 4}}, probe=ScriptedProbe())
    assert merge_settings(None, bundle, {}) is bundle.settings
    assert merge_settings(None, bundle, {"batch_size": 9}).batch_processor.concurrency == 4


def test_overrides_come_last_and_an_option_of_none_is_none() -> None:
    whole = merge_settings(BatchProcessorSettings(concurrency=4, batch_size=5), None, {"concurrency": None})
    assert (whole.batch_processor.concurrency, whole.batch_processor.batch_size) == (None, 5)


def test_what_was_not_set_stays_unset() -> None:
    """Else detect_memory_issues=True would look as if somebody had asked for it."""
    whole = merge_settings(BatchProcessorSettings(concurrency=4), None, {"memory_monitoring": False})
    assert not whole.batch_processor.memory_monitoring


@pytest.mark.parametrize(
    "overrides", [{"concurrency": 0}, {"batch_size": -1}, {"batchsize": 1}, {"on_error": "ignore"}, {"attempts": 0}]
)
def test_overrides_are_validated(overrides: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(overrides))):
        merge_settings(None, None, overrides)


def test_overrides_are_validated_against_the_other_sections() -> None:
    whole = MemflowSettings(batch_optimizer=BatchOptimizerSettings(max_batch_size=20))
    with pytest.raises(ValidationError, match="max_batch_size=20"):
        merge_settings(whole, None, {"batch_size": 30})


@pytest.mark.parametrize("settings", [{"concurrency": 3}, 7, BatchOptimizerSettings()])
def test_other_things_are_no_settings(settings: Any) -> None:
    with pytest.raises(ConfigurationError, match="single options go by name"):
        merge_settings(settings, None, {})
