"""Who holds what grows: leaking programs, each with noise around, and the words that name the culprit."""

import collections
import gc
import os
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from itertools import pairwise

import pytest

from memflow.analysis.objects import tracked_objects
from memflow.analysis.suspects import find_suspects, take_snapshot

PLENTY_S = 60.0
ITEMS = 300
HEAD = """
import asyncio, collections, contextvars, functools, gc, os, socket, sys, threading, weakref
from memflow.analysis.suspects import find_suspects, take_snapshot
gc.collect()
class Order:
    def __init__(self, n): self.n, self.lines = n, [n]
class Holder:
    def __init__(self): self.kept, self.handlers = {}, []
def noise():
    return [[n, {"n": n}, Order(n)] for n in range(50)]
before = None
def first():
    global before
    before = take_snapshot(budget_s=60)
def second():
    found = find_suspects(before, take_snapshot(budget_s=60), items=300, most=3, budget_s=60)
    print(*found, sep="\\n", flush=True)
def run(leak):
    for n in range(30): leak(n); noise()
    first()
    for n in range(30, 330): leak(n); noise()
    second()
"""
PROGRAMS = {
    "list": (
        "kept = []\nrun(lambda n: kept.append(Order(n)))",
        "module attribute __main__.kept (list of __main__.Order)",
    ),
    "dict": ("kept = {}\ndef leak(n): kept[n] = Order(n)\nrun(leak)", "module attribute __main__.kept (dict"),
    "untracked": ("kept = {}\ndef leak(n): kept[str(n)] = n\nrun(leak)", "module attribute __main__.kept (dict"),
    "set": ("kept = set()\nrun(kept.add)", "module attribute __main__.kept (set"),
    "deque": ("kept = collections.deque()\nrun(kept.append)", "module attribute __main__.kept (collections.deque"),
    "bytearray": (
        "buffer = bytearray()\nrun(lambda n: buffer.extend(b'x' * 1000))",
        "module attribute __main__.buffer (bytearray",
    ),
    "array": (
        "import array\nnumbers = array.array('d')\nrun(lambda n: numbers.extend([n] * 300))",
        "module attribute __main__.numbers (array.array",
    ),
    "instance": (
        "h = Holder()\ndef leak(n): h.kept[str(n)] = b'x' * n\nrun(leak)",
        "attribute kept of __main__.Holder, in module attribute __main__.h",
    ),
    "dict of an instance": (
        "h = Holder()\nh.handlers = {'done': []}\nrun(lambda n: h.handlers['done'].append(n))",
        "entry 'done' of a dict, in attribute handlers of __main__.Holder",
    ),
    "tuple": (
        "kept = ()\ndef leak(n):\n    global kept\n    kept += (Order(n),)\nrun(leak)",
        "instances of __main__.Order",
        "held by a tuple, in module attribute __main__.kept",
    ),
    "class": ("Holder.seen = []\nrun(lambda n: Holder.seen.append(n))", "class attribute __main__.Holder.seen"),
    "lru": (
        "class M:\n    @functools.lru_cache(None)\n    def score(self, n): return Order(n)\nm = M()\nrun(m.score)",
        "lru_cache of __main__.M.score",
    ),
    "defaultdict": ("kept = collections.defaultdict(list)\nrun(lambda n: kept[n % 10].append(n))", "__main__.kept"),
    "many inner": ("kept = {n: [] for n in range(100)}\nrun(lambda n: kept[n % 100].append(n))", "__main__.kept"),
    "closure": (
        "def make():\n    kept = []\n    def leak(n): kept.append(n)\n    return leak\nrun(make())",
        "closure variable kept of __main__.make.<locals>.leak",
    ),
    "coroutine": (
        """
async def work():
    seen = {}
    while True:
        seen[str(len(seen))] = 1
        await asyncio.sleep(0)
async def main():
    task = asyncio.create_task(work())
    for n in range(30): await asyncio.sleep(0)
    first()
    for n in range(300): await asyncio.sleep(0); noise()
    second()
asyncio.run(main())""",
        "local variable seen of __main__.work",
    ),
    "generator": (
        """
def work():
    seen = []
    while True:
        seen.append(len(seen)); yield
g = work()
run(lambda n: next(g))""",
        "local variable seen of __main__.work",
    ),
    "thread": (
        """
go, done = threading.Semaphore(0), threading.Semaphore(0)
def work():
    seen = []
    while True:
        go.acquire(); seen.append(Order(1)); done.release()
threading.Thread(target=work, daemon=True).start()
def leak(n): go.release(); done.acquire()
run(leak)""",
        "local variable seen of __main__.work",
    ),
    "linked": (
        """
class Node:
    def __init__(self, next): self.next = next
head = None
def leak(n):
    global head
    head = Node(head)
run(leak)""",
        "instances of __main__.Node",
        "module attribute __main__.head",
    ),
    "tasks": (
        """
async def poll(): await asyncio.Event().wait()
async def main():
    for n in range(30): asyncio.create_task(poll())
    await asyncio.sleep(0); first()
    for n in range(300): asyncio.create_task(poll()); noise()
    await asyncio.sleep(0); second()
asyncio.run(main())""",
        "asyncio tasks of __main__.poll",
    ),
    "trio": (
        """
import trio
async def poll(): await trio.sleep_forever()
async def main():
    async with trio.open_nursery() as n:
        first()
        for _ in range(300): n.start_soon(poll); noise()
        await trio.sleep(0); second(); n.cancel_scope.cancel()
trio.run(main)""",
        "trio tasks of __main__.poll",
    ),
    "threads": (
        """
ends = threading.Event()
def work(): ends.wait()
first()
for n in range(60): threading.Thread(target=work, daemon=True).start(); noise()
second(); ends.set()""",
        "threads of __main__.work",
    ),
    "cycles": (
        "gc.disable()\nclass A: pass\ndef leak(n):\n    a, b = A(), A(); a.b, b.a = b, a\nrun(leak)",
        "instances of __main__.A",
        "unreachable: waits for the garbage collector",
    ),
    "exceptions": (
        """
kept = []
def fail(n): raise ValueError(n)
def leak(n):
    try: fail(n)
    except ValueError as e: kept.append(e)
run(leak)""",
        "module attribute __main__.kept (list of ValueError",
        "tracebacks pin frames of",
        "fail",
    ),
    "handlers": ("h = Holder()\nrun(lambda n: h.handlers.append(lambda: n))", "attribute handlers of __main__.Holder"),
    "queue": (
        "q = asyncio.Queue()\nrun(lambda n: q.put_nowait(Order(n)))",
        "attribute _queue of asyncio.queues.Queue, in module attribute __main__.q",
    ),
    "context": (
        "v = contextvars.ContextVar('basket')\nv.set([])\nrun(lambda n: v.get().append(n))",
        "context variable basket",
    ),
    "local": (
        "t = threading.local()\nt.kept = []\nrun(lambda n: t.kept.append(n))",
        "kept",
        "module attribute __main__.t",
    ),
    "weak keys": (
        "w, keep = weakref.WeakKeyDictionary(), []\ndef leak(n): keep.append(Order(n)); w[keep[-1]] = n\nrun(leak)",
        "attribute data of weakref.WeakKeyDictionary",
        "module attribute __main__.keep",
    ),
    "weakrefs": (
        "o, keep = Order(1), []\nrun(lambda n: keep.append(weakref.ref(o, lambda r: n)))",
        "module attribute __main__.keep (list of weakref.ReferenceType",
    ),
    "files": (
        "kept = []\nrun(lambda n: kept.append(open(os.devnull)))",
        "module attribute __main__.kept (list of _io.TextIOWrapper",
    ),
    "sockets": (
        "kept = []\nrun(lambda n: kept.append(socket.socket()))",
        "module attribute __main__.kept (list of socket.socket",
    ),
    "generators": (
        """
kept = []
def numbers(): yield 1; yield 2
def leak(n): kept.append(numbers()); next(kept[-1])
run(leak)""",
        "module attribute __main__.kept (list of generator",
    ),
    "default": ("def leak(n, seen=[]): seen.append(n)\nrun(leak)", "default argument of function __main__.leak"),
    "large and small": (
        "kept = []; small = []\ndef leak(n): kept.append(bytearray(5000)); small.extend(range(10))\nrun(leak)",
        "module attribute __main__.kept (list of bytearray) grows by 1 entries an item, 1.4 MiB",
        "module attribute __main__.small (list of int) grows by 1",
    ),
    "descriptors": (
        "socks = []\nrun(lambda n: socks.append(socket.socket().detach()))",
        "module attribute __main__.socks",
        *(["open descriptors of sockets"] if sys.platform == "linux" else []),
    ),
    "frozen": (
        "kept = {}\nh = Holder()\ngc.freeze()\ndef leak(n): kept[str(n)] = n; h.handlers.append(n)\nrun(leak)",
        "module attribute __main__.kept (dict",
        "attribute handlers of __main__.Holder",
    ),
}


