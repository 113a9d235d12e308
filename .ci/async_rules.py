"""Runs flake8-async over the package, after proving that it catches what it is there for.

    python .ci/async_rules.py

Two plants, written to a temporary file: a `yield` inside a task group (PEP 789), and a swallowed cancellation. Both
must be caught. ruff has the rules of this name too, but none for the second plant, so it does not do; what it says is
printed for the day that it does.
"""
# ruff: noqa: S603, T201

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(sys.executable).parent
# ASYNC9xx ask for a checkpoint on every path, ASYNC124 for none without need: both know nothing of interfaces.
# ASYNC102 and ASYNC111 warn of orders of nesting that are meant where a class holds a task group.
PASSED_OVER = "ASYNC9,ASYNC102,ASYNC111,ASYNC124"
# launch: a sync function around the event loop itself; what leaves the loop there is no cancellation.
# source: a cancellation that the source made up is its failure; a real one is raised again by the checkpoint there.
EXCUSED = {("memflow/cli/launch.py", "ASYNC103"), ("memflow/processing/source.py", "ASYNC103")}
PLANTS = {
    "a yield inside a task group": (
        {"ASYNC101", "ASYNC119"},
        """
import anyio

async def numbers():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 1)
        yield 1
""",
    ),
    "a swallowed cancellation": (
        {"ASYNC103", "ASYNC104"},
        """
import anyio

async def forget():
    try:
        await anyio.sleep(1)
    except anyio.get_cancelled_exc_class():
        pass
""",
    ),
}


def main() -> int:
    """Check the plants, then the package."""
    with tempfile.TemporaryDirectory() as folder:
        missed = [name for name, plant in PLANTS.items() if not is_caught(name, *plant, Path(folder))]
    if missed:
        print(f"flake8-async no longer catches {' and '.join(missed)}")
        return 1
    files = sorted(path.as_posix() for path in Path("memflow").rglob("*.py"))
    said = [line for line in flake8_async(*files) if not is_excused(line)]
    print("\n".join(said) or f"{len(files)} files of the package are clean")
    return int(bool(said))


def is_excused(line: str) -> bool:
    """Whether a finding, `path:line:column: rule words`, is one of those that are meant."""
    path, _, rest = line.partition(":")
    return (path, rest.partition(" ")[2].partition(" ")[0]) in EXCUSED


def is_caught(name: str, rules: set[str], code: str, folder: Path) -> bool:
    """Whether flake8-async names one of the rules for a plant; prints what each tool said."""
    file = folder / "plant.py"
    file.write_text(code, encoding="utf-8")
    said = flake8_async(str(file))
    caught = {rule for rule in rules if any(f" {rule} " in line for line in said)}
    ruff = run("ruff", "check", "--isolated", "--preview", "--select", "ASYNC", "--output-format", "concise", str(file))
    by_ruff = "caught" if ruff.returncode else "missed"
    print(f"{name}: flake8-async {', '.join(sorted(caught)) or 'missed'}; ruff {by_ruff}")
    return bool(caught)


def flake8_async(*files: str) -> list[str]:
    """What flake8-async says, line by line.

    Raises:
        RuntimeError: It did not run.
    """
    done = run("flake8-async", "--anyio", "--disable", PASSED_OVER, *files)
    if done.returncode not in (0, 1) or done.stderr:
        raise RuntimeError(f"flake8-async failed: {done.stderr}")
    return done.stdout.splitlines()


def run(tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment."""
    return subprocess.run([TOOLS / tool, *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
