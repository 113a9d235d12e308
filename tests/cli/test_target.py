"""Finding functions by name: `memflow.cli.target`. Messages for most mistakes are in test_run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from memflow.cli.target import find_function, find_target
from memflow.exceptions import TargetError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    for name in ("target_jobs", "target_package", "target_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_modules_and_packages_of_the_current_directory_are_found(tmp_path: Path) -> None:
    write(tmp_path / "target_package" / "__init__.py", "")
    write(
        tmp_path / "target_package" / "inner.py", "class Model:\n    def __call__(self, x): return x\nmodel = Model()"
    )
    assert find_function("target_package.inner:model")(3) == 3
    assert find_function("target_package.inner:model.__call__")(3) == 3


@pytest.mark.parametrize("name", ["builtins:len", "json:dumps", "builtins:str", "operator:neg"])
def test_anything_that_takes_one_argument_will_do(name: str) -> None:
    assert callable(find_function(name))


@pytest.mark.parametrize("name", ["jobs", "jobs:", ":embed", "", ":"])
def test_the_form_is_explained(name: str) -> None:
    with pytest.raises(TargetError, match="a function is named by its module, a colon and its name"):
        find_target(name)


def test_a_missing_module_tells_where_it_was_looked_for_and_what_is_near(tmp_path: Path) -> None:
    write(tmp_path / "target_jobs.py", "")
    with pytest.raises(TargetError) as caught:
        find_target("target_job:embed")
    message = str(caught.value)
    assert f"looked in {tmp_path}" in message
    assert sys.path[-1] in message
    assert message.endswith("did you mean target_jobs?")


def test_a_missing_submodule_is_not_taken_for_a_broken_import(tmp_path: Path) -> None:
    write(tmp_path / "target_package" / "__init__.py", "")
    with pytest.raises(TargetError, match=r"there is no module target_package\.outer"):
        find_target("target_package.outer:f")


def test_a_missing_function_names_what_the_module_has(tmp_path: Path) -> None:
    write(tmp_path / "target_jobs.py", "from json import dumps\ndef beta(x): ...\ndef alpha(x): ...\n_private = 1\n")
    with pytest.raises(TargetError) as caught:
        find_target("target_jobs:zzz")
    assert str(caught.value).endswith("looked for target_jobs:zzz; it has alpha, beta")
    assert str(tmp_path / "target_jobs.py") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = (", r"SyntaxError: .* at .*target_jobs.py:1; mend the module"),
        ("\nimport nowhere_at_all", r"ModuleNotFoundError: No module named 'nowhere_at_all' at .*target_jobs.py:2"),
        ("def f():\n    1 / 0\nf()", r"ZeroDivisionError: division by zero at .*target_jobs.py:2"),
    ],
)
def test_a_module_that_breaks_while_it_is_imported_is_told_with_the_place(text: str, told: str, tmp_path: Path) -> None:
    write(tmp_path / "target_jobs.py", text)
    with pytest.raises(TargetError, match=told):
        find_target("target_jobs:f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def f(): ...", "cannot be called with one item: too many positional arguments"),
        ("def f(a, b): ...", "missing a required argument: 'b'"),
        ("def f(*, a): ...", "cannot be called with one item"),
        ("async def f(a):\n    yield a", "is a generator function, and its items would never run"),
        ("f = 3", "is not callable, it is a int"),
    ],
)
def test_what_cannot_be_called_with_an_item_is_refused(text: str, told: str, tmp_path: Path) -> None:
    write(tmp_path / "target_jobs.py", text)
    with pytest.raises(TargetError, match=told):
        find_function("target_jobs:f")