def output_of(program, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(HEAD + textwrap.dedent(program))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_leak_is_named(name, tmp_path):
    program, *words = PROGRAMS[name]
    out = output_of(program, tmp_path)
    for word in words:
        assert word in out, out


def test_a_clean_program_gives_no_suspects(tmp_path):
    assert (
        output_of("recent = collections.deque(maxlen=40)\nrun(lambda n: recent.append(Order(n)))", tmp_path).strip()
        == ""
    )


class Grumpy(type):
    def __hash__(cls):
        raise AssertionError("a metaclass was hashed")

    def __eq__(cls, other):
        raise AssertionError("a metaclass was compared")

    def __getattribute__(cls, name):
        raise AssertionError(f"a metaclass was asked for {name}")


def refuse(*_, **__):
    raise AssertionError("a user's method was called")


METHODS = ("__len__", "__repr__", "__eq__", "__hash__", "__getattribute__", "__iter__", "__sizeof__", "__bool__")


def hostile(base, meta=type):
    names = {name: refuse for name in METHODS if not (name == "__hash__" and base is object)}
    return meta("Hostile", (base,), {**names, "__class__": property(refuse), "__reversed__": refuse, "items": refuse})


@pytest.mark.parametrize("base", [object, list, dict, set, collections.deque, Exception])
def test_no_code_of_the_users_is_run(base):
    kept = []
    box = [kept]
    make = hostile(base)
    long_one = make()
    fill(long_one, base, 100)
    before = take_snapshot(budget_s=PLENTY_S)
    kept += [make() for _ in range(ITEMS)]
    fill(long_one, base, 400)
    after = take_snapshot(budget_s=PLENTY_S)
    found = find_suspects(before, after, items=ITEMS, budget_s=PLENTY_S)
    assert any("Hostile" in str(suspect) for suspect in found)
    assert box


def fill(container, base, most):
    if base is dict:
        dict.update(container, {str(n): n for n in range(most)})
    elif base is set:
        set.update(container, range(most))
    elif base in (list, collections.deque):
        base.extend(container, range(most))


def test_a_hostile_metaclass_is_not_asked():
    class Odd(metaclass=Grumpy):
        pass

    before = take_snapshot(budget_s=PLENTY_S)
    kept = [Odd() for _ in range(ITEMS)]
    after = take_snapshot(budget_s=PLENTY_S)
    assert any("Odd" in str(each) for each in find_suspects(before, after, items=ITEMS, budget_s=PLENTY_S))
    assert kept


class Order:
    pass


HELD = []


class Book:
    pass


PLAIN = types.ModuleType("plain_names")
BOOK = Book()


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("module", "module attribute plain_names.seen (dict of"),
        ("instance", "attribute seen of tests.analysis.test_suspects.Book"),
        ("short dict", None),
    ],
)
def test_a_look_that_is_not_thorough_misses_plain_dicts_in_short_containers_alone(monkeypatch, place, named):
    seen = {}
    if place == "module":
        monkeypatch.setitem(sys.modules, PLAIN.__name__, PLAIN)
        monkeypatch.setattr(PLAIN, "seen", seen, raising=False)
    elif place == "instance":
        monkeypatch.setattr(BOOK, "seen", seen, raising=False)
    else:
        monkeypatch.setattr(BOOK, "parts", {"seen": seen}, raising=False)
    assert len(vars(PLAIN)) < 20
    for thorough in (False, True):
        seen.update((n, n) for n in range(50))
        before = take_snapshot(budget_s=PLENTY_S, thorough=thorough)
        seen.update((n, n) for n in range(50 + ITEMS))
        assert not gc.is_tracked(seen) or sys.version_info >= (3, 14)
        after = take_snapshot(budget_s=PLENTY_S, thorough=thorough)
        found = [str(each) for each in find_suspects(before, after, items=ITEMS, budget_s=PLENTY_S)]
        seen.clear()
        if named is not None:
            assert any(named in each for each in found), found
        else:
            assert any("entry 'seen' of a dict" in each for each in found) is thorough, found


