"""Timeouts and retries around a function: `memflow.processing.guards`."""

from __future__ import annotations

import builtins
import itertools
from typing import Any

import anyio
import pytest

from memflow.exceptions import ConfigurationError, ItemTimeoutError
from memflow.processing.guards import GaveUp, guard
from memflow.settings import BatchProcessorSettings


def guarded(function: Any, *, retry: Any = None, retries: list[None] | None = None, **settings: Any) -> Any:
    retries = retries if retries is not None else []
    return guard(
        function,
        operation="embed",
        settings=BatchProcessorSettings(**settings),
        retry=retry,
        on_retry=lambda: retries.append(None),
    )


class Flaky:
    """Fails a number of times, then returns its argument."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error if error is not None else OSError("flaky")

    async def __call__(self, item: Any) -> Any:
        await anyio.sleep(0)
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return item


def test_where_nothing_is_asked_for_the_function_stays_bare() -> None:
    function = Flaky(0)
    assert guarded(function) is function


# ---- timeouts ---------------------------------------------------------------------------------------------------


def test_a_function_in_time_is_left_alone(run_virtual) -> None:
    async def quick(item: Any) -> Any:
        await anyio.sleep(0.9)
        return item

    async def main() -> None:
        assert await guarded(quick, item_timeout_s=1)(None) is None

    run_virtual(main)


def test_a_function_that_overruns_is_cancelled_and_named(run_virtual) -> None:
    async def slow(item: Any) -> None:
        await anyio.sleep(5)

    async def main() -> None:
        with pytest.raises(ItemTimeoutError, match=r"embed took longer than item_timeout_s=1\.5") as caught:
            await guarded(slow, item_timeout_s=1.5)(0)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.timeout_s == 1.5

    run_virtual(main)


def test_a_function_s_own_timeout_is_its_own(run_virtual) -> None:
    async def own(item: Any) -> None:
        with anyio.fail_after(0.5):
            await anyio.sleep(5)

    async def main() -> None:
        with pytest.raises(TimeoutError) as caught:
            await guarded(own, item_timeout_s=1)(0)
        assert not isinstance(caught.value, ItemTimeoutError)

    run_virtual(main)


def test_a_cancellation_from_outside_is_no_timeout(run_virtual) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.5) as scope:
            await guarded(lambda item: anyio.sleep(5), item_timeout_s=1)(0)
        assert scope.cancelled_caught

    run_virtual(main)


# ---- retries ----------------------------------------------------------------------------------------------------


def test_retries_until_it_works(run) -> None:
    async def main() -> None:
        function, retries = Flaky(2), []
        assert await guarded(function, attempts=3, retry_wait_s=0, retries=retries)("x") == "x"
        assert (function.calls, len(retries)) == (3, 2)

    run(main)


def test_gives_up_with_the_last_error_and_the_number_of_attempts(run) -> None:
    async def main() -> None:
        function, retries = Flaky(99), []
        with pytest.raises(GaveUp) as caught:
            await guarded(function, attempts=3, retry_wait_s=0, retries=retries)("x")
        assert isinstance(caught.value.error, OSError)
        assert (caught.value.attempts, function.calls, len(retries)) == (3, 3, 2)

    run(main)


def test_each_attempt_has_its_own_time(run) -> None:
    async def main() -> None:
        calls = 0

        async def slow_first(item: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                await anyio.sleep(60)
            return item

        assert await guarded(slow_first, item_timeout_s=0.01, attempts=2, retry_wait_s=0)(7) == 7

    run(main)


def test_waits_double(run_virtual) -> None:
    async def main() -> None:
        times = []

        async def fails(item: Any) -> None:
            times.append(anyio.current_time())
            raise OSError

        with pytest.raises(GaveUp):
            await guarded(fails, attempts=5, retry_wait_s=1, retry_wait_max_s=3)(0)
        waits = [after - before for before, after in itertools.pairwise(times)]
        assert all(least - 0.01 <= wait <= least + 0.51 for least, wait in zip([1, 2, 3, 3], waits, strict=True))

    run_virtual(main)


def test_a_cancellation_is_not_retried(run_virtual) -> None:
    async def main() -> None:
        calls = 0

        async def waits(item: Any) -> None:
            nonlocal calls
            calls += 1
            await anyio.sleep(60)

        with anyio.move_on_after(1):
            await guarded(waits, attempts=5, retry_wait_s=0)(0)
        assert calls == 1

    run_virtual(main)


def test_a_wrapper_of_the_user_s_own_replaces_stamina(run) -> None:
    async def main() -> None:
        def twice(function: Any) -> Any:
            async def wrapped(item: Any) -> Any:
                try:
                    return await function(item)
                except OSError:
                    return await function(item)

            return wrapped

        function, retries = Flaky(1), []
        assert await guarded(function, retry=twice, attempts=9, retries=retries)("x") == "x"
        assert (function.calls, len(retries)) == (2, 0)

    run(main)


def test_retries_without_stamina_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_stamina(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "stamina":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_stamina)
    with pytest.raises(ConfigurationError, match=r"memflow-async\[retry\]"):
        guarded(Flaky(0), attempts=2)
