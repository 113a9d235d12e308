"""The bench of pairs: how runs are judged, and one quick run."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def ran(*operations, way="apart", pair="leaky, clean", error=""):
    from benchmarks.leaks.pairs import Ran

    told = [{"at_s": 5.0 + 2 * n, "operation": each, "sureness": 0.9} for n, each in enumerate(operations)]
    return Ran(pair, way, tuple(told), error)


@pytest.mark.parametrize(
    ("operations", "verdict", "ever_wrong", "named_after_s"),
    [
        ([], "silent", False, None),
        ([None, None], "unsure", False, None),
        ([None, "first"], "right", False, 2.0),
        (["first", None], "unsure", False, 0.0),
        (["second"], "wrong", True, 0.0),
        ([None, "second", "first"], "right", True, 2.0),
    ],
)
def test_a_run_is_judged_by_what_was_told_last_and_by_the_worst(operations, verdict, ever_wrong, named_after_s):
    run = ran(*operations)
    assert (run.verdict, run.is_ever_wrong, run.named_after_s) == (verdict, ever_wrong, named_after_s)


def test_rows_count_verdicts_of_each_pair_and_totals_those_of_each_way():
    from benchmarks.leaks.pairs import rows_of, totals_of

    runs = [ran("first"), ran("second"), ran(None), ran(), ran(None, way="in step"), ran(error="killed")]
    assert rows_of(runs) == [
        ("leaky, clean", "apart", "3/4", "1", "1", "1", "1", "0.0", "0.90"),
        ("leaky, clean", "in step", "1/1", "0", "0", "1", "0", "-", "0.90"),
    ]
    assert [value for _, value in totals_of(runs)] == ["1 of 2", "2 of 3", "1", "0 of 0", "0 of 1", "0"]


def test_pairs_are_of_one_that_leaks_and_one_that_does_not():
    from benchmarks.leaks.pairs import PAIRS
    from benchmarks.leaks.sets import ALL

    assert len(PAIRS) >= 6
    assert all(ALL[leaky].truth.leaks and not ALL[clean].truth.leaks for leaky, clean in PAIRS)


def test_a_quick_run_prints_a_row_for_each_way(capfd):
    from benchmarks.leaks.pairs import main

    assert main(["--pairs", "1", "--seeds", "1", "--seconds", "0.5"]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("machine ")
    assert "module_list, json_documents" in printed
    assert "in step: named, of those with growth told" in printed
