"""A flight record after SIGKILL at random moments: what it says was in flight is what was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memflow.journal.flight_reader import load_flight

# Starts and ends batches in random order, and says on standard output what has surely started and is about to end.
WRITER = """
import os, random, sys
from pathlib import Path
from memflow.journal.flight import FlightRecorder
from memflow.journal.flight_format import FlightKind

recorder = FlightRecorder(Path(sys.argv[1]), operation="kill", keyed=True)
order = random.Random(int(sys.argv[2]))
running = {}
position = 0
os.write(1, b"ready\\n")
while True:
    if len(running) < 20 or order.random() < 0.5 and len(running) < 60:
        slot = recorder.start(position, position + 2, float(position), f"key {position}")
        os.write(1, b"S %d\\n" % position)
        running[position] = slot
        position += 3
    else:
        ended = order.choice(list(running))
        os.write(1, b"E %d\\n" % ended)
        recorder.end(running.pop(ended))
        recorder.note(FlightKind.BATCH_ENDED, 3, 0.1, ended, ended)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("seed", range(10))
def test_the_table_is_right_whenever_the_process_is_killed(tmp_path: Path, seed: int) -> None:
    path, log = tmp_path / "flight", tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(seed)], stdout=out, env=os.environ)
        try:
            while log.stat().st_size < 2000:
                assert process.poll() is None
                time.sleep(0.005)
            assert load_flight(path).writer_alive
            time.sleep(random.Random(seed).random() / 20)
        finally:
            process.kill()
            assert process.wait() == -signal.SIGKILL
    started, ending, last_ending = set[int](), set[int](), -1
    whole, _, _ = log.read_text().rpartition("\n")  # the kill may have cut the last line short
    for line in whole.splitlines()[1:]:
        what, position = line.split()
        if what == "S":
            started.add(int(position))
        else:
            last_ending = int(position)
            ending.add(last_ending)
    surely = started - ending
    record = load_flight(path)
    found = {each.first for each in record.in_flight}
    # Between a store and its word in the log: one that had just started, or one that was about to end.
    assert surely <= found
    assert found - surely <= {max(started) + 3, last_ending}
    assert len(record.in_flight) == len(found) >= 18
    for each in record.in_flight:
        assert (each.last, each.weight, each.key) == (each.first + 2, float(each.first), f"key {each.first}")
    assert not record.writer_alive
    assert not record.closed
    assert record.torn_events <= 1
    assert {int(event.numbers[3]) for event in record.events} <= ending
