"""The code samples of the design, run word for word under asyncio and trio.

What the samples leave open (`urls`, `fetch_title`, `texts`, `embed_batch`, `source`) is defined around them; they
stand here as they are printed there, since the design is not part of the project.
"""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest

import memflow

THE_PUBLIC_FACE = """\
from memflow import BatchProcessor, BatchProcessorSettings

async with BatchProcessor(BatchProcessorSettings(process_name="document_embedding")) as processor:
    titles = await processor.process(urls, fetch_title)             # async (item) -> result
    vectors = await processor.process_batches(texts, embed_batch)   # async (list[item]) -> sequence of results

    async with processor.stream(source(), fetch_title) as results:  # lazy in, bounded out
        async for result in results: ...

    async with processor.issues() as issues:                        # memory issues, on an async channel
        async for issue in issues: ...
"""
URLS = [f"https://example.org/{number}" for number in range(50)]
TEXTS = ["", "one", "two words", "three short words"] * 20
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def fetch_title(url: str) -> str:
    await anyio.lowlevel.checkpoint()
    return url.rpartition("/")[2]


async def embed_batch(texts: list[str]) -> list[int]:
    await anyio.lowlevel.checkpoint()
    return [len(text) for text in texts]


async def source() -> AsyncIterator[str]:
    for url in URLS:
        await anyio.lowlevel.checkpoint()
        yield url


def compile_sample(sample: str, names: dict[str, Any]) -> Callable[[], Coroutine[Any, Any, dict[str, Any]]]:
    """Put a sample's text, unchanged but indented, into a coroutine function that returns what it defined."""
    code = "async def main():\n" + textwrap.indent(sample, "    ") + "\n    return locals()\n"
    exec(compile(code, "<sample>", "exec"), names)
    main: Callable[[], Coroutine[Any, Any, dict[str, Any]]] = names["main"]
    return main


def names_around() -> dict[str, Any]:
    return {
        "urls": URLS,
        "texts": TEXTS,
        "fetch_title": fetch_title,
        "embed_batch": embed_batch,
        "source": source,
    }


@BACKENDS
def test_the_sample_of_the_public_face(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample ends with a subscription, which ends with its processor: closed here once it is subscribed to."""
    main = compile_sample(THE_PUBLIC_FACE, names_around())
    processors, subscribe = list[memflow.BatchProcessor](), memflow.BatchProcessor.issues

    def remember(self: memflow.BatchProcessor) -> Any:
        processors.append(self)
        return subscribe(self)

    monkeypatch.setattr(memflow.BatchProcessor, "issues", remember)
    found: dict[str, Any] = {}

    async def run() -> None:
        found.update(await main())

    async def run_and_close() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            while not processors:
                await anyio.sleep(0.001)
            await processors[0].aclose()

    anyio.run(run_and_close, backend=backend)
    assert found["titles"] == [str(number) for number in range(50)]
    assert found["vectors"] == [0, 3, 9, 17] * 20
    assert found["result"] == "49"
    assert processors[0].statistics().items_done == 2 * len(URLS) + len(TEXTS)
    assert processors[0].settings.process_name == "document_embedding"


@BACKENDS
def test_keyword_overrides_as_in_the_design(backend: str) -> None:
    """`BatchProcessor(batch_size=10, auto_optimize=True)`, without a context manager."""

    async def main() -> list[Any]:
        processor = memflow.BatchProcessor(batch_size=10, auto_optimize=True)
        titles = await processor.process(URLS, fetch_title)
        await processor.aclose()
        return titles

    assert anyio.run(main, backend=backend) == [str(number) for number in range(50)]


@BACKENDS
def test_the_failures_of_the_design(backend: str) -> None:
    """Collected failures carry index, error type and message, attempts; raised ones name the items."""

    async def refuse_odd(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        if number % 2:
            raise ValueError(f"odd: {number}")
        return 0

    async def main() -> None:
        async with memflow.BatchProcessor() as processor:
            results = await processor.process(range(4), refuse_odd, on_error="collect")
            assert results[0] == results[2] == 0
            failure = results[3]
            assert isinstance(failure, memflow.ItemFailure)
            assert failure == memflow.ItemFailure(index=3, error_type="ValueError", message="odd: 3", attempts=1)
            with pytest.raises(memflow.BatchFailed, match="item 1") as caught:
                await processor.process(range(2), refuse_odd)
            assert caught.value.indices == ((1,),)

    anyio.run(main, backend=backend)


@BACKENDS
def test_the_parts_of_the_design_s_table(backend: str) -> None:
    """Every method in the table of parts, called the way that the table writes it."""
    bundle = memflow.create_memory_manager(memflow.MemflowSettings())
    manager, analyzer, optimizer = bundle.manager, bundle.analyzer, bundle.optimizer
    items = [b"x" * 1000] * 100
    assert manager.current_usage().limit_bytes > 0
    assert manager.monitor(force_gc=True).rss_bytes > 0
    assert manager.reclaim().seconds >= 0
    assert manager.trend().direction in ("rising", "steady", "falling", "unknown")
    assert 1 <= manager.calculate_optimal_batch_size(items) <= 100
    report = analyzer.analyze()
    assert isinstance(report.issues, tuple)
    assert isinstance(report.recommendations, tuple)
    assert analyzer.memory_statistics().limit_bytes > 0
    assert optimizer.calculate_optimal_batch_size(items, operation="embed") == 10
    wrapped = optimizer.optimize_process_function(embed_batch, operation="embed", monitored=True)
    assert anyio.run(wrapped, TEXTS, backend=backend) == [0, 3, 9, 17] * 20
    assert optimizer.batch_statistics().operations[0].operation == "embed"


def test_the_bundle_s_monitor_reaches_its_own_analyzer_and_optimizer() -> None:
    """The original's custom analyzer read the global manager."""
    bundle = memflow.create_memory_manager(memflow.MemflowSettings())
    other = memflow.create_memory_manager(memflow.MemflowSettings())
    usage = bundle.monitor()
    assert bundle.analyzer.state.reading is not None
    assert bundle.analyzer.state is bundle.optimizer.state
    assert bundle.analyzer.state.reading.rss_bytes == usage.rss_bytes
    assert other.state.reading is None


def test_the_shared_defaults_belong_together() -> None:
    assert memflow.memory_manager.state is memflow.heap_analyzer.state
    assert memflow.memory_manager.state is memflow.batch_optimizer.state
    assert memflow.memory_manager is memflow.memory_manager
