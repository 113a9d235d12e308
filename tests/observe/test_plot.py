"""A curve of memory in lines of text: `memflow.observe.plot`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.observe.plot import plot_memory

MIB = 1 << 20
RAMP = [(10 - each / 10, each * MIB) for each in range(101)]


def test_a_ramp_rises_to_the_right_under_the_limit() -> None:
    lines = plot_memory(RAMP, 128 * MIB, width=28, height=4)
    assert lines[0].startswith("   128 MiB ┤────")
    assert lines[3].startswith("         0 ┤")
    assert lines[4].split() == ["-10.0", "s", "0", "s"]
    heights = [sum(line.ljust(28)[column] not in " ─" for line in lines[:4]) for column in range(12, 28)]
    assert heights == sorted(heights)
    assert heights[-1] == 4


def test_a_limit_below_what_was_used_is_a_line_in_between() -> None:
    lines = plot_memory([(1.0, 10 * MIB), (0.5, 10 * MIB), (0.0, 200 * MIB)], 100 * MIB, width=40)
    assert lines[0].startswith("   200 MiB ┤ ")
    assert any(line.startswith("   100 MiB ┤────") for line in lines)


def test_plain_is_ascii() -> None:
    lines = plot_memory(RAMP, 128 * MIB, width=60, plain=True)
    assert all(line.isascii() for line in lines)
    assert "---" in lines[0]
    assert lines[-2].count("#") > 40


@pytest.mark.parametrize("points", [[(0.0, 5)], [(0.0, 0), (0.0, 0)]])
def test_a_single_moment_fills_the_width(points: list[tuple[float, int]]) -> None:
    assert len(plot_memory(points, 0, width=30)) == 9
    assert plot_memory([], 5, width=30) == []


@given(
    points=st.lists(st.tuples(st.floats(0, 60), st.integers(0, 2**40)), min_size=1),
    limit=st.integers(0, 2**40),
    width=st.integers(0, 200),
    plain=st.booleans(),
)
def test_lines_keep_to_the_width(points: list[tuple[float, int]], limit: int, width: int, plain: bool) -> None:
    lines = plot_memory(sorted(points, reverse=True), limit, width=width, plain=plain)
    assert len(lines) == 9
    assert max(len(line) for line in lines) <= max(width, 24)
