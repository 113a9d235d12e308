"""What an earlier run left: finished items, failures, suspects; each item that is left runs once."""

from __future__ import annotations

from collections import Counter

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.journal.memory import MemoryJournal
from memflow.processing.outcome import ItemFailure
from tests import backends
from tests.processing.calls import check_quiet, through
from tests.processing.journaling import Work, left_by, options, processor


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_run_that_is_resumed_delivers_what_one_without_a_break_does(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40), label="size")
    states = data.draw(
        st.lists(st.sampled_from(["left", "done", "failed", "suspect", "poison"]), min_size=size, max_size=size)
    )
    method = data.draw(st.sampled_from(["process", "process_batches", "stream", "stream_batches"]))
    backend = data.draw(st.sampled_from(backends.BACKENDS))
    items = range(size)
    at = {state: [n for n in items if states[n] == state] for state in set(states)}
    journal = left_by(
        items,
        finished={n: 2 * n for n in at.get("done", [])},
        failed=at.get("failed", []),
        suspects=dict.fromkeys(at.get("suspect", []), 1) | dict.fromkeys(at.get("poison", []), 3),
    )
    work = Work()

    async def main() -> None:
        async with processor(batch_size=data.draw(st.integers(1, 5)), concurrency=data.draw(st.integers(1, 5))) as of:
            found = await through(of, method, items, work, on_error="collect", **options(False, journal))
            check_quiet(of)
        for n, result in enumerate(found):
            if states[n] == "failed":
                assert result == ItemFailure(n, "ValueError", f"no {n}", 1)
            elif states[n] == "poison":
                assert (result.index, result.kind, result.attempts) == (n, "poison", 3)
            else:
                assert result == 2 * n
        assert len(found) == size

    backends.run(backend, main)
    left = at.get("left", []) + at.get("suspect", [])
    assert work.runs == Counter(left)
    assert {n: work.most_beside[n] for n in at.get("suspect", [])} == dict.fromkeys(at.get("suspect", []), 0)
    summary = journal.summary()
    assert (summary.complete, summary.quarantined) == (True, len(at.get("poison", [])))


def test_items_run_side_by_side_again_behind_one_that_ran_alone(run) -> None:
    async def main() -> None:
        work = Work()
        journal = left_by(range(30), finished={}, suspects={3: 1})
        async with processor(concurrency=5) as of:
            await of.process(range(30), work, **options(False, journal))
        assert work.most_beside[3] == 0
        assert min(work.most_beside[n] for n in range(5, 25)) >= 1

    run(main)


def test_others_run_while_much_is_passed_over(run) -> None:
    async def main() -> None:
        journal, turns, keys = MemoryJournal(), 0, 0

        def key(item: int) -> int:
            nonlocal keys
            keys += 1
            return item

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.sleep(0)

        async with processor(concurrency=50, auto_optimize=True) as of:
            await of.process(range(20_000), same, **options(False, journal, key=key))
            async with anyio.create_task_group() as group:
                group.start_soon(other)
                await anyio.sleep(0)
                before = turns
                found = await of.process([-1, *range(20_000)], same, **options(False, journal, key=key))
                assert turns > before
                group.cancel_scope.cancel()
        assert found == [-1, *range(20_000)]

    run(main)


async def same(item: int) -> int:
    return item
