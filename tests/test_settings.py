"""Settings: ranges, contradictions that name both fields, variables of the environment. `memflow.settings`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from memflow.settings import (
    BatchOptimizerSettings,
    BatchProcessorSettings,
    HeapAnalyzerSettings,
    MemflowSettings,
    MemoryManagerSettings,
)
from memflow.units import MemorySize

SECTIONS: dict[str, type[BaseModel]] = {
    "memory_manager": MemoryManagerSettings,
    "heap_analyzer": HeapAnalyzerSettings,
    "batch_optimizer": BatchOptimizerSettings,
    "batch_processor": BatchProcessorSettings,
}
FIELDS = [(section, name) for section, model in SECTIONS.items() for name in model.model_fields]
POSITIVE = ("sample_interval_s", "limit_refresh_s", "min_window_s", "update_interval_s", "leak_threshold_rate")
PERCENT = (
    *("gc_threshold_pct", "hold_pct", "shrink_pct", "stop_pct", "reclaim_max_time_pct"),
    *("high_utilization_threshold", "near_limit_threshold", "target_utilization_pct", "knee_overhead_pct"),
)
FROM_ZERO = (
    *("boundary_interval_s", "hysteresis_pct", "cooldown_s", "sustained_s"),
    *("delay_between_batches_s", "retry_wait_s", "retry_wait_max_s"),
)
POSITIVE_OR_UNSET = ("item_timeout_s", "linger_s")
COUNTS = (
    *("default_batch_size", "min_batch_size", "default_concurrency", "min_concurrency", "attempts", "channel_size"),
    *("max_batch_size", "max_concurrency", "batch_size", "concurrency"),
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.upper().startswith("MEMFLOW_")]:
        monkeypatch.delenv(name)


def home(name: str) -> type[BaseModel]:
    """The section that has a field of this name."""
    return next(model for model in SECTIONS.values() if name in model.model_fields)


def refuse(model: type[BaseModel], **values: Any) -> str:
    """Assert that the values are refused, and return the message."""
    with pytest.raises(ValidationError) as caught:
        model(**values)
    return str(caught.value)


# ---- the frame --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*SECTIONS.values(), MemflowSettings])
def test_defaults_work_and_are_frozen(model: type[BaseModel]) -> None:
    made = model()
    name = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))


@pytest.mark.parametrize("model", [*SECTIONS.values(), MemflowSettings])
def test_an_unknown_name_is_refused(model: type[BaseModel]) -> None:
    assert "no_such_setting" in refuse(model, no_such_setting=1)


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_every_setting_is_documented_with_what_it_does(section: str, name: str) -> None:
    text = SECTIONS[section].model_fields[name].description
    assert text
    assert text.endswith(".")


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_a_time_or_share_says_its_unit_in_its_name_or_text(section: str, name: str) -> None:
    field = SECTIONS[section].model_fields[name]
    if field.annotation in (float, float | None):
        words = (field.description or "").lower()
        assert name.endswith(("_s", "_pct")) or "per cent" in words or "mb a minute" in words


def test_sections_are_values() -> None:
    """Processors with equal memory settings share one state, so the settings must be hashable and compare."""
    first, second = MemoryManagerSettings(limit="512MiB"), MemoryManagerSettings(limit=512 * 2**20)
    assert first == second
    assert hash(first) == hash(second)
    assert first != MemoryManagerSettings()


# ---- ranges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "many", math.nan, math.inf])
def test_counts_begin_at_one(name: str, value: Any) -> None:
    assert name in refuse(home(name), **{name: value})


@pytest.mark.parametrize("name", POSITIVE + POSITIVE_OR_UNSET + ("max_batch_s", "admission_timeout_s"))
@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf, "soon"])
def test_what_must_be_positive(name: str, value: Any) -> None:
    assert name in refuse(home(name), **{name: value})


@pytest.mark.parametrize("name", FROM_ZERO)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "soon"])
def test_what_may_be_zero_but_not_less(name: str, value: Any) -> None:
    assert name in refuse(home(name), **{name: value})


@pytest.mark.parametrize("name", FROM_ZERO)
def test_zero_is_zero_and_not_unset(name: str) -> None:
    """The original took an option of 0 for unset."""
    others = {"retry_wait_s": 0} if name == "retry_wait_max_s" else {}
    assert getattr(home(name)(**{name: 0, **others}), name) == 0


@pytest.mark.parametrize("name", PERCENT)
@pytest.mark.parametrize("value", [0, -1, 100.1, math.nan, math.inf])
def test_shares_lie_in_zero_to_a_hundred(name: str, value: float) -> None:
    assert name in refuse(home(name), **{name: value})


@pytest.mark.parametrize("value", [15, 100_001, 0, -1])
def test_the_history_is_bounded_both_ways(value: int) -> None:
    assert "history_size" in refuse(MemoryManagerSettings, history_size=value)


def test_hysteresis_is_less_than_half_the_scale() -> None:
    assert "hysteresis_pct" in refuse(MemoryManagerSettings, hysteresis_pct=50)


@pytest.mark.parametrize("value", ["", None])
def test_a_process_has_a_name(value: Any) -> None:
    assert "process_name" in refuse(BatchProcessorSettings, process_name=value)


def test_on_error_is_one_of_two() -> None:
    assert BatchProcessorSettings(on_error="collect").on_error == "collect"
    assert "on_error" in refuse(BatchProcessorSettings, on_error="ignore")


@pytest.mark.parametrize("text", ["536870912", "512MiB", "512Mi", "512M", "536.870912MB"])
def test_the_limit_takes_sizes(text: str) -> None:
    assert MemoryManagerSettings(limit=text).limit == MemorySize(512 * 2**20)


def test_the_limit_takes_shares_and_nothing() -> None:
    share = MemoryManagerSettings(limit="80%").limit
    assert share is not None
    assert share.percent == 80
    assert MemoryManagerSettings().limit is None


@pytest.mark.parametrize("text", ["0%", "120%", "-1", "lots", "512 XB", True, 1.5])
def test_the_limit_refuses_the_rest_and_lists_what_it_takes(text: Any) -> None:
    message = refuse(MemoryManagerSettings, limit=text)
    assert "limit" in message
    assert "80%" in message


@pytest.mark.parametrize("name", ["batch_size", "concurrency", "item_timeout_s", "linger_s"])
def test_unset_is_none(name: str) -> None:
    assert getattr(BatchProcessorSettings(), name) is None


# ---- contradictions ---------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=3, max_size=3), st.floats(0, 49))
def test_levels_rise_strictly_or_both_are_named(levels: list[float], hysteresis: float) -> None:
    hold, shrink, stop = levels
    values = {"hold_pct": hold, "shrink_pct": shrink, "stop_pct": stop, "hysteresis_pct": hysteresis}
    if hold < shrink < stop and hysteresis < hold:
        assert MemoryManagerSettings(**values).stop_pct == stop
        return
    message = refuse(MemoryManagerSettings, **values)
    if hold >= shrink:
        assert "hold_pct=" in message
        assert "shrink_pct=" in message
    elif shrink >= stop:
        assert "shrink_pct=" in message
        assert "stop_pct=" in message
    else:
        assert "hysteresis_pct=" in message
        assert "hold_pct=" in message
    assert "change one of the two" in message


@settings(deadline=None)
@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_high_use_lies_below_the_limit_s_nearness(high: float, near: float) -> None:
    values = {"high_utilization_threshold": high, "near_limit_threshold": near}
    if high < near:
        assert HeapAnalyzerSettings(**values).near_limit_threshold == near
        return
    message = refuse(HeapAnalyzerSettings, **values)
    assert "high_utilization_threshold=" in message
    assert "near_limit_threshold=" in message


@pytest.mark.parametrize("what", ["batch_size", "concurrency"])
@settings(deadline=None)
@given(least=st.integers(1, 100), default=st.integers(1, 100), most=st.none() | st.integers(1, 100))
def test_bounds_hold_the_default_or_both_are_named(what: str, least: int, default: int, most: int | None) -> None:
    values = {f"min_{what}": least, f"default_{what}": default, f"max_{what}": most}
    if least <= default and (most is None or default <= most):
        assert getattr(BatchOptimizerSettings(**values), f"default_{what}") == default
        return
    message = refuse(BatchOptimizerSettings, **values)
    pair = (f"min_{what}=", f"default_{what}=") if least > default else (f"default_{what}=", f"max_{what}=")
    assert all(each in message for each in pair)


@settings(deadline=None)
@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_waits_between_attempts_fit(first: float, most: float) -> None:
    if first <= most:
        assert BatchProcessorSettings(retry_wait_s=first, retry_wait_max_s=most).retry_wait_s == first
        return
    message = refuse(BatchProcessorSettings, retry_wait_s=first, retry_wait_max_s=most)
    assert "retry_wait_s=" in message
    assert "retry_wait_max_s=" in message


def test_issues_need_readings() -> None:
    message = refuse(BatchProcessorSettings, detect_memory_issues=True, memory_monitoring=False)
    assert "detect_memory_issues=True" in message
    assert "memory_monitoring=True" in message
    assert not BatchProcessorSettings(memory_monitoring=False).memory_monitoring  # alone it is no contradiction


@pytest.mark.parametrize("what", ["batch_size", "concurrency"])
@settings(deadline=None)
@given(start=st.integers(1, 100), least=st.integers(1, 50), most=st.integers(50, 100))
def test_where_it_starts_lies_within_the_bounds(what: str, start: int, least: int, most: int) -> None:
    values: dict[str, Any] = {
        "batch_processor": {what: start},
        "batch_optimizer": {f"min_{what}": least, f"default_{what}": 50, f"max_{what}": most},
    }
    if least <= start <= most:
        made = MemflowSettings(**values)
        assert getattr(made.batch_processor, what) == start
        return
    message = refuse(MemflowSettings, **values)
    assert f"batch_processor.{what}={start}" in message
    assert (f"batch_optimizer.min_{what}={least}" if start < least else f"batch_optimizer.max_{what}={most}") in message


# ---- the environment --------------------------------------------------------------------------------------------

SAMPLES: dict[type, tuple[str, Any]] = {
    bool: ("true", True),
    int: ("40", 40),
    float: ("42.5", 42.5),
    str: ("x", "x"),
    Path: ("x.json", Path("x.json")),
}
BESIDE = {
    "hold_pct": {"SHRINK_PCT": "80"},
    "shrink_pct": {"HOLD_PCT": "30"},
    "stop_pct": {"SHRINK_PCT": "41", "HOLD_PCT": "30"},
    "near_limit_threshold": {"HIGH_UTILIZATION_THRESHOLD": "40"},
    "min_batch_size": {"DEFAULT_BATCH_SIZE": "50"},
    "min_concurrency": {"DEFAULT_CONCURRENCY": "50"},
    "retry_wait_s": {"RETRY_WAIT_MAX_S": "50"},
}


def sample_for(model: type[BaseModel], name: str) -> tuple[str, Any]:
    annotation: Any = model.model_fields[name].annotation
    if name == "limit":
        return "80%", MemorySize("80%")
    if name == "on_error":
        return "collect", "collect"
    if name == "journal_synchronous":
        return "FULL", "FULL"
    if name == "allocation_sites":
        return "tracemalloc", "tracemalloc"
    kinds = [getattr(each, "__origin__", each) for each in get_args(annotation) or (annotation,)]
    return next(SAMPLES[each] for each in kinds if each in SAMPLES)


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_every_setting_is_read_from_its_variable(section: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = sample_for(SECTIONS[section], name)
    monkeypatch.setenv(f"MEMFLOW_{section}__{name}".upper(), text)
    for beside, other in BESIDE.get(name, {}).items():
        monkeypatch.setenv(f"MEMFLOW_{section}__{beside}".upper(), other)
    assert getattr(getattr(MemflowSettings(), section), name) == value


def test_arguments_come_before_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "40")
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__BATCH_SIZE", "20")
    made = MemflowSettings(batch_processor={"concurrency": 3})
    assert (made.batch_processor.concurrency, made.batch_processor.batch_size) == (3, 20)


def test_a_section_can_be_one_variable_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_MEMORY_MANAGER", '{"limit": "512MiB", "trim": false}')
    section = MemflowSettings().memory_manager
    assert (section.limit, section.trim) == (MemorySize("512MiB"), False)


def test_a_variable_that_cannot_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "0")
    assert "batch_processor.concurrency" in refuse(MemflowSettings)


def test_a_contradiction_between_variable_and_argument_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_OPTIMIZER__MAX_CONCURRENCY", "8")
    message = refuse(MemflowSettings, batch_processor={"concurrency": 9})
    assert "batch_processor.concurrency=9 exceeds batch_optimizer.max_concurrency=8" in message


def test_sections_by_themselves_read_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMFLOW_BATCH_PROCESSOR__CONCURRENCY", "40")
    assert BatchProcessorSettings().concurrency is None
