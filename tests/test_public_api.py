"""What `import memflow` gives, does and refuses: names, side effects, another distribution's files in our folder."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import memflow

PACKAGE = Path(memflow.__file__).parent
OPTIONAL = ("rich", "stamina", "zstandard", "numpy", "trio", "memray", "tracemalloc")
HEAVY = ("psutil", "pydantic", "pydantic_settings", "anyio", "asyncio", "ctypes", "logging")


def run_python(code: str, *, path: Path = PACKAGE.parent, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, with memflow from `path` (by default where it lies now)."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MEMFLOW_", "PYTHON"))}
    environment |= {"PYTHONPATH": str(path), **variables}
    return subprocess.run(
        [sys.executable, "-P", "-W", "default", "-c", textwrap.dedent(code)],  # -P: not from the current directory
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


def run_for_json(code: str, *, path: Path = PACKAGE.parent, **variables: str) -> Any:
    done = run_python(code, path=path, **variables)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return json.loads(done.stdout)


# ---- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", memflow.__all__)
def test_every_name_resolves(name: str) -> None:
    assert getattr(memflow, name) is not None


def test_all_is_sorted_and_without_doubles() -> None:
    assert memflow.__all__ == sorted(set(memflow.__all__))


def test_the_names_of_the_design_are_there() -> None:
    designed = {
        *("BatchProcessor", "BatchProcessorSettings", "MemflowSettings", "MemoryManagerSettings"),
        *("HeapAnalyzerSettings", "BatchOptimizerSettings", "MemoryManager", "HeapAnalyzer", "BatchOptimizer"),
        *("create_memory_manager", "memory_manager", "heap_analyzer", "batch_optimizer", "MemorySize"),
        *("BatchFailed", "ItemFailure", "MemoryPressureError", "MemflowError", "EventsDropped"),
    }
    assert designed <= set(memflow.__all__)


def test_every_error_of_the_tree_is_public_or_the_command_line_s() -> None:
    errors = importlib.import_module("memflow.exceptions")
    assert set(errors.__all__) - set(memflow.__all__) == {"RecordError", "TargetError"}
    assert all(issubclass(getattr(errors, name), memflow.MemflowError) for name in errors.__all__)


def test_dir_lists_what_was_not_used_yet() -> None:
    assert set(memflow.__all__) <= set(dir(memflow))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'BatchProcesor'"):
        _ = memflow.BatchProcesor


@pytest.mark.parametrize("name", memflow.__all__)
def test_everything_public_is_documented(name: str) -> None:
    value = getattr(memflow, name)
    if isinstance(value, type) or callable(value):
        assert value.__doc__


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


# ---- side effects -----------------------------------------------------------------------------------------------


def test_importing_loads_neither_optional_nor_heavy_packages() -> None:
    loaded = run_for_json("import json, sys, memflow; print(json.dumps(sorted(sys.modules)))")
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & {*OPTIONAL, *HEAVY}
    ours = {name for name in loaded if name.partition(".")[0] == "memflow"}
    assert ours == {"memflow", "memflow._version"}


def test_every_public_name_together_loads_nothing_optional() -> None:
    """The default parts are left out: making one reads memory, which is what they are for."""
    loaded = run_for_json(
        """
        import json, sys, memflow
        for name in memflow.__all__:
            if name not in ("memory_manager", "heap_analyzer", "batch_optimizer"):
                getattr(memflow, name)
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
        """
    )
    assert not set(loaded) & {*OPTIONAL, "psutil"}


OPENED_BEYOND_CODE = """
import json, sys
opened, code = [], {".py", ".pyc"}

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append(arguments[0] if isinstance(arguments[0], str) else arguments[0].decode())
    elif event.partition(".")[0] in ("socket", "subprocess", "ctypes"):
        opened.append(event)

sys.addaudithook(watch)
import memflow
USE
print(json.dumps([each for each in opened if not each.endswith((".py", ".pyc", ".so"))]))
"""


def test_importing_opens_no_file_but_code() -> None:
    opened = run_for_json(OPENED_BEYOND_CODE.replace("USE", ""), MEMFLOW_BATCH_PROCESSOR__CONCURRENCY="nonsense")
    assert [each for each in opened if not os.path.isdir(each)] == []


def test_the_environment_is_read_on_first_use() -> None:
    """A variable that cannot work would raise at import, if import read it."""
    done = run_python(
        "import memflow; print('imported'); memflow.memory_manager", MEMFLOW_MEMORY_MANAGER__HOLD_PCT="200"
    )
    assert done.stdout == "imported\n"
    assert "hold_pct" in done.stderr


def test_a_default_part_is_made_once_and_shares_its_state() -> None:
    assert memflow.heap_analyzer is memflow.heap_analyzer
    assert memflow.heap_analyzer.state is memflow.batch_optimizer.state


# ---- the other distribution -------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder that holds a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "memflow", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_copy_alone_is_silent(copy: Path) -> None:
    done = run_python("import memflow; print(memflow.__file__)", path=copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(copy))


@pytest.mark.parametrize("file", ["memflow.abi3.so", "memflow.py"])
def test_both_distributions_in_one_folder_warn(copy: Path, file: str) -> None:
    """The other distribution's one module of its own is `memflow/memflow`; looking for it must not load it."""
    (copy / "memflow" / file).write_text("raise SystemExit('loaded')")
    done = run_python("import memflow; print(memflow.MemorySize('1MiB'))", path=copy)
    assert done.stdout == "1MiB\n"
    assert "RuntimeWarning: the distributions memflow and memflow-async are both installed" in done.stderr
    assert "pip uninstall -y memflow memflow-async && pip install memflow-async" in done.stderr


@pytest.mark.parametrize("content", ["__version__ = '0.2.0'\n", "__version__ = '0.2.0'\nDISTRIBUTION = 'memflow'\n"])
def test_overwritten_files_are_refused(copy: Path, content: str) -> None:
    (copy / "memflow" / "_version.py").write_text(content)
    done = run_python("import memflow", path=copy)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("memflow.exceptions.InstallationError: files of another distribution stand in the folder")
    assert "pip uninstall -y memflow memflow-async && pip install memflow-async" in last
