"""A program that leaks under a tracer, in a process of its own: prints what the issues said of it, as JSON.

    python tests/analysis/leaking.py tracemalloc|memray native|python [already]

A tracer spoils what other tests of the same process read of its heap; so it runs here.
"""

import ctypes
import json
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from tempfile import gettempdir

import anyio

from memflow import BatchProcessor, HeapAnalyzerSettings, MemflowSettings
from memflow.analysis.suspect import SITE

KEPT = []
BYTES = 20_000
IN_FLIGHT_BYTES = 5_000_000
RATE = 1000

_malloc = ctypes.pythonapi.PyMem_RawMalloc
_malloc.restype, _malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]


def keep_native():
    address = _malloc(BYTES)  # a number, which no collector follows
    ctypes.memset(address, 1, BYTES)
    KEPT[:] = [address]


def keep_python():
    KEPT.append(b"x" * BYTES)


def leak(what):
    (keep_native if what == "native" else keep_python)()


def captures():
    return [each.name for each in Path(gettempdir()).glob("memflow-sites-*")]


class Turnstile:
    """Has a window count items in place of seconds, `RATE` of them for each: a look is as long on any machine.

    From its beginning to its end, the program does the items that the window waits for, and rests where it waits for
    none: while a look begins, and while it is read.
    """

    def __init__(self, sites, items):
        self._allowed, self._rests = 0, threading.Event()
        self._begun = []
        self.sites = sites
        sites._start, sites._wait, sites._clock = self._begun.append, self._wait, lambda: items() / RATE

    def _wait(self, over, seconds):
        self._rests.clear()
        self._allowed = max(1, round(seconds * RATE))
        while not self._rests.wait(0.001) and not over.is_set():
            pass
        return over.is_set()

    def begin(self):
        """Begin the window that has been asked for, if there is one: nothing is in flight now."""
        while self._begun:
            threading.Thread(target=self._begun.pop()).start()

    def items(self):
        """How many items to do now."""
        return self._allowed if self.sites.is_open else 100

    def did(self):
        """Take note that they are done."""
        self._allowed = 0
        self._rests.set()


async def main(tracer, what, seconds=90):
    async def work(item):
        leak(what)
        await anyio.sleep(0.002)

    settings = MemflowSettings(
        heap_analyzer=HeapAnalyzerSettings(
            leak_threshold_rate=1, min_window_s=1, allocation_sites=tracer, allocation_window_s=3
        )
    )
    issues, give_up_s = [], time.monotonic() + seconds

    async def listen(stream):
        async for event in stream:
            if event.issue is not None:
                issues.append(event.issue)

    async with (
        BatchProcessor(settings, concurrency=4, batch_size=4, auto_optimize=False) as processor,
        anyio.create_task_group() as tasks,
        processor.issues() as stream,
    ):
        sites, done = processor.memory.analyzer._sites, processor.memory.state.work.items_done
        turnstile = Turnstile(sites, lambda: sum(done().values()))
        tasks.start_soon(listen, stream)
        while time.monotonic() < give_up_s:
            turnstile.begin()
            count = turnstile.items()
            if not count:
                await anyio.sleep(0.001)
                continue
            in_flight = bytearray(IN_FLIGHT_BYTES)  # as much at the end of each look: not what stays
            await processor.process(range(count), work)
            turnstile.did()
            if any(each.kind == SITE for issue in issues for each in issue.suspects):
                break
        notes = list(sites.notes)
        del in_flight
        tasks.cancel_scope.cancel()
        # The rest of the window is a wait that closing ends.
    while sites.is_open and time.monotonic() < give_up_s:
        await anyio.sleep(0.01)
    return issues, sites, notes


if __name__ == "__main__":
    _, tracer, what, *already = sys.argv
    if already:
        tracemalloc.start(2)
    issues, sites, notes = anyio.run(main, tracer, what)
    told = [issue for issue in issues if any(each.kind == SITE for each in issue.suspects)]
    first = next((each for issue in told for each in issue.suspects if each.kind == SITE), None)
    answer = {
        "issues": len(issues),
        "kind": str(told[0].kind) if told else None,
        "native_only": bool(told) and "blocks_per_min" not in told[0].evidence,
        "site": first and {name: getattr(first, name) for name in type(first).__slots__},
        "sites": [each.what for issue in told[:1] for each in issue.suspects if each.kind == SITE],
        "words": str(first),
        "advice": [each for issue in told[:1] for each in issue.recommendations],
        "notes": notes,
        "is_open": sites.is_open,
        "is_tracing": tracemalloc.is_tracing(),
        "profiler": repr(threading.getprofile()),
        "captures": captures(),
    }
    print(json.dumps(answer))
