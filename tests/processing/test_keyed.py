"""Journals that know items by key."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from memflow.exceptions import (
    BatchFailed,
    DuplicateKeyError,
    KeyFunctionError,
)
from tests.processing.calls import METHODS, check_quiet, through
from tests.processing.journaling import Work, options, processor


@METHODS
@pytest.mark.parametrize(
    "items",
    [list(range(39, -1, -1)), [*range(100, 110), *range(40), *range(200, 210)], list(range(0, 40, 3))],
    ids=["in another order", "grown", "shorter"],
)
def test_keys_tell_items_apart_whatever_the_input_looks_like(run, journal: Any, method: str, items: list[int]) -> None:
    async def main() -> None:
        async with processor(concurrency=1, batch_size=1) as of:
            with pytest.raises(BatchFailed):
                await through(of, method, range(40), Work(failing=[25]), **options(True, journal))
            second = Work()
            assert await through(of, method, items, second, **options(True, journal)) == [2 * n for n in items]
        assert second.runs == Counter(n for n in items if n >= 25)

    run(main)


@METHODS
def test_two_items_with_one_key_are_named(run, journal: Any, method: str) -> None:
    async def main() -> None:
        items, work = [*range(20), 7], Work()
        async with processor() as of:
            for _ in range(2):  # also where the first of them was finished earlier
                with pytest.raises(DuplicateKeyError) as caught:
                    await through(of, method, items, work, **options(True, journal))
                assert (caught.value.key, caught.value.first, caught.value.second) == ("7", 7, 20)
                check_quiet(of)

    run(main)


@METHODS
def test_a_key_function_that_raises_is_named_with_the_position(run, journal: Any, method: str) -> None:
    async def main() -> None:
        def key(item: int) -> int:
            return 1 // (item - 17) and item

        async with processor() as of:
            for _ in range(2):
                with pytest.raises(KeyFunctionError) as caught:
                    await through(of, method, range(30), Work(), **options(False, journal, key=key))
                assert caught.value.position == 17
                assert isinstance(caught.value.__cause__, ZeroDivisionError)
            with pytest.raises(KeyFunctionError) as caught:
                await through(of, method, range(3), Work(), **options(False, journal, key=lambda item: [item]))
            assert "a key is a str, bytes" in str(caught.value.__cause__)

    run(main)
