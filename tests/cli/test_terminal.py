"""The live view on a real (pseudo) terminal, and what the user's code prints meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals of this kind")

JOB = """
import sys
import time
def work(record):
    sys.stdout.write(f"item {record['id']}\\n")  # print writes in pieces, which threads may mix
    time.sleep(0.12)  # long enough that the view is drawn, however many run at once
    return record
"""


def run_on_terminal(shell: Shell, *words: str, stdout: Path | None) -> tuple[int, str]:
    """Run with standard error, and standard output if None, on a terminal; returns the status and what it showed."""
    (shell.folder / "printing.py").write_text(JOB)
    shell.write_ids(40)
    master, slave = os.openpty()
    out = slave if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
    process = subprocess.Popen(
        [sys.executable, "-m", "memflow", "run", "printing:work", "--input", "in.jsonl", *words],
        cwd=shell.folder,
        env=shell.environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=slave,
    )
    os.close(slave)
    if stdout is not None:
        os.close(out)
    shown = b""
    try:
        while block := os.read(master, 65536):
            shown += block
    except OSError:
        pass  # Linux says EIO once nobody holds the other end
    os.close(master)
    return process.wait(timeout=120), shown.decode()


def plain(shown: str) -> str:
    """What was shown without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_the_view_is_drawn_prints_appear_above_it_and_the_cursor_comes_back(shell: Shell) -> None:
    status, shown = run_on_terminal(shell, "--output", "out.jsonl", stdout=None)
    assert status == 0, shown
    assert "█" in shown
    assert "items in flight, up to" in plain(shown)
    assert sorted(map(int, re.findall(r"(?:^|\r)item (\d+)\s*$", plain(shown), re.M))) == list(range(40))
    assert "done: 40 items" in plain(shown)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert len(shell.read()) == 40


def test_prints_reach_a_redirected_file_and_not_the_view(shell: Shell) -> None:
    status, shown = run_on_terminal(shell, "--output", "out.jsonl", stdout=shell.folder / "printed.txt")
    assert status == 0, shown
    printed = (shell.folder / "printed.txt").read_text().splitlines()
    assert sorted(printed) == sorted(f"item {each}" for each in range(40))
    assert "█" in shown
    assert re.search(r"(?:^|\r)item \d", plain(shown), re.M) is None


def test_records_on_a_redirected_standard_output_are_kept_clean(shell: Shell) -> None:
    status, shown = run_on_terminal(shell, stdout=shell.folder / "records.jsonl")
    assert status == 0, shown
    assert [each["id"] for each in shell.read("records.jsonl")] == list(range(40))
    assert "█" in shown
    assert sorted(map(int, re.findall(r"(?:^|\r)item (\d+)\s*$", plain(shown), re.M))) == list(range(40))


def test_records_on_the_terminal_itself_get_no_live_view_between_them(shell: Shell) -> None:
    status, shown = run_on_terminal(shell, stdout=None)
    assert status == 0, shown
    assert "█" not in shown
    assert len(re.findall(r'^\{"id":\d+\}\s*$', plain(shown), re.M)) == 40


def test_plain_lines_on_a_terminal_when_asked(shell: Shell) -> None:
    status, shown = run_on_terminal(shell, "--output", "out.jsonl", "--progress", "plain", stdout=None)
    assert status == 0
    assert "█" not in shown
    assert "\x1b[?25l" not in shown
