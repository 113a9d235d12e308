"""A FastAPI service under load, once with a handler that leaks and once without: when is the issue told?

    python -m benchmarks.leak_service [--seconds S] [--kb-per-s KB]

Both services run side by side, each in a process of its own with `async with HeapAnalyzer(...)` as its lifespan, driven
through ASGI without a network. The one that leaks ends with its first issue of growth; the other one runs for the
whole time, and any issue of growth there is a false alarm.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

SESSIONS: dict[str, bytes] = {}
"""What the handler that leaks keeps."""
_RATE_PER_S = 100
_GROWTH = ("suspected_leak", "leak", "cyclic_garbage", "results_piling_up")


def _service(analyzer: Any, leak_bytes: int) -> Any:
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with analyzer:
            yield

    app = FastAPI(lifespan=lifespan)
    recent: dict[int, list[int]] = {}

    @app.get("/items/{number}")
    async def read_item(number: int) -> dict[str, Any]:
        recent[number % 500] = list(range(50))  # a cache with a bound
        if leak_bytes:
            SESSIONS[f"session-{number}"] = bytes(leak_bytes)
        analyzer.mark()
        await anyio.sleep(0.002)
        return {"number": number, "recent": len(recent), "words": ["a", "b", "c"] * (number % 20)}

    return app


async def _drive(app: Any, seconds: float, kinds: list[tuple[float, str, list[str]]], analyzer: Any) -> int:
    from httpx import ASGITransport, AsyncClient

    began_s, sent = time.monotonic(), 0
    chance = random.Random(1)
    async with (
        anyio.create_task_group() as tasks,
        AsyncClient(transport=ASGITransport(app=app), base_url="http://service") as client,
    ):

        async def listen() -> None:
            async with analyzer.issues() as issues:
                async for event in issues:
                    issue = event.issue
                    if issue is not None and issue.kind in _GROWTH and type(event).__name__ == "IssueOpened":
                        kinds.append((time.monotonic() - began_s, str(issue.kind), [str(s) for s in issue.suspects]))

        tasks.start_soon(listen)
        while time.monotonic() - began_s < seconds and not (kinds and SESSIONS):
            tasks.start_soon(client.get, f"/items/{sent}")
            sent += 1
            await anyio.sleep(chance.expovariate(_RATE_PER_S))
        await anyio.sleep(1.0)  # what was found later than the opening
        tasks.cancel_scope.cancel()
    return sent


async def _serve(seconds: float, kb_per_s: float) -> None:
    from memflow import HeapAnalyzer, HeapAnalyzerSettings

    analyzer = HeapAnalyzer(HeapAnalyzerSettings(leak_threshold_rate=0.5))
    app = _service(analyzer, round(kb_per_s * 1000 / _RATE_PER_S))
    kinds: list[tuple[float, str, list[str]]] = []
    async with app.router.lifespan_context(app):
        sent = await _drive(app, seconds, kinds, analyzer)
    print(json.dumps({"issues": kinds, "requests": sent, "kept": len(SESSIONS)}))


def main() -> None:
    """Run both, and print what was told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leak_service", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long (default: %(default)s)")
    parser.add_argument("--kb-per-s", type=float, default=1000 / 60, help="of the leak (default: 1 MB/min)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        anyio.run(_serve, asked.seconds, asked.kb_per_s)
        return
    command = [sys.executable, "-m", "benchmarks.leak_service", "--serve", "--seconds", str(asked.seconds)]
    runs = {
        name: subprocess.Popen([*command, "--kb-per-s", str(rate)], stdout=subprocess.PIPE, text=True)
        for name, rate in (("leaks", asked.kb_per_s), ("does not leak", 0.0))
    }
    for name, process in runs.items():
        out, _ = process.communicate()
        told = json.loads(out)
        print(f"{name}: {told['requests']} requests, {len(told['issues'])} issues of growth")
        for after_s, kind, suspects in told["issues"]:
            print(f"  {kind} after {after_s:.1f} s; suspects: {suspects or 'none yet'}")


if __name__ == "__main__":
    main()
