"""Ranking places by what two looks saw, and telling them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.analysis.sites import Belongs, Frame, Look, beside, name_site, rank_sites
from memflow.analysis.suspect import SITE, Suspect

KB = 1_000
WORK = Frame("app.py", 10, "work")
MAIN = Frame("app.py", 90, "main")


def belongs(file):
    for whose in Belongs:
        if file.startswith(whose.name.lower()):
            return whose
    return Belongs.PROGRAM


def place(name, line=1):
    return Frame(f"{name}.py", line, name)


def look(length, live, items=None):
    return Look(float(length), length * 10 if items is None else items, live)


def test_what_stays_is_told_apart_from_what_is_in_flight():
    leak, buffers = place("leak"), place("buffers")
    early = look(1, {(leak, MAIN): (100 * KB, 10), (buffers,): (5_000 * KB, 8)})
    late = look(2, {(leak, MAIN): (200 * KB, 20), (buffers,): (5_000 * KB, 8)})
    (site,) = rank_sites(early, late, belongs)
    assert (site.frame, site.callers) == (leak, (MAIN,))
    assert (site.gained_bytes, site.gained_blocks, site.live_blocks, site.items) == (300 * KB, 30, 20, 30)


def test_the_largest_gain_comes_first_and_what_is_small_beside_it_is_left_out():
    first, second, third = place("first"), place("second"), place("third")
    early = look(1, {})
    late = look(2, {(third,): (90 * KB, 1), (first,): (1_000 * KB, 1), (second,): (500 * KB, 1)})
    assert [site.frame for site in rank_sites(early, late, belongs)] == [first, second]


def test_a_baseline_is_a_look_of_no_length():
    old = place("old")
    early, late = Look(0.0, 0, {(old,): (9_000 * KB, 9)}), look(3, {(old,): (9_300 * KB, 12)})
    (site,) = rank_sites(early, late, belongs)
    assert (site.gained_bytes, site.gained_blocks, site.items) == (300 * KB, 3, 30)


def test_time_counts_where_no_items_were_finished():
    (site,) = rank_sites(look(1, {(WORK,): (100 * KB, 1)}, 0), look(2, {(WORK,): (200 * KB, 2)}, 0), belongs)
    assert (site.gained_bytes, site.items) == (300 * KB, 0)


def test_looks_of_one_length_tell_nothing():
    assert rank_sites(look(2, {}, 0), look(2, {(WORK,): (900 * KB, 9)}, 0), belongs) == ()


def test_what_fell_or_gained_next_to_nothing_is_not_told():
    early = look(1, {(WORK,): (900 * KB, 9), (MAIN,): (1 * KB, 1)})
    assert rank_sites(early, look(2, {(WORK,): (100 * KB, 1), (MAIN,): (2 * KB, 2)}), belongs) == ()


OURS, LIBRARY, LOOP = Frame("ours/pool.py", 5), Frame("library/json.py", 6), Frame("loop/events.py", 7)


@pytest.mark.parametrize(
    ("stack", "told", "callers"),
    [
        ((WORK, MAIN), WORK, (MAIN,)),
        ((LIBRARY, WORK, LIBRARY, MAIN), WORK, (MAIN,)),
        ((LIBRARY, LIBRARY), LIBRARY, ()),
        ((WORK, OURS, LOOP, LIBRARY, MAIN), WORK, ()),
        ((OURS, WORK), None, ()),
        ((LIBRARY, OURS, WORK), None, ()),
        ((LOOP, MAIN), None, ()),
        ((LIBRARY, LOOP, MAIN), LIBRARY, ()),
        ((), None, ()),
    ],
)
def test_a_place_is_the_innermost_frame_of_the_program(stack, told, callers):
    found = rank_sites(look(1, {}), look(2, {stack: (900 * KB, 9)}), belongs)
    assert [(each.frame, each.callers) for each in found] == ([] if told is None else [(told, callers)])


def test_stacks_through_one_place_are_one_and_the_heaviest_tells_the_callers():
    light, heavy = place("light"), place("heavy")
    late = look(2, {(WORK, light): (100 * KB, 1), (WORK, heavy): (300 * KB, 3)})
    (site,) = rank_sites(look(1, {}), late, belongs)
    assert (site.live_blocks, site.callers) == (4, (heavy,))


@given(st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 10**9), st.integers(0, 10**6))), st.integers(1, 9))
def test_what_does_not_grow_with_the_look_is_never_told(sizes, length):
    live = {(place(f"at{number}"),): size for number, size in sizes.items()}
    assert rank_sites(look(length, live), look(2 * length, live), belongs) == ()


def test_a_suspect_names_the_place_bytes_an_item_and_what_came_together():
    early, late = look(1, {(WORK, MAIN): (1024_000, 100)}), look(2, {(WORK, MAIN): (2048_000, 200)})
    suspect = name_site(rank_sites(early, late, belongs)[0], lambda frame: "never asked")
    assert suspect == Suspect(SITE, "app.py:10 in work", "called by app.py:90 in main", 200, 300, 10.0, 3_072_000)
    assert str(suspect) == (
        "app.py:10 in work has allocated 2.9 MiB that stay (100 KiB an item) while it was traced; "
        "called by app.py:90 in main"
    )


def test_a_function_that_the_tracer_does_not_know_is_looked_up():
    stack = (Frame("app.py", 10), Frame("app.py", 20))
    found = rank_sites(look(1, {}, 0), look(2, {stack: (900 * KB, 9)}, 0), belongs)
    suspect = name_site(found[0], {stack[0]: "load", stack[1]: ""}.get)
    assert (suspect.what, suspect.holder, suspect.per_item) == ("app.py:10 in load", "called by app.py:20", None)
    assert "an item" not in str(suspect)


def holder(name, each):
    return Suspect("container", name, "", 100, 100, 1.0, None if each is None else 100 * each)


def test_holders_come_first_but_for_those_that_are_light_beside_a_place():
    site = Suspect(SITE, "app.py:10 in work", "", 10, 10, 1.0, 10 * 20_000)
    light, unknown, heavy = holder("light", 100), holder("unknown", None), holder("heavy", 9_000)
    assert beside((light, unknown, heavy), (site,)) == (unknown, heavy, site, light)
    assert beside((light, heavy), ()) == (light, heavy)
    assert beside((), (site,)) == (site,)
