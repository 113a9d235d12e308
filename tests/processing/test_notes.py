"""What a call notes in its flight record."""

from __future__ import annotations

import itertools
from pathlib import Path

import anyio
import pytest

from memflow.journal.flight_format import FlightEvent, FlightKind
from memflow.journal.flight_reader import load_flight
from memflow.processing.recorder import NoRecorder
from tests.processing.calls import METHODS, through
from tests.processing.journaling import Work, left_by, options, processor
from tests.processing.parts import MIB
from tests.processing.test_memory_pressure import Machine


def noted(path: Path, kind: FlightKind) -> list[tuple[float, ...]]:
    events: tuple[FlightEvent, ...] = load_flight(path.with_name(f"{path.name}-flight")).events
    return [event.numbers for event in events if event.kind == kind]


@METHODS
def test_batches_are_noted_with_their_positions(run, tmp_path: Path, method: str) -> None:
    async def main() -> None:
        path = tmp_path / "journal"
        async with processor(batch_size=4) as of:
            await through(of, method, range(42), Work(), size_hint=lambda _: 10, **options(False, path))
        started, ended = noted(path, FlightKind.BATCH_STARTED), noted(path, FlightKind.BATCH_ENDED)
        assert sorted(n for first, last, *_ in started for n in range(int(first), int(last) + 1)) == list(range(42))
        assert sum(items for items, *_ in ended) == 42
        assert all(weight == 10 * (last - first + 1) for first, last, weight, *_ in started)
        assert {first for first, *_ in started} == {first for _, _, _, first, _ in ended}
        assert all(seconds > 0 for _, seconds, *_ in ended)
        assert noted(path, FlightKind.DECISION) == [(4.0 if "batches" in method else 1.0, 4.0, 0.0, 0.0, 0.0)]
        assert noted(path, FlightKind.READING)

    run(main)


def test_want_of_memory_is_noted(run, tmp_path: Path) -> None:
    async def main() -> None:
        path, tried = tmp_path / "journal", set[int]()

        async def work(item: int) -> int:
            if item == 9 and item not in tried:
                tried.add(item)
                raise MemoryError
            return item

        async with processor() as of:
            await of.process(range(20), work, **options(False, path))
        assert noted(path, FlightKind.MEMORY_ERROR) == [(9.0, 0.0, 0.0, 0.0, 0.0)]
        assert noted(path, FlightKind.ALONE) == [(9.0, 0.0, 0.0, 0.0, 0.0)]
        assert len(noted(path, FlightKind.WAIT)) == 1

    run(main)


def test_a_suspect_is_noted_where_it_runs_alone(run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        noted: list[tuple[FlightKind, float]] = []
        monkeypatch.setattr(NoRecorder, "note", lambda _, kind, a: noted.append((kind, a)))
        journal = left_by(range(8), finished={}, suspects={5: 1})
        async with processor() as of:
            await of.process(range(8), Work(), **options(False, journal))
        assert noted == [(FlightKind.ALONE, 5)]  # and nothing else where there is no file

    run(main)


def test_levels_waits_and_reclaims_are_noted(run, tmp_path: Path) -> None:
    async def main() -> None:
        path, machine = tmp_path / "journal", Machine()

        async def work(item: int) -> int:
            machine.hold(200 * MIB)
            try:
                await anyio.sleep(0.02)
            finally:
                machine.hold(-200 * MIB)
            return item

        async with machine.processor(memory_manager={"auto_gc": True}, concurrency=8, auto_optimize=False) as of:
            await of.process(range(40), work, size_hint=lambda _: 200 * MIB, **options(False, path))
            figures, reclaims = of.statistics(), of.memory.sampler.reclaims
        levels = noted(path, FlightKind.LEVEL)
        assert all(before != now for before, now, *_ in levels)
        assert all(one[1] == other[0] for one, other in itertools.pairwise(levels))
        assert figures.waits
        waits = noted(path, FlightKind.WAIT)
        assert waits
        assert all(seconds >= 0 for seconds, *_ in waits)
        assert bool(noted(path, FlightKind.RECLAIM)) == bool(reclaims)

    run(main)
