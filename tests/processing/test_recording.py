"""What is refused around a journal, what cannot be written, and what ran more than once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from memflow.exceptions import (
    BatchFailed,
    ConfigurationError,
    JournalLockedError,
    JournalMismatchError,
    JournalWriteError,
    ResultNotStorableError,
)
from memflow.journal.memory import MemoryJournal
from memflow.journal.sqlite import SqliteJournal
from tests.processing.calls import METHODS, check_quiet, through
from tests.processing.journaling import KEYED, Work, options, processor
from tests.processing.parts import MIB, settle
from tests.processing.test_memory_pressure import Machine

# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_journal_of_something_else_is_refused_with_what_differs(run, journal: Any) -> None:
    async def main() -> None:
        async with processor() as of:
            await of.process(range(5), Work(), **options(False, journal))
            with pytest.raises(JournalMismatchError, match=r"operation: the journal has 'test.work', this run 'other'"):
                await of.process(range(5), Work(), **options(False, journal, operation="other"))
            with pytest.raises(JournalMismatchError, match="length: the journal has 5, this run 6"):
                await of.process(range(6), Work(), **options(False, journal))
            with pytest.raises(JournalMismatchError, match="keyed: the journal has False"):
                await of.process(range(5), Work(), **options(True, journal))
            with pytest.raises(JournalMismatchError, match="keep_results: the journal has True"):
                await of.process(range(5), Work(), **options(False, journal, keep_results=False))
            assert await of.process(range(5), Work(), **options(False, journal)) == [0, 2, 4, 6, 8]

    run(main)


def test_two_runs_on_one_journal_at_once_are_refused(run, journal: Any) -> None:
    async def main() -> None:
        async with processor() as of, of.stream(range(50), Work(), **options(False, journal)) as results:
            await anext(results)
            with pytest.raises(JournalLockedError):
                await of.process(range(50), Work(), **options(False, journal))
            assert [result async for result in results] == [2 * n for n in range(1, 50)]

    run(main)


@METHODS
def test_a_result_that_is_not_stored_is_named_and_the_others_are(run, journal: Any, method: str) -> None:
    async def main() -> None:
        async def work(item: int) -> Any:
            await anyio.sleep(0.001)
            return ArithmeticError() if item == 40 and not again else item

        async with processor() as of:
            again = False
            with pytest.raises(ResultNotStorableError, match=r"the result of item 40 holds a builtins.ArithmeticError"):
                await through(of, method, range(200), work, **options(False, journal))
            check_quiet(of)
            again, counted = True, Work()
            assert len(await through(of, method, range(200), counted, **options(False, journal))) == 200
        assert 40 in counted.runs
        assert not {*range(30)} & {*counted.runs}

    run(main)


@METHODS
def test_a_full_disk_ends_the_call_and_keeps_what_was_acknowledged(run, tmp_path: Path, method: str) -> None:
    class Full(SqliteJournal):
        commits = 0

        def commit(self, commit: Any) -> None:
            self.commits += 1
            if self.commits > 2:
                raise JournalWriteError(str(self.path), "the disk is full")
            super().commit(commit)

    async def main() -> None:
        path = tmp_path / "journal"

        async def slow(item: int) -> int:
            await anyio.sleep(0.005)
            return 2 * item

        async with processor() as of:
            with pytest.raises(JournalWriteError, match="the disk is full"):
                await through(of, method, range(5000), slow, **options(False, Full(path)))
            check_quiet(of)
            kept = SqliteJournal(path).summary()
            assert 0 < kept.finished < 5000
            assert not kept.complete
            work = Work()
            assert await through(of, method, range(5000), work, **options(False, path)) == [2 * n for n in range(5000)]
        assert len(work.runs) == 5000 - kept.finished

    run(main)


def test_an_error_beside_that_of_the_journal_is_noted(run) -> None:
    class Full(MemoryJournal):
        def commit(self, commit: Any) -> None:
            raise JournalWriteError("in memory", "the disk is full")

    async def main() -> None:
        async with processor() as of:
            with pytest.raises((BatchFailed, JournalWriteError)) as caught:
                await of.process(range(3), Work(failing=[2]), **options(False, Full()))
        assert "the disk is full" in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])

    run(main)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"key": str}, "key= needs a journal"),
        ({"keep_results": True}, "keep_results= needs a journal"),
        ({"journal": ""}, "journal must be a path, not an empty text"),
        ({"journal": 7}, "journal must be a path or a journal, not int"),
        ({"journal": "x", "key": 7}, "key must be callable, not int"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, asked: dict[str, Any], message: str) -> None:
    async def main() -> None:
        async with processor() as of:
            with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
                await of.process([1], Work(), **asked)

    run(main)


# ---- want of memory --------------------------------------------------------------------------------------------------


@METHODS
@KEYED
def test_what_ran_out_of_memory_is_recorded_once(run, journal: Any, method: str, keyed: bool) -> None:
    async def main() -> None:
        tries: Counter[int] = Counter()

        async def work(item: int) -> int:
            tries[item] += 1
            await settle(2)
            if item % 7 == 3 and tries[item] == 1:
                raise MemoryError
            return 2 * item

        async with processor() as of:
            found = await through(of, method, range(40), work, **options(keyed, journal))
            assert found == [2 * n for n in range(40)]
            work_again = Work()
            assert await through(of, method, range(40), work_again, **options(keyed, journal)) == found
            check_quiet(of)
        assert not work_again.runs
        assert journal.summary().finished == 40

    run(main)


@METHODS
def test_what_was_preempted_is_recorded_once(run, journal: Any, method: str) -> None:
    async def main() -> None:
        machine, done = Machine(), Counter[int]()

        async def work(item: int) -> int:
            machine.hold(20 * MIB)
            try:
                await anyio.sleep(0.02)
            finally:
                machine.hold(-20 * MIB)
            done[item] += 1
            if item == 20:
                machine.others = 800 * MIB  # beside 8 x 20 MiB, more than nine tenths
            if sum(done.values()) == 60:
                machine.others = 100 * MIB
            return 2 * item

        async with machine.processor(concurrency=8, batch_size=2, auto_optimize=False) as of:
            found = await through(of, method, range(100), work, preemptible=True, **options(False, journal))
            assert of.statistics().items_preempted
            check_quiet(of)
        assert found == [2 * n for n in range(100)]
        assert journal.summary().finished == 100

    run(main)
