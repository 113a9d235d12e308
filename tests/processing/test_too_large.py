"""An item that exceeds the whole limit: it fails by itself where failures are collected."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from memflow import ItemFailure, MemoryPressureError
from memflow.testing import ScriptedProbe, make_processor
from tests.processing.calls import METHODS, check_quiet, through

ORDERED = pytest.mark.parametrize("ordered", [True, False])
LIMIT = 1 << 30
ITEMS = [*range(20), 2 * LIMIT, *range(20), 3 * LIMIT]


async def same(item: int) -> int:
    await anyio.sleep(0)
    return item


def processor(**changes: Any) -> Any:
    return make_processor(ScriptedProbe("100MiB", limit=LIMIT), concurrency=4, batch_size=6, **changes)


@METHODS
@ORDERED
def test_the_rest_goes_on(run, method: str, ordered: bool) -> None:
    if not ordered and "stream" not in method:
        pytest.skip("lists are always in order")
    options: dict[str, Any] = {} if "stream" not in method else {"ordered": ordered}

    async def main() -> None:
        async with processor(on_error="collect") as made:
            results = await through(made, method, ITEMS, same, size_hint=float, **options)
            failures = [each for each in results if isinstance(each, ItemFailure)]
            assert sorted(each.index for each in failures) == [20, 41]
            assert all("one item needs more than the whole limit" in each.message for each in failures)
            assert {each.attempts for each in failures} == {0}
            if ordered:
                assert [n for n, each in enumerate(results) if isinstance(each, ItemFailure)] == [20, 41]
            assert sorted(each for each in results if isinstance(each, int)) == sorted([*range(20), *range(20)])
            figures = made.statistics()
            assert (figures.items_done, figures.items_failed, figures.items_in_flight) == (40, 2, 0)
            check_quiet(made)

    run(main)


@METHODS
def test_where_failures_are_raised_it_ends_the_call(run, method: str) -> None:
    async def main() -> None:
        async with processor() as made:
            with pytest.raises(MemoryPressureError, match="make that item smaller"):
                await through(made, method, ITEMS, same, size_hint=float)
            check_quiet(made)

    run(main)
