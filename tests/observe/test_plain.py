"""Progress as lines: `memflow.observe.plain`."""

from __future__ import annotations

import io

from memflow.observe.plain import PlainDisplay, describe
from tests.observe.snapshots import issue, snapshot, statistics


def test_a_line_says_what_is_known() -> None:
    line = describe(snapshot(total_items=2468, skipped_records=2, issues=(issue(),)))
    assert line == (
        "1,234 of 2,468 items (50%), 123/s, 10 s left, 7 in flight of 16, memory 256 MiB of 512 MiB (50%, normal), "
        "34 failed, 2 records skipped, issues: live memory has grown by 25 MB/min"
    )


def test_a_line_leaves_out_what_is_not_known() -> None:
    plain = statistics(items_failed=0, items_done=5, limit_bytes=0, batch_size=32, items_per_s=0.5)
    assert describe(snapshot(of=plain)) == "5 items, 0.5/s, batches of 32, 7 in flight of 16"


def test_lines_go_to_the_stream_one_a_snapshot() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, interval_s=2.0)
    display.show(snapshot())
    display.show(snapshot())
    display.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.startswith("memflow: 1,234 items") for line in lines)
    assert display.interval_s == 2.0
