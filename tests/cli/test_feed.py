"""Items on their way in: `memflow.cli.feed`."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from memflow.cli.feed import Feed, feed_files, feed_function, feed_input
from memflow.cli.usage import UsageError
from memflow.exceptions import RecordError

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def drain(feed: Feed, backend: str = "asyncio") -> tuple[list[Any], list[tuple[str, Any]], Exception | None]:
    """All items, what was known about each, and what ended the source."""

    async def main() -> tuple[list[Any], list[tuple[str, Any]], Exception | None]:
        items, known, error = [], [], None
        try:
            async for item in feed.items():
                items.append(item)
                known.append(feed.take_next())
        except Exception as raised:
            error = raised
        feed.close()
        return items, known, error

    return anyio.run(main, backend=backend)


@BACKENDS
def test_records_are_named_by_file_and_line(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('1\n\n"x"\n')
    feed = feed_input(str(path), record_format="jsonl", on_bad_record="stop")
    feed.keep_items = True
    items, known, error = drain(feed, backend)
    assert (items, error) == ([1, "x"], None)
    assert known == [(f"{path}:1", 1), (f"{path}:3", "x")]
    assert feed.read_fraction == 1.0


def test_items_are_kept_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    feed = feed_input(str(tmp_path / "a.txt"), record_format="lines", on_bad_record="stop")
    assert drain(feed)[1][0][1] is None


def test_bad_records_are_told_also_at_the_very_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("1\nx\n2\n{")
    feed = feed_input(str(tmp_path / "a.jsonl"), record_format="jsonl", on_bad_record="skip")
    told: list[RecordError] = []
    feed.on_bad_record = told.append
    assert drain(feed)[0] == [1, 2]
    assert [each.line for each in told] == [2, 4]


def test_skipped_items_are_known_to_nobody(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text("")
    feed = feed_files([str(tmp_path / "*")], skip=2)
    assert feed.total_items == 1
    items, known, _ = drain(feed)
    assert items == [str(tmp_path / "c")]
    assert known == [(str(tmp_path / "c"), None)]


def test_a_glob_that_matches_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"--files fold\* matches no file \(looked in "):
        feed_files(["fold*"])


async def _async_items() -> AsyncIterator[int]:
    for each in range(3):
        yield each


async def _coroutine() -> list[int]:
    return [0, 1, 2]


@BACKENDS
@pytest.mark.parametrize(
    "function",
    [lambda: range(3), lambda: iter([0, 1, 2]), _async_items, _coroutine],
    ids=["range", "iter", "async", "co"],
)
def test_a_function_may_give_its_items_in_any_form(function: Callable[[], Any], backend: str) -> None:
    assert drain(feed_function(function, "f"), backend)[0] == [0, 1, 2]


def test_items_that_are_short_texts_name_themselves() -> None:
    _, known, _ = drain(feed_function(lambda: ["a.py", "x" * 500, "two\nlines", 7], "f"))
    assert [name for name, _ in known] == ["a.py", "item 1", "item 2", "item 3"]


def test_what_came_before_an_error_is_given_first() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    given, _, error = drain(feed_function(items, "f"))
    assert given == [1, 2]
    assert isinstance(error, OSError)


def test_an_iterator_lives_in_one_thread_since_databases_insist_on_it(tmp_path: Path) -> None:
    threads: set[int] = set()

    def rows() -> Iterator[int]:
        connection = sqlite3.connect(tmp_path / "a.db")
        for each in connection.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION SELECT x + 1 FROM n WHERE x < 5000) SELECT x FROM n"
        ):
            threads.add(threading.get_ident())
            yield each[0]
        connection.close()

    assert len(drain(feed_function(rows, "f"))[0]) == 5000
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_slow_iterator_does_not_hold_back_what_it_gave() -> None:
    released = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        time.sleep(0.05)
        yield 2
        released.wait(60)
        yield 3

    async def main() -> list[int]:
        given = []
        async for item in feed_function(items, "f").items():
            given.append(item)
            if item == 2:
                released.set()
        return given

    assert anyio.run(main) == [1, 2, 3]


@pytest.mark.parametrize("made", [5, "text", b"bytes", None])
def test_what_is_no_iterable_of_items_is_refused(made: object) -> None:
    error = drain(feed_function(lambda: made, "jobs:f"))[2]
    assert isinstance(error, UsageError)
    assert f"--source jobs:f returned a {type(made).__name__}" in str(error)
