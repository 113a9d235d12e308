"""What a result weighs, against what CPython's allocator says that many of them have taken."""

import dataclasses
import gc
import sys

import pytest

from memflow.analysis import weight
from memflow.analysis.weight import weigh

COUNT = 2_000


class Plain:
    def __init__(self, n):
        self.number, self.parts, self.text = n * 1000, [n + 0.5, n + 0.25], str(n) * 5


class Slotted:
    __slots__ = ("number", "pair")

    def __init__(self, n):
        self.number, self.pair = n * 1000.5, (n * 3, n * 5)


@dataclasses.dataclass
class Row:
    number: int
    values: dict


MAKERS = {
    "int": lambda n: n + 10**6,
    "none": lambda n: None,
    "small int": lambda n: n % 200,
    "shared": lambda n: SHARED,
    "bytes": lambda n: b"x" * 60 + str(n).encode(),
    "str": lambda n: str(n) * 4,
    "tuple": lambda n: (n * 1.5, str(n)),
    "list": lambda n: [n * 1000 + i for i in range(20)],
    "dict": lambda n: {"id": n * 1000, "name": str(n) * 3, "tags": [str(n) + "a", "b"]},
    "dict of new names": lambda n: {f"k{i} {n}": n * 1000 + i for i in range(10)},
    "instance": Plain,
    "slots": Slotted,
    "dataclass": lambda n: Row(n + 1000, {"a": n * 1000}),
    "nested": lambda n: [{"key": i + n * 1000, "text": f"{i:0150d}", "more": [i]} for i in range(10)],
    "vector": lambda n: [n * 1.1 + i for i in range(384)],
}
SHARED = ["everybody's"]


@pytest.mark.parametrize("name", MAKERS)
def test_it_weighs_what_the_allocator_says(name):
    make, kept = MAKERS[name], [None] * COUNT
    for n in range(50):
        make(n)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for n in range(COUNT):
            kept[n] = make(n + 300)
        taken = (sys.getallocatedblocks() - before) / COUNT
    finally:
        gc.enable()
    told = sum(weigh(kept[n])[0] for n in range(100, 200)) / 100
    assert told == pytest.approx(taken, rel=0.2, abs=0.05)


def test_large_objects_are_bytes_and_not_blocks():
    kept = [b"x" * 5_000, bytearray(100_000), list(range(300, 1_300))]
    kept[2].clear()
    kept[2].extend([None] * 1_000)
    (none, text), (few, buffer), (head, table) = (weigh(kept[n]) for n in range(3))
    assert (none, few, head) == (0, 0, 1)
    assert 5_000 < text < 5_100
    assert 100_000 < buffer < 100_200
    assert 8_000 <= table < 10_000


def test_what_somebody_else_holds_weighs_nothing():
    text, row = str(10**40), {"key": str(10**50)}
    kept = [text, [row]]
    assert weigh(kept[0]) == (0.0, 0.0)
    assert weigh(kept[1])[0] == 2  # the list and its table
    assert row["key"]


def test_a_hostile_result_runs_no_code_and_a_cycle_ends():
    class Hostile(dict):
        def __getattribute__(self, name):
            raise AssertionError(name)

        def __len__(self):
            raise AssertionError

        def __iter__(self):
            raise AssertionError

        __hash__ = __sizeof__ = __eq__ = __len__

    cycle = []
    cycle.append(cycle)
    kept = [Hostile(a=str(10**30)), cycle]
    del cycle
    assert weigh(kept[0])[0] > 0
    assert weigh(kept[1])[0] >= 0


@pytest.mark.parametrize("kind", [list, dict])
def test_a_huge_result_is_weighed_by_some_of_it(monkeypatch, kind):
    entries = [[float(n), str(n) * 3] for n in range(20_000)]
    kept = [entries if kind is list else dict(zip(map(str, range(300, 20_300)), entries, strict=True))]
    del entries
    listed, referents = [], gc.get_referents

    def counted(*things):
        found = referents(*things)
        listed.append(len(found))
        return found

    monkeypatch.setattr(weight.gc, "get_referents", counted)
    blocks, native = weigh(kept[0])
    # Each of them is a list, its table and two values; in the dict, with its name.
    assert blocks == pytest.approx(80_000 if kind is list else 100_000, rel=0.05)
    assert native == pytest.approx(sys.getsizeof(kept[0]), rel=0.01)
    assert sum(listed) < 1_000