def closure():
    kept = []

    async def work():
        kept.append(Order())
        await waits_for_ever()

    return work


@types.coroutine
def waits_for_ever():
    yield


def test_a_closure_is_named_for_the_function_and_not_for_its_calls_in_flight():
    work = closure()
    calls = [work() for _ in range(30)]
    for call in calls:
        call.send(None)
    before = take_snapshot(budget_s=PLENTY_S)
    work.__closure__[0].cell_contents.extend(Order() for _ in range(ITEMS))
    after = take_snapshot(budget_s=PLENTY_S)
    found = find_suspects(before, after, items=ITEMS, budget_s=PLENTY_S)
    for call in calls:
        call.close()
    assert "closure variable kept of tests.analysis.test_suspects.closure.<locals>.work (list of" in str(found[0])


def test_nothing_is_kept_alive():
    HELD.clear()
    before = take_snapshot(budget_s=PLENTY_S)
    HELD.extend(Order() for _ in range(ITEMS))
    after = take_snapshot(budget_s=PLENTY_S)
    found = find_suspects(before, after, items=ITEMS, budget_s=PLENTY_S)
    assert "HELD (list of" in str(found[0])
    watched = [weakref.ref(order) for order in HELD]
    HELD.clear()
    assert not any(order() for order in watched)
    assert {type(each) for each in gc.get_referents(before._rows, after._rows)} <= {type}


