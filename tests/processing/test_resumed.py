"""Streams that keep a journal: what counts as finished, and what comes again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from memflow.journal.memory import MemoryJournal
from tests.processing.calls import check_quiet, through
from tests.processing.journaling import OPERATION, Work, options, processor
from tests.processing.parts import settle


@pytest.mark.parametrize("method", ["stream", "stream_batches"])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_a_stream_that_was_left_goes_on(run, journal: Any, method: str, ordered: bool, keep: bool) -> None:
    async def main() -> None:
        asked = {"operation": OPERATION, "journal": journal, "keep_results": keep, "ordered": ordered}
        taken: list[int] = []
        async with processor() as of:
            works = [Work(), Work()]
            async with getattr(of, method)(
                range(60), works[0].batch if "b" in method else works[0], **asked
            ) as results:
                async for result in results:
                    taken.append(result)
                    if len(taken) == 10:
                        break
            rest = await through(of, method, range(60), works[1], **asked)
            check_quiet(of)
        everything = [2 * n for n in range(60)]
        if keep:
            assert (rest if ordered else sorted(rest)) == everything
            assert len(works[1].runs) <= 50
        else:
            # The tenth was handed out, and nobody asked for the next one: its consumer may not have been done with it.
            assert sorted([*taken[:9], *rest]) == everything
            assert works[1].runs == Counter({result // 2: 1 for result in rest})
        assert journal.summary().complete

    run(main)


def test_an_item_is_finished_once_its_consumer_asks_for_the_next(run) -> None:
    async def main() -> None:
        journal = MemoryJournal()
        async with processor() as of, of.stream(range(10), Work(), operation=OPERATION, journal=journal) as results:
            assert await anext(results) == 0
            assert await anext(results) == 2
            await settle()
        assert [n for n in range(10) if n in journal._finished] == [0]

    run(main)


def test_several_consumers_finish_what_each_of_them_was_handed(run) -> None:
    async def main() -> None:
        journal, gate, at_work = MemoryJournal(), anyio.Event(), anyio.Event()
        taken: list[int] = []
        async with processor() as of:

            async def consume(results: Any, *, slow: bool) -> None:
                async for result in results:
                    taken.append(result)
                    if slow:
                        at_work.set()
                        await gate.wait()

            async with (
                of.stream(range(20), Work(), operation=OPERATION, journal=journal) as results,
                anyio.create_task_group() as group,
            ):
                group.start_soon(lambda: consume(results, slow=True))
                await at_work.wait()
                group.start_soon(lambda: consume(results, slow=False))
                while len(taken) < 20:
                    await anyio.sleep(0)
                await settle()
                group.cancel_scope.cancel()
            rest = await through(of, "stream", range(20), Work(), operation=OPERATION, journal=journal)
        assert rest == [taken[0]]

    run(main)


def test_a_consumer_that_is_cancelled_while_kept_results_are_read_loses_none(run, journal: Any) -> None:
    async def main() -> None:
        async with processor() as of:
            await through(of, "stream", range(3000), Work(), **options(False, journal))
            taken = []
            async with of.stream(range(3000), Work(), **options(False, journal)) as results:
                while len(taken) < 3000:
                    with anyio.CancelScope() as scope:
                        if len(taken) % 500 == 0:
                            scope.cancel()
                        taken.append(await anext(results))
                    if scope.cancel_called:
                        taken.append(await anext(results))
                with pytest.raises(StopAsyncIteration):
                    await anext(results)
        assert taken == [2 * n for n in range(3000)]

    run(main)
