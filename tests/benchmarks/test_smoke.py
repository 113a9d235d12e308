"""Every benchmark runs, at a size at which its figures mean nothing."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.__main__ import main

    return main


NAMES = [
    *("overhead", "batching", "calls", "sampling", "responsiveness", "backpressure", "footprint"),
    *("analyzer", "journal", "estimator"),
]
TITLES = {
    "overhead": "memflow stream ordered, fixed",
    "batching": "stream_batches ordered, auto",
    "calls": "process of a sync function",
    "sampling": "whole sample",
    "responsiveness": "memflow stream_batches",
    "backpressure": "items ahead of a consumer",
    "footprint": "peak of the process",
    "analyzer": "kB that are reached from the analyzer",
    "journal": "until the first new item starts",
    "estimator": "bytes per item",
}


def test_every_benchmark_is_run_here(main):
    assert list(sys.modules[main.__module__].BENCHMARKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_prints_its_table_below_the_machine(main, name, capfd):
    main(["--tiny", name])

    printed = capfd.readouterr().out
    assert printed.startswith("machine ")
    assert TITLES[name] in printed


def test_an_unknown_name_is_refused_with_those_that_exist(main, capsys):
    with pytest.raises(SystemExit):
        main(["speed"])

    assert "there is no benchmark 'speed'; choose from overhead, batching" in capsys.readouterr().err


def test_a_missing_peer_is_named_and_skipped(main, monkeypatch, capsys):
    from benchmarks import common

    monkeypatch.setattr(common, "is_installed", lambda package: package != "aiometer")
    common.say_missing("streamable", "aiometer")

    assert (
        capsys.readouterr().out == "  aiometer is not installed and was skipped: pip install 'memflow-async[bench]'\n"
    )
