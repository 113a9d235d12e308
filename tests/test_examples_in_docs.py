"""Every sample in the README and under docs/ runs, under asyncio and trio, and prints what the page says.

How a page is read:

- A `python` block runs; those of one page share their names, in order. One that begins with `# name.py` is saved
  under that name first, so that later blocks can import it.
- A `bash` block whose lines begin with `memflow ` runs too, one command a line, in the page's own folder.
- A `text` block right behind one of them is what it prints; `...` in it stands for anything.
- A block marked `<!-- sample: design -->` is run by `test_design_samples` and must be the same as there.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

import memflow
from tests.test_design_samples import THE_PUBLIC_FACE

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*) -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$(?P<after>\n*)",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Sample:
    """A block of code on a page."""

    line: int
    language: str
    code: str
    mark: str
    output: str | None = None

    @property
    def runs(self) -> bool:
        if self.mark.startswith(("sample", "command")):
            return False
        return self.language == "python" or (
            self.language == "bash" and all(each.startswith("memflow ") for each in self.code.splitlines())
        )


def read_samples(page: Path) -> list[Sample]:
    """The blocks of a page, with their output where it stands behind them."""
    samples: list[Sample] = []
    text = page.read_text(encoding="utf-8")
    ended = -1
    for match in _BLOCK.finditer(text):
        if match["language"] == "text" and match.start() == ended:
            samples[-1].output = match["code"]
        else:
            line = text.count("\n", 0, match.start("code"))
            samples.append(Sample(line, match["language"], match["code"], match["mark"] or ""))
        ended = match.end()
    return samples


def run_python(sample: Sample, names: dict[str, Any], page: Path) -> str:
    saved = re.match(r"# (\w+\.py)\n", sample.code)
    if saved:
        Path(saved[1]).write_text(sample.code, encoding="utf-8")
    # Blank lines, so that a traceback shows the line on the page.
    code = compile("\n" * sample.line + sample.code, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return out.getvalue()


def run_commands(sample: Sample) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(memflow.__file__).parent.parent)}
    shown = ""
    for line in sample.code.splitlines():
        words = shlex.split(line, comments=True)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "memflow", *words], capture_output=True, text=True, env=environment, timeout=60
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        shown += done.stdout
    return shown


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run in, from which modules can be imported; what a page sets in the environment is undone."""
    before, variables = set(sys.modules), dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    os.environ.clear()
    os.environ.update(variables)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_samples_of_a_page(page: Path, backend: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = anyio.run
    monkeypatch.setattr(anyio, "run", lambda main, *words: run(main, *words, backend=backend))
    script = place / "sample.py"
    script.write_text("print('a file')\n")
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    checker = doctest.OutputChecker()
    for sample in [each for each in read_samples(page) if each.runs]:
        shown = run_python(sample, names, page) if sample.language == "python" else run_commands(sample)
        if sample.output is not None:
            fits = checker.check_output(sample.output, shown, doctest.ELLIPSIS)
            assert fits, f"{page.name}:{sample.line} printed\n{shown}\nand not\n{sample.output}"


def test_the_readme_shows_the_design_s_sample() -> None:
    (sample,) = [each for each in read_samples(ROOT / "README.md") if each.mark == "sample: design"]
    assert sample.code == THE_PUBLIC_FACE


def test_the_tutorial_has_samples_of_every_kind() -> None:
    """The reader of pages found them: a slip in it would let everything pass."""
    samples = read_samples(ROOT / "docs" / "tutorial.md")
    assert len([each for each in samples if each.runs]) > 15
    assert len([each for each in samples if each.output]) > 10
    assert {"python", "bash", "text"} <= {each.language for each in samples}
    assert all(each.language in ("python", "bash", "text", "toml", "json") for each in samples)