def test_a_local_variable_is_not_kept_by_being_looked_at():
    def work():
        order = [Order() for _ in range(ITEMS)]
        watched.append(weakref.ref(order[0]))
        yield
        del order
        yield

    watched = []
    before = take_snapshot(budget_s=PLENTY_S)
    worker = work()
    next(worker)
    found = find_suspects(before, take_snapshot(budget_s=PLENTY_S), items=ITEMS, budget_s=PLENTY_S)
    assert any("local variable order of" in str(suspect) for suspect in found)
    next(worker)
    assert watched[0]() is None


def test_a_snapshot_is_small():
    kept = [[[n] * 25, {"n": n}] for n in range(60_000)]
    snapshot = take_snapshot(budget_s=PLENTY_S)
    assert snapshot.complete
    assert sys.getsizeof(snapshot._rows) < 2_000_000
    assert len(snapshot.counts) < 50_000
    assert kept


def test_without_a_budget_little_is_known_and_nothing_breaks():
    before = take_snapshot(budget_s=0)
    after = take_snapshot(budget_s=0)
    assert not before.complete
    assert find_suspects(before, after, items=10, budget_s=0) == ()
    kept = [Order() for _ in range(ITEMS)]
    complete = take_snapshot(budget_s=PLENTY_S)
    assert isinstance(find_suspects(before, complete, budget_s=0), tuple)
    assert kept


def test_objects_may_change_while_they_are_read():
    ends = threading.Event()
    table = {}

    def churn():
        n = 0
        while not ends.is_set():
            n += 1
            table[n] = [n]
            table.pop(n - 500, None)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        snapshots = [take_snapshot(budget_s=PLENTY_S) for _ in range(3)]
        for before, after in pairwise(snapshots):
            find_suspects(before, after, budget_s=PLENTY_S)
    finally:
        ends.set()
        thread.join()


def test_rates_are_unknown_where_no_items_finished():
    HELD.clear()
    before = take_snapshot(budget_s=PLENTY_S)
    HELD.extend(Order() for _ in range(ITEMS))
    suspect = find_suspects(before, take_snapshot(budget_s=PLENTY_S), budget_s=PLENTY_S)[0]
    HELD.clear()
    assert suspect.per_item is None
    assert f"{suspect.gained} entries" in str(suspect)


def test_tuples_that_are_being_built_are_left_alone():
    """Somebody else's reference to one makes the thread that builds it fail with a SystemError."""
    ended = threading.Event()

    def look():
        before = take_snapshot(budget_s=PLENTY_S)
        while not ended.is_set():
            after = take_snapshot(budget_s=PLENTY_S)
            find_suspects(before, after, items=1, budget_s=PLENTY_S)

    looking = threading.Thread(target=look)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)  # as on a machine where the thread that looks is often held up
    looking.start()
    try:
        kept = []
        for n in range(300):
            kept = tuple([m] for m in range(20_000 + n))
    finally:
        ended.set()
        looking.join()
        sys.setswitchinterval(interval_s)
    assert len(kept) == 20_299


def test_what_is_asked_for_is_complete_but_for_tuples_and_itself():
    young, old = [[]], [[]]
    pair = (young, old)
    del young
    gc.collect()
    young = [old]
    gc.disable()
    try:
        found = [tracked_objects(generation) for generation in (2, 1, 0)]
        every = gc.get_objects(generation=2)
    finally:
        gc.enable()
    assert [any(each is old for each in part) for part in found] == [True, False, False]
    assert [any(each is young for each in part) for part in found] == [False, False, True]
    assert not [each for part in found for each in part if type(each) is tuple or each is part]
    assert len(found[0]) == sum(type(each) is not tuple for each in every)
    assert any(each is pair for each in every)
