"""Scripts that tests run in a Python of their own, where nothing else moves memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import memflow


def run_python(script: str, *args: str, **environment: str) -> str:
    """Run a script with the memflow under test on its path, and return what it printed; it must succeed."""
    home = str(Path(next(iter(memflow.__path__))).parent)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *args],
        env={**os.environ, "PYTHONPATH": home, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
