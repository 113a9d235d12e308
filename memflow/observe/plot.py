"""A curve of memory over time as lines of text. Pure.

Covers columns of blocks, or of ASCII, under a line for the limit. What is said beside it is `autopsy_text`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from memflow.units import format_bytes

__all__ = ["plot_memory"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = "    .:+##"
_LABEL = 10
_LEAST_COLUMNS = 12


def plot_memory(
    points: Sequence[tuple[float, int]], limit_bytes: int, *, width: int, height: int = 8, plain: bool = False
) -> list[str]:
    """Draw use over time, the end at the right.

    Args:
        points: Seconds before the end and bytes in use, the oldest first.
        limit_bytes: Where the line for the limit is drawn; 0 for none.
        width: Columns in all, labels included.
        height: Lines of the curve.
        plain: ASCII alone.

    Returns:
        Lines: the curve, and the times below it. None without points.
    """
    if not points:
        return []
    columns = max(_LEAST_COLUMNS, width - _LABEL - 2)
    span_s = max(point[0] for point in points)
    levels = _levels(points, span_s, columns)
    top = max(limit_bytes, *levels, 1)
    limit_row = round((height - 1) * limit_bytes / top) if limit_bytes else -1
    shades, dash, side = (_ASCII, "-", "|") if plain else (_BLOCKS, "─", "┤")
    lines = []
    for row in range(height - 1, -1, -1):
        filling = dash if row == limit_row else " "
        label = {0: "0", height - 1: format_bytes(top), limit_row: format_bytes(limit_bytes)}.get(row, "")
        cells = (_cell(level * height / top - row, shades, filling) for level in levels)
        lines.append(f"{label:>{_LABEL}} {side}{''.join(cells)}".rstrip())
    begin, end = f"-{span_s:.1f} s", "0 s"
    lines.append(" " * (_LABEL + 2) + begin + end.rjust(columns - len(begin)))
    return lines


def _cell(filled: float, shades: str, filling: str) -> str:
    """One cell that is filled so far, from 0 to 1; empty ones show the line behind."""
    eighths = round(max(0.0, min(1.0, filled)) * 8)
    return shades[eighths] if eighths and shades[eighths] != " " else filling


def _levels(points: Sequence[tuple[float, int]], span_s: float, columns: int) -> list[int]:
    """The most that was in use in each column's time; that of the column before where nothing was read."""
    found: list[int | None] = [None] * columns
    for before_s, in_use in points:
        place = min(columns - 1, int((1 - before_s / span_s) * columns)) if span_s > 0 else columns - 1
        found[place] = max(found[place] or 0, in_use)
    level, levels = points[0][1], []
    for each in found:
        level = level if each is None else each
        levels.append(level)
    return levels
