"""The front door: `memflow.cli`, `memflow.cli.app`, `python -m memflow`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memflow._version import __version__
from memflow.cli import main
from tests.cli.conftest import Shell


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_names_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "run TARGET" in out
    assert "doctor" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"memflow {__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["docter"], "there is no command 'docter'; did you mean doctor?"),
        (["xyz"], "the commands are run, doctor, autopsy and journal, see memflow --help"),
        ([], "a command is needed; the commands are run, doctor, autopsy and journal"),
    ],
)
def test_other_commands_are_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err


def test_the_module_runs(shell: Shell) -> None:
    done = shell.memflow("run", "--help")
    assert done.status == 0
    assert done.out.startswith("usage: memflow run [OPTIONS] TARGET")
    assert "--memory-manager.limit SIZE" in done.out
    assert "default factory" not in done.out


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], ["pydantic", "anyio", "rich", "psutil", "argparse"]),
        (["run", "--help"], ["rich", "psutil", "zstandard", "trio", "memflow.processing.processor"]),
    ],
    ids=["memflow", "memflow run"],
)
def test_help_loads_little(words: list[str], absent: list[str]) -> None:
    code = (
        "import sys\nfrom memflow.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {absent!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


def test_a_run_without_a_terminal_loads_no_rich(shell: Shell) -> None:
    shell.write_ids(1)
    (shell.folder / "spy.py").write_text("import sys\ndef spy(item):\n    return 'rich' in sys.modules\n")
    done = shell.memflow("run", "spy:spy", "--input", "in.jsonl")
    assert done.out == "false\n", done.err
