"""The live view: `memflow.observe.progress`. With a real terminal: tests/cli/test_terminal."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from memflow.observe.progress import LiveDisplay, render
from memflow.observe.snapshot import RunSnapshot
from tests.observe.snapshots import issue, snapshot, statistics


def drawn(shown: RunSnapshot, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(shown))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_everything_is_shown() -> None:
    waited = statistics(waits=3, retries=1, level="hold", batch_size=64)
    lines = drawn(snapshot(of=waited, total_items=2468, skipped_records=1, issues=(issue(),)))
    assert lines == [
        "memflow  jobs:embed   in.jsonl → out.jsonl",
        "items    ██████████████░░░░░░░░░░░░░░  1,234 of 2,468   50%   123/s   10 s so far   10 s left",
        "memory   ██████████████░░░░░░░░░░░░░░  256 MiB of 512 MiB   50%   hold   peak 384 MiB",
        "sizing   batches of 64   7 items in flight, up to 16   waited 3 times for memory   1 retry",
        "failed   34 items, 1 record skipped",
        "issues   warning: live memory has grown by 25 MB/min",
    ]


def test_what_is_not_known_is_left_out() -> None:
    fresh = statistics(items_done=0, items_failed=0, limit_bytes=0, elapsed_s=0.0, items_per_s=0.0)
    lines = drawn(snapshot(of=fresh))
    assert lines[1:3] == ["items    0   0/s   0.0 s so far", "memory   not read yet"]
    assert len(lines) == 4


@pytest.mark.parametrize("width", [20, 40, 80])
def test_lines_never_wrap_and_labels_stay_whole(width: int) -> None:
    lines = drawn(snapshot(total_items=2468, issues=(issue(message="x" * 300),)), width)
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines] == ["memflow", "items", "memory", "sizing", "failed", "issues"]


def test_more_than_the_limit_fills_the_bar_and_no_more() -> None:
    assert "█" * 28 + "  600 MiB" in drawn(snapshot(of=statistics(in_use_bytes=600 << 20)))[2]


def test_at_most_three_issues_are_shown() -> None:
    lines = drawn(snapshot(issues=tuple(issue(message=str(each)) for each in range(9))))
    assert [line.split()[-1] for line in lines[-3:]] == ["0", "1", "2"]


def test_closing_twice_is_fine_and_prints_without_a_break_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    terminal, out = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    display = LiveDisplay(terminal)
    print("[/x] and [bold]markup[/bold] stay as they are", end="")
    sys.stdout.flush()
    print("no break", end="")
    display.show(snapshot())
    display.close()
    display.close()
    assert sys.stdout is out
    assert "[/x] and [bold]markup[/bold] stay as they are" in terminal.getvalue()
    assert "no break" in terminal.getvalue()


def test_a_redirected_standard_output_gets_every_print_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    display = LiveDisplay(io.StringIO())
    print("kept")
    display.close()
    assert out.getvalue() == "kept\n"
