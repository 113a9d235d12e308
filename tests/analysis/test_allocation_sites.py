"""The life of a window: when it begins, what it may cost, and that it ends, with a scripted tracer and clock."""

import itertools
import threading

import pytest

from memflow.analysis.allocation_sites import HOUR_S, AllocationSites, Windows
from memflow.analysis.sites import Frame
from memflow.analysis.tracers import CannotTrace

MB = 1_000_000
LEAK = (Frame("app.py", 10, "work"),)


class FakeTracer:
    """Sees what leaks: `rate` bytes a second, in blocks of a kilobyte, and what is in flight."""

    name = "fake"

    def __init__(self, world, rate=100_000):
        self.world, self.rate = world, rate
        self.keeps_baseline = self.is_full = self.tracing = False
        self.log, self.refusals, self.errors = [], [], {}

    def refuse(self, room_bytes):
        if self.refusals:
            raise CannotTrace(self.refusals.pop(0))

    def begin(self, room_bytes):
        self._act("begin")
        self.since_s, self.tracing = self.world.now_s, True

    def read(self):
        self._act("read")
        assert self.tracing
        lasted_s = self.world.now_s - (0.0 if self.keeps_baseline else self.since_s)
        self.tracing = False
        size = round(self.rate * lasted_s)
        return {LEAK: (size, size // 1_000), (Frame("app.py", 20, "buffer"),): (50 * MB, 8)}

    def stop(self):
        self._act("stop")
        self.tracing = False

    def forked(self):
        self._act("forked")

    def _act(self, what):
        self.log.append((what, self.world.now_s))
        error = self.errors.pop(what, None)
        if error is not None:
            raise error

    def times(self, what):
        return [now_s for each, now_s in self.log if each == what]


class World:
    def __init__(self, window_s=15.0, windows=None):
        self.now_s, self.room, self.told, self.waits, self.held = 0.0, 900 * MB, 0, 0, []
        self.at = {}
        self.holds = False
        self.tracer = FakeTracer(self)
        self.windows = windows if windows is not None else Windows()
        self.sites = self.make(self.tracer, window_s)

    def make(self, tracer, window_s=15.0):
        return AllocationSites(
            tracer,
            window_s=window_s,
            told=self.tell,
            items=lambda: int(100 * self.now_s),
            room_bytes=lambda: self.room,
            windows=self.windows,
            clock=lambda: self.now_s,
            start=self.start,
            wait=self.wait,
        )

    def tell(self):
        self.told += 1

    def start(self, run):
        self.held.append(run) if self.holds else run()

    def wait(self, event, seconds):
        self.waits += 1
        assert seconds > 0
        for at_s in sorted(self.at):
            if self.now_s <= at_s <= self.now_s + seconds:
                self.now_s = at_s
                self.at.pop(at_s)()
                return event.is_set()
        self.now_s += seconds
        return event.is_set()


@pytest.fixture
def world():
    return World()


def test_a_fifth_of_a_window_is_traced_in_two_looks_the_second_twice_as_long(world):
    world.sites.look()
    begins, reads = world.tracer.times("begin"), world.tracer.times("read")
    assert begins == pytest.approx([0.0, 5.0])
    assert reads == pytest.approx([1.0, 7.0])
    assert world.now_s == pytest.approx(15.0)
    assert not world.sites.is_open
    assert not world.sites.is_tracing


def test_what_stays_is_told_and_what_is_in_flight_is_not(world):
    world.at[7.5] = lambda: told.append((world.told, world.sites.is_open, world.sites.is_tracing))
    told = []
    world.sites.look()
    (suspect,) = world.sites.suspects
    assert (suspect.kind, suspect.what, suspect.bytes) == ("allocation site", "app.py:10 in work", 300_000)
    assert suspect.per_item == pytest.approx(1.0, rel=0.05)
    # Before the rest that is part of the window.
    assert told == [(1, True, False)]
    assert world.sites.notes == ()


def test_nothing_that_stays_is_a_note(world):
    world.tracer.rate = 0
    world.sites.look()
    assert (world.sites.suspects, world.told) == ((), 0)
    assert world.sites.notes == ("fake saw nothing that stays, in 3.0 s that were traced",)


def test_where_somebody_else_traces_the_first_look_is_what_there_was_before(world):
    world.tracer.keeps_baseline = True
    world.now_s = 100.0
    world.sites.look()
    (suspect,) = world.sites.suspects
    assert suspect.bytes == 600_000  # from the end of the first look to that of the second
    assert suspect.per_item == pytest.approx(1.0, rel=0.05)


def test_who_begins_or_ends_to_trace_meanwhile_makes_it_worthless(world):
    world.at[2.0] = lambda: setattr(world.tracer, "keeps_baseline", True)
    world.sites.look()
    assert world.sites.suspects == ()
    assert "by somebody else meanwhile" in world.sites.notes[0]


# ---- what it may cost -------------------------------------------------------------------------------------------


def test_a_window_waits_until_the_last_was_a_twentieth_of_the_time(world):
    began = []
    while world.now_s < 2 * HOUR_S:
        before = len(world.tracer.log)
        at_s = world.now_s
        world.sites.look()
        began += [at_s] if len(world.tracer.log) > before else []
        world.now_s += 1.0
    assert all(second - first > 299 for first, second in itertools.pairwise(began))
    assert len(began) == 24


@pytest.mark.parametrize("window_s", [1, 7, 10, 50, 60])
def test_no_hour_has_more_than_three_minutes_of_windows_of_all_together(window_s):
    world = World(window_s)
    other = world.make(FakeTracer(world), 13.0)
    spent = []
    while world.now_s < 4 * HOUR_S:
        for each in (world.sites, other):
            at_s = world.now_s
            each.look()
            spent += [(at_s, world.now_s)] if world.now_s > at_s else []
        world.now_s += 5.0
    assert spent
    for _, until_s in spent:
        assert sum(end - max(begin, until_s - HOUR_S) for begin, end in spent if until_s - HOUR_S < end <= until_s) <= (
            0.05 * HOUR_S + 1e-6
        )


def test_a_look_that_has_seen_enough_ends_and_the_next_is_half_as_long(world):
    world.at[0.4] = lambda: setattr(world.tracer, "is_full", True)
    world.at[1.0] = lambda: setattr(world.tracer, "is_full", False)
    world.sites.look()
    begins, reads = world.tracer.times("begin"), world.tracer.times("read")
    assert [end - begin for begin, end in zip(begins, reads, strict=True)] == pytest.approx([0.4, 0.2])
    (suspect,) = world.sites.suspects
    assert suspect.bytes == pytest.approx(60_000)


def test_a_look_ends_once_half_of_the_room_is_gone(world):
    world.at[0.5] = lambda: setattr(world, "room", 449 * MB)
    world.sites.look()
    assert world.tracer.times("read")[0] == pytest.approx(0.5)
    assert world.sites.suspects[0].what == "app.py:10 in work"


# ---- one at a time ----------------------------------------------------------------------------------------------


def test_one_window_at_a_time_in_a_process(world):
    world.holds = True
    other = world.make(FakeTracer(world))
    world.sites.look()
    world.sites.look()
    other.look()
    assert (len(world.held), other.is_open) == (1, False)
    world.held[0]()
    world.now_s += 1_000
    other.look()
    assert (len(world.held), other.is_open) == (2, True)


def test_what_cannot_be_traced_now_is_noted_costs_nothing_and_is_tried_again(world):
    world.tracer.refusals = ["somebody else traces"]
    world.sites.look()
    assert (world.sites.notes, world.sites.is_open, world.tracer.log) == (("somebody else traces",), False, [])
    world.now_s += 9.9
    world.sites.look()
    assert world.tracer.log == []
    world.now_s += 0.1
    world.sites.look()
    assert world.sites.suspects
    assert world.sites.notes == ()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_no_room_for_a_thread_is_tried_again(world, error):
    def refuse(run):
        raise error

    start, world.sites._start = world.sites._start, refuse
    world.sites.look()
    assert not world.sites.is_open
    world.sites._start = start
    world.now_s += 10
    world.sites.look()
    assert world.sites.suspects


# ---- its end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [0.5, 2.0, 6.0, 8.0])
@pytest.mark.parametrize("end", ["close", "forget"])
def test_closing_and_the_end_of_growth_end_it_at_any_moment(world, at_s, end):
    world.at[at_s] = getattr(world.sites, end)
    world.sites.look()
    assert world.now_s == at_s
    assert not world.tracer.tracing
    assert not world.sites.is_open
    assert world.tracer.log[-1] == ("stop", at_s)
    assert bool(world.sites.suspects) == (at_s == 8.0 and end == "close")
    # What it has taken is paid for.
    world.now_s += 19 * at_s - 0.01
    assert not world.windows.enter(world.now_s, 1.0)
    assert world.windows.enter(world.now_s + 0.02, 1.0)


def test_what_is_read_when_growth_is_over_is_not_told(world):
    read = world.tracer.read

    def read_slowly():
        if world.now_s > 5.0:
            world.sites.forget()
        return read()

    world.tracer.read = read_slowly
    world.sites.look()
    assert (world.sites.suspects, world.told, world.sites.is_open) == ((), 0, False)


def test_growth_that_comes_back_is_looked_at_again_and_what_was_closed_is_not(world):
    world.at[0.5] = world.sites.forget
    world.sites.look()
    world.now_s += 100
    world.sites.look()
    assert world.sites.suspects
    world.sites.close()
    world.now_s += 1_000
    before = len(world.tracer.log)
    world.sites.look()
    assert len(world.tracer.log) == before


@pytest.mark.parametrize("where", ["begin", "read", "stop"])
def test_what_fails_ends_it_and_is_not_tried_again(world, where, caplog):
    world.tracer.errors[where] = OSError("no space left on device")
    world.sites.look()
    assert not world.tracer.tracing
    assert (world.sites.is_open, world.sites.is_tracing) == (False, False)
    assert (world.sites.suspects, len(caplog.records)) == ((), 1)
    assert "not tried again" in world.sites.notes[0]
    world.now_s += 1_000
    assert world.windows.enter(world.now_s, 1.0)


@pytest.mark.parametrize("where", ["begin", "read"])
@pytest.mark.parametrize("error", [MemoryError(), CannotTrace("a memray tracker is running already")])
def test_want_of_memory_and_others_who_trace_are_no_failure(world, where, error, caplog):
    world.tracer.errors[where] = error
    world.sites.look()
    assert not world.tracer.tracing
    assert len(world.sites.notes) == 1
    assert caplog.records == []
    world.now_s += 1_000
    world.sites.look()
    assert world.sites.suspects


def test_the_end_of_the_process_waits_until_nothing_is_traced_any_more():
    windows = Windows()
    world, ends = World(windows=windows), []

    def end():
        threading.Thread(target=windows._at_exit).start()
        while not world.sites._over.is_set():
            pass
        ends.append(world.now_s)

    world.at[0.5] = end
    world.sites.look()
    assert ends == [0.5]
    assert world.tracer.log[-1] == ("stop", 0.5)
    windows._at_exit()  # nothing is running: no wait


def test_a_child_that_is_forked_meanwhile_traces_nothing_and_may_begin_its_own():
    windows = Windows()
    world = World(windows=windows)
    world.holds = True
    world.sites.look()
    assert not windows.enter(1_000.0, 1.0)
    windows._after_fork()
    assert world.tracer.times("forked")
    assert windows.enter(1_000.0, 1.0)


def test_threads_are_started_for_real():
    world = World(window_s=1)
    ended = threading.Event()
    sites = AllocationSites(
        world.tracer,
        window_s=1,
        told=ended.set,
        items=lambda: 0,
        room_bytes=lambda: 900 * MB,
        windows=world.windows,
        clock=lambda: world.now_s,
        wait=world.wait,
    )
    sites.look()
    assert ended.wait(30)
