"""Variables that nobody reads: `memflow.cli.environment`."""

from __future__ import annotations

import pytest

from memflow.cli.environment import known_variables, unknown_variables
from memflow.settings import MemflowSettings


def test_every_setting_has_a_variable() -> None:
    known = known_variables()
    assert "MEMFLOW_MEMORY_MANAGER__LIMIT" in known
    assert "MEMFLOW_BATCH_PROCESSOR" in known
    assert len(set(known)) == len(known) > 3 * len(MemflowSettings.model_fields)
    assert unknown_variables(known) == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MEMFLOW_BATCH_PROCESSOR_CONCURRENCY", "MEMFLOW_BATCH_PROCESSOR__CONCURRENCY"),
        ("MEMFLOW_BATCH_PROCESSOR__CONCURENCY", "MEMFLOW_BATCH_PROCESSOR__CONCURRENCY"),
        ("memflow_memory_manager__limt", "MEMFLOW_MEMORY_MANAGER__LIMIT"),
        ("MEMFLOW_LEAK_THRESHOLD_RATE", "MEMFLOW_HEAP_ANALYZER__LEAK_THRESHOLD_RATE"),
    ],
)
def test_a_misspelt_variable_gets_the_nearest_name(name: str, meant: str) -> None:
    assert unknown_variables([name, "PATH"]) == (f"the variable {name} is read by nobody; did you mean {meant}?",)


def test_other_variables_and_other_cases_are_left_alone() -> None:
    assert unknown_variables(["PATH", "MEMFLOWER", "memflow_memory_manager__limit"]) == ()
    assert unknown_variables(["MEMFLOW_XYZZY_PLUGH_42"]) == ("the variable MEMFLOW_XYZZY_PLUGH_42 is read by nobody",)
