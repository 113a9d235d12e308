"""Calls that keep a journal: what is run again, what is not, and what is delivered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from memflow.exceptions import (
    BatchFailed,
    JournalLockedError,
    SizeHintError,
    SourceFailed,
)
from memflow.journal.memory import MemoryJournal
from memflow.processing.outcome import FINISHED_EARLIER, ItemFailure
from tests.processing.calls import METHODS, arriving, check_quiet, through
from tests.processing.journaling import KEYED, OPERATION, Work, left_by, options, processor

# ---- going on --------------------------------------------------------------------------------------------------------


@METHODS
@KEYED
def test_a_call_that_failed_goes_on_where_it_ended(run, journal: Any, method: str, keyed: bool) -> None:
    async def main() -> None:
        first, second = Work(failing=[30]), Work()
        async with processor() as of:
            with pytest.raises(BatchFailed) as caught:
                await through(of, method, range(50), first, **options(keyed, journal))
            assert 30 in caught.value.indices[0]
            check_quiet(of)
            assert await through(of, method, range(50), second, **options(keyed, journal)) == [2 * n for n in range(50)]
            check_quiet(of)
        assert 10 < len(second.runs) < 50
        assert all(count == 1 for count in second.runs.values())
        assert journal.summary().complete

    run(main)


@METHODS
@KEYED
def test_a_call_that_was_cancelled_goes_on_where_it_ended(run, journal: Any, method: str, keyed: bool) -> None:
    async def main() -> None:
        first, second = Work(stops_at=20), Work()
        async with processor() as of:
            async with anyio.create_task_group() as group:

                async def begin() -> None:
                    await through(of, method, range(50), first, **options(keyed, journal))

                group.start_soon(begin)
                await first.stopped.wait()
                group.cancel_scope.cancel()
            check_quiet(of)
            assert await through(of, method, range(50), second, **options(keyed, journal)) == [2 * n for n in range(50)]
        assert 20 in second.runs
        assert len(second.runs) < 50

    run(main)


def test_a_task_that_asyncio_cancels_at_any_time_leaves_the_journal_free(tmp_path: Path) -> None:
    import asyncio

    async def main() -> None:
        async with processor() as of:
            for step in range(12):
                path = tmp_path / f"journal {step}"
                task = asyncio.create_task(of.process(range(20), Work(), **options(False, path)))
                for _ in range(step):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                with anyio.fail_after(60):
                    while True:
                        try:
                            found = await of.process(range(20), Work(), **options(False, path))
                        except JournalLockedError:  # who opened it in vain is about to close it
                            await asyncio.sleep(0.01)
                        else:
                            break
                assert found == [2 * n for n in range(20)]

    asyncio.run(main())


@METHODS
def test_a_complete_run_runs_nothing_and_delivers_everything(run, journal: Any, method: str) -> None:
    async def main() -> None:
        async with processor() as of:
            for work in (Work(), Work()):
                found = await through(of, method, range(2500), work, **options(False, journal))
                assert found == [2 * n for n in range(2500)]
        assert not work.runs
        assert journal.summary().finished == 2500

    run(main)


@METHODS
def test_items_without_an_end_in_sight_go_on_too(run, journal: Any, method: str) -> None:
    async def main() -> None:
        first, second = Work(failing=[33]), Work()
        async with processor() as of:
            with pytest.raises(BatchFailed):
                await through(of, method, arriving(50), first, **options(False, journal))
            found = await through(of, method, arriving(50), second, **options(False, journal))
            check_quiet(of)
        assert found == [2 * n for n in range(50)]
        assert 0 < len(second.runs) < 50

    run(main)


@METHODS
@KEYED
@pytest.mark.parametrize("value", [None, 0, "", (), [], False, (1, None)], ids=repr)
def test_kept_results_may_be_anything(run, method: str, keyed: bool, value: Any) -> None:
    async def main() -> None:
        journal = MemoryJournal()

        async def work(item: int) -> Any:
            if item == 5 and not again:
                raise ValueError
            return value

        async with processor(batch_size=1, concurrency=1) as of:
            again = False
            with pytest.raises(BatchFailed):
                await through(of, method, range(9), work, **options(keyed, journal))
            again = True
            assert await through(of, method, range(9), work, **options(keyed, journal)) == [value] * 9
        assert journal.summary().finished == 9

    run(main)


@METHODS
def test_without_kept_results_a_list_has_placeholders_and_a_stream_the_rest(run, journal: Any, method: str) -> None:
    async def main() -> None:
        asked = {"operation": OPERATION, "journal": journal, "keep_results": False}
        async with processor(concurrency=1, batch_size=1) as of:
            with pytest.raises(BatchFailed):
                await through(of, method, range(9), Work(failing=[4]), **asked)
            second = Work()
            found = await through(of, method, range(9), second, **asked)
            third = await through(of, method, range(9), second, **asked)
        rest = [2 * n for n in range(4, 9)]
        if "stream" in method:
            assert (found, third) == (rest, [])
        else:
            assert found == [FINISHED_EARLIER] * 4 + rest
            assert third == [FINISHED_EARLIER] * 9
            assert not any(third)
        assert second.runs == Counter(range(4, 9))

    run(main)


# ---- failures --------------------------------------------------------------------------------------------------------


@METHODS
@KEYED
def test_failures_are_delivered_again_and_not_run_again(run, journal: Any, method: str, keyed: bool) -> None:
    async def main() -> None:
        asked = options(keyed, journal, on_error="collect")
        failing = [0, 3, 4, 29]
        async with processor(batch_size=1) as of:
            first = await through(of, method, range(30), Work(failing=failing), **asked)
            second = Work()
            assert await through(of, method, range(30), second, **asked) == first
        assert not second.runs
        assert [each.index for each in first if isinstance(each, ItemFailure)] == failing
        assert [(each.position, each.input) for each in journal.failures()] == [(n, b"%d" % n) for n in failing]

    run(main)


@pytest.mark.parametrize("method", ["process", "stream"])
def test_a_failure_is_at_its_new_position_where_keys_moved(run, method: str) -> None:
    async def main() -> None:
        journal = MemoryJournal()
        async with processor() as of:
            asked = options(True, journal, on_error="collect")
            await through(of, method, range(10), Work(failing=[3]), **asked)
            found = await through(of, method, range(9, -1, -1), Work(), **asked)
        assert found[6] == ItemFailure(6, "ValueError", "no 3", 1)

    run(main)


@METHODS
def test_positions_in_errors_are_those_of_the_whole_input(run, method: str) -> None:
    async def main() -> None:
        done = {n: 2 * n for n in range(60) if n % 4 != 3}
        async with processor(batch_size=4) as of:
            work = Work(failing=[23])
            with pytest.raises(BatchFailed) as caught:
                await through(of, method, range(60), work, **options(False, left_by(range(60), finished=done)))
            [indices] = caught.value.indices
            assert 23 in indices
            assert all(n % 4 == 3 for n in indices)
            assert len(indices) == (4 if "batches" in method else 1)

            def source() -> Any:
                yield from range(45)
                raise OSError("gone")

            journal = left_by(source(), finished=done)
            with pytest.raises(SourceFailed) as failed:
                await through(of, method, source(), Work(), **options(False, journal))
            assert failed.value.pulled == 45
            if "stream" not in method:
                assert failed.value.results == [2 * n for n in range(45)]

            journal = left_by(range(60), finished=done)
            with pytest.raises(SizeHintError) as hinted:
                await through(
                    of, method, range(60), Work(), size_hint=lambda n: 1 // abs(n - 31), **options(False, journal)
                )
            assert hinted.value.index == 31

    run(main)


@METHODS
@KEYED
def test_size_hints_are_of_the_items_that_are_left(run, journal: Any, method: str, keyed: bool) -> None:
    async def main() -> None:
        hinted: list[int] = []

        def hint(item: int) -> int:
            hinted.append(item)
            return 10

        async with processor(concurrency=1, batch_size=1) as of:
            asked = options(keyed, journal, size_hint=hint)
            with pytest.raises(BatchFailed):
                await through(of, method, range(30), Work(failing=[20]), **asked)
            hinted.clear()
            assert await through(of, method, range(30), Work(), **asked) == [2 * n for n in range(30)]
            collected = await through(
                of,
                method,
                range(30),
                Work(failing=range(30)),
                **{**asked, "journal": MemoryJournal()},
                on_error="collect",
            )
            assert [each.index for each in collected] == list(range(30))
        assert set(hinted[:10]) <= set(range(20, 30))

    run(main)
