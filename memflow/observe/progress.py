"""The live view of a run, drawn with rich on a terminal.

Covers drawing only; the values come as snapshots. rich is imported when a view is opened, never before: without a
terminal, `plain` is used and rich is not loaded. What the user's code prints meanwhile appears above the view.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from memflow.observe.snapshot import RunSnapshot, format_count, format_duration, format_rate
from memflow.units import format_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["LiveDisplay", "render"]

_BAR_WIDTH = 28
_LEVEL_STYLES = {"normal": "green", "hold": "yellow", "shrink": "dark_orange", "stop": "bold red"}
_MOST_ISSUES = 3


class LiveDisplay:
    """Draws snapshots in place at the foot of a terminal; the view is gone once closed.

    Args:
        stream: The terminal, standard error as a rule.
        interval_s: Seconds between two drawings.
    """

    def __init__(self, stream: TextIO, *, interval_s: float = 0.2) -> None:
        from rich.console import Console
        from rich.live import Live

        self.interval_s = interval_s
        # No markup: rich reads it in what users print without a line break, and raises on "[/x]" into their code.
        self._console = Console(file=stream, markup=False, emoji=False, highlight=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Only what would land on this terminal is caught: a redirected standard output gets every print itself.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
        )
        self._live.start()

    def show(self, snapshot: RunSnapshot) -> None:
        """Draw the snapshot."""
        from rich.constrain import Constrain

        # Some columns stay free: "^C" is echoed behind the last line, and would start a line of its own.
        width = self._console.width - 4
        # The words beside a bar take about this much; on a narrow terminal they go before the bar.
        bar_width = min(_BAR_WIDTH, max(6, width - 64))
        self._live.update(Constrain(render(snapshot, bar_width=bar_width), width), refresh=True)

    def close(self) -> None:
        """Take the view away and show the cursor again."""
        if self._live.is_started:
            # rich drops what was printed without a line break; flushing prints it.
            sys.stdout.flush()
            sys.stderr.flush()
            self._live.stop()


def render(snapshot: RunSnapshot, *, bar_width: int = _BAR_WIDTH) -> RenderableType:
    """Lay a snapshot out as labelled lines with two bars.

    Args:
        snapshot: The run.
        bar_width: Characters of a bar.
    """
    from rich.console import Group
    from rich.text import Text

    rows = [
        ("memflow", Text(snapshot.title)),
        ("items", _items(snapshot, bar_width)),
        ("memory", _memory(snapshot, bar_width)),
        ("sizing", Text(_sizing(snapshot))),
    ]
    if snapshot.statistics.items_failed or snapshot.skipped_records:
        rows.append(("failed", Text(_failed(snapshot), style="yellow")))
    for number, issue in enumerate(snapshot.issues[:_MOST_ISSUES]):
        words = f"{issue.severity.name.lower()}: {issue.message}"
        rows.append(("" if number else "issues", Text(words, style="red")))
    # Not a table: rich shrinks its columns, and lets it grow past the width that it was given.
    return Group(*(_label(label, words) for label, words in rows))


def _label(label: str, words: Text) -> Text:
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    return line.append(f"{label:9}", style="bold").append_text(words)


def _items(snapshot: RunSnapshot, bar_width: int) -> Text:
    statistics = snapshot.statistics
    total = f" of {snapshot.total_items:,}" if snapshot.total_items is not None else ""
    fraction = snapshot.done_fraction
    parts = [f"{snapshot.finished_items:,}{total}", format_rate(statistics.items_per_s)]
    if fraction is not None:
        parts.insert(1, f"{fraction:.0%}")
    parts.append(f"{format_duration(statistics.elapsed_s)} so far")
    if snapshot.left_s is not None:
        parts.append(f"{format_duration(snapshot.left_s)} left")
    return _line(fraction, bar_width, "cyan", "   ".join(parts))


def _memory(snapshot: RunSnapshot, bar_width: int) -> Text:
    from rich.text import Text

    statistics = snapshot.statistics
    if not statistics.limit_bytes:
        return Text("not read yet", style="dim")
    style = _LEVEL_STYLES.get(statistics.level, "")
    line = _line(
        snapshot.memory_fraction,
        bar_width,
        style,
        f"{format_bytes(statistics.in_use_bytes)} of {format_bytes(statistics.limit_bytes)}   "
        f"{snapshot.memory_fraction:.0%}   ",
    )
    line.append(statistics.level, style=style)
    return line.append(f"   peak {format_bytes(statistics.peak_bytes)}")


def _line(fraction: float | None, bar_width: int, style: str, words: str) -> Text:
    """A bar, where there is something to show in it, and words behind it."""
    from rich.text import Text

    line = Text()
    if fraction is not None:
        full = round(min(1.0, max(0.0, fraction)) * bar_width)
        line.append("█" * full, style=style).append("░" * (bar_width - full), style="bright_black").append("  ")
    return line.append(words)


def _sizing(snapshot: RunSnapshot) -> str:
    statistics = snapshot.statistics
    batch = f"batches of {statistics.batch_size:,}   " if statistics.batch_size > 1 else ""
    parts = [f"{batch}{format_count(statistics.items_in_flight, 'item')} in flight, up to {statistics.concurrency:,}"]
    if statistics.waits:
        parts.append(f"waited {format_count(statistics.waits, 'time')} for memory")
    if statistics.retries:
        parts.append(f"{format_count(statistics.retries, 'retry')}".replace("retrys", "retries"))
    return "   ".join(parts)


def _failed(snapshot: RunSnapshot) -> str:
    parts = []
    if snapshot.statistics.items_failed:
        parts.append(format_count(snapshot.statistics.items_failed, "item"))
    if snapshot.skipped_records:
        parts.append(f"{format_count(snapshot.skipped_records, 'record')} skipped")
    return ", ".join(parts)
