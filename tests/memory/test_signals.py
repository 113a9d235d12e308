"""Counting descriptors, threads and tasks."""

import asyncio
import os
import threading

import pytest

from memflow.memory import signals
from memflow.memory.signals import read_signals


def test_each_is_counted():
    before = read_signals()
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    pair = os.pipe()
    try:
        after = read_signals()
    finally:
        ends.set()
        thread.join()
        for end in pair:
            os.close(end)
    assert after.threads == before.threads + 1
    assert before.descriptors is None or after.descriptors == before.descriptors + 2


def test_tasks_are_those_that_have_not_ended():
    async def main():
        before = read_signals().tasks
        tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(10)]
        during = read_signals().tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del tasks, task
        await asyncio.sleep(0)
        return before, during, read_signals().tasks

    before, during, after = asyncio.run(main())
    assert during == before + 10
    assert after == before


def test_what_cannot_be_told_is_none(monkeypatch):
    def refuse(path):
        raise OSError(path)

    monkeypatch.setattr(signals.os, "listdir", refuse)
    assert read_signals().descriptors is None


@pytest.mark.parametrize("known", [object(), None])
def test_tasks_of_another_asyncio_are_none(monkeypatch, known):
    for name in ("_scheduled_tasks", "_all_tasks"):
        monkeypatch.setattr(signals.asyncio.tasks, name, known, raising=False)
    assert read_signals().tasks is None
