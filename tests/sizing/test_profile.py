from __future__ import annotations

import json
import math
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memflow.sizing.cost import MemoryCost
from memflow.sizing.profile import (
    MAX_OPERATIONS,
    BadProfile,
    CostProfile,
    Machine,
    OperationProfile,
    merge,
    parse,
    to_data,
)
from memflow.sizing.profile_file import MAX_FILE_BYTES, read_profile, update_profile
from memflow.sizing.warm import Prior, first_size, recall

HERE = Machine("Linux x86_64", "cpython 3.11", "0.1.0", 2)
numbers = st.floats(0, 2**50, allow_nan=False)
counts = st.integers(1, 2**20)
names = st.text(
    st.characters(min_codepoint=33, max_codepoint=1000, categories=("L", "N", "P")), min_size=1, max_size=40
)


@st.composite
def operations(draw: st.DrawFn) -> OperationProfile:
    timed = draw(st.booleans())
    return OperationProfile(
        operation=draw(names),
        kind=draw(st.sampled_from(["items", "batches"])),
        hinted=draw(st.booleans()),
        weight_per_item=draw(numbers),
        bytes_per_weight=draw(st.none() | numbers),
        bytes_per_call=draw(numbers),
        guard_bytes=draw(numbers),
        fixed_s=draw(st.floats(0, 1e6)) if timed else None,
        item_s=draw(st.floats(0, 1e6)) if timed else None,
        batch_size=draw(st.none() | counts),
        concurrency=draw(st.none() | counts),
        climbing=draw(st.booleans()),
        items_per_s=draw(st.none() | numbers),
        limit_bytes=draw(st.none() | counts),
        machine=HERE,
        saved_s=draw(st.floats(0, 1e10)),
    )


@given(st.lists(operations(), max_size=5, unique_by=lambda each: each.operation))
def test_what_goes_through_json_comes_back(each: list[OperationProfile]) -> None:
    found, left_out = parse(json.loads(json.dumps(to_data(CostProfile(tuple(each))), allow_nan=False)))
    assert sorted(found.operations, key=str) == sorted(each, key=str)
    assert left_out == ()


def entry(**changes: Any) -> dict[str, Any]:
    return {"kind": "batches", "bytes_per_weight": 1e6, "batch_size": 10, "concurrency": 2, **changes}


def data(**entries: Any) -> dict[str, Any]:
    return {"format": "memflow cost profile", "version": 1, "operations": entries}


@pytest.mark.parametrize(
    "wrong",
    [
        {"bytes_per_weight": math.nan},
        {"bytes_per_weight": math.inf},
        {"bytes_per_weight": -1},
        {"bytes_per_weight": "1e6"},
        {"bytes_per_weight": True},
        {"bytes_per_weight": 10**400},
        {"kind": "other"},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"concurrency": -3},
        {"fixed_s": 1.0},
        {"climbing": 1},
        {"machine": "mine"},
        {"machine": {"platform": "x" * 1000}},
    ],
)
def test_an_operation_with_a_wrong_number_is_left_out_and_named_and_the_others_stay(wrong: dict[str, Any]) -> None:
    found, left_out = parse(data(good=entry(), bad=entry(**wrong)))
    assert [each.operation for each in found.operations] == ["good"]
    assert len(left_out) == 1
    assert "bad" in left_out[0]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        7,
        "text",
        {},
        {"format": "memflow cost profile"},
        {**data(), "version": 2},
        {**data(), "version": True},
    ],
)
def test_what_is_no_profile_of_this_version_is_refused(wrong: object) -> None:
    with pytest.raises(BadProfile):
        parse(wrong)


def named(name: str, saved_s: float = 0.0, **more: Any) -> OperationProfile:
    return OperationProfile(name, "batches", saved_s=saved_s, **more)


def test_the_newer_of_the_same_name_stays_and_there_is_a_bound() -> None:
    many = CostProfile(tuple(named(f"op{n}", n) for n in range(3 * MAX_OPERATIONS)))
    merged = merge(many, CostProfile((named("op0", 1e6, bytes_per_weight=5.0),)))
    assert len(merged.operations) == MAX_OPERATIONS
    found = merged.find("op0")
    assert found is not None
    assert found.bytes_per_weight == 5.0
    assert merged.find("op1") is None
    assert len(json.dumps(to_data(merged))) < MAX_FILE_BYTES


# ---- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"nan",
        b'{"format": "memflow cost profile", "version": 1}',
        b"[" * 100_000,
        b" " * MAX_FILE_BYTES + b"{}",
    ],
    ids=["empty", "cut off", "a list", "no text", "nan", "no operations", "deep", "huge"],
)
def test_a_corrupt_file_is_refused_and_replaced_when_there_is_something_to_keep(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(text)
    with pytest.raises(BadProfile):
        read_profile(path)
    update_profile(path, CostProfile((named("a"),)))
    assert [each.operation for each in read_profile(path)[0].operations] == ["a"]
    assert os.listdir(tmp_path) == ["profile.json"]


def test_no_file_is_an_empty_profile_and_a_directory_none(tmp_path: Path) -> None:
    assert read_profile(tmp_path / "none") == (CostProfile(), ())
    with pytest.raises(BadProfile):
        read_profile(tmp_path)
    with pytest.raises(BadProfile):
        update_profile(tmp_path, CostProfile((named("a"),)))


def test_a_file_cut_off_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    update_profile(path, CostProfile((named("a", bytes_per_weight=1.5), named("b"))))
    whole = path.read_bytes()
    for end in range(0, len(whole.rstrip()), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(BadProfile):
            read_profile(path)


def _save_many(path: Path, name: str) -> None:
    for count in range(20):
        update_profile(path, CostProfile((named(name, float(count)),)))


def test_several_processes_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    context = multiprocessing.get_context("spawn")
    savers = [context.Process(target=_save_many, args=(path, f"op{n}")) for n in range(3)]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join(60)
        assert saver.exitcode == 0
    profile, left_out = read_profile(path)
    assert sorted((each.operation, each.saved_s) for each in profile.operations) == [(f"op{n}", 19.0) for n in range(3)]
    assert left_out == ()
    assert os.listdir(tmp_path) == ["profile.json"]


# ---- what holds of it -------------------------------------------------------------------------------------------


def test_bytes_are_a_guess_anywhere_and_sizes_hold_only_where_they_were_learnt() -> None:
    profile = named("a", bytes_per_weight=1e6, batch_size=50, concurrency=4, fixed_s=0.1, item_s=0.01, machine=HERE)
    known = recall(profile, kind="batches", hinted=False, here=HERE)
    assert known is not None
    assert known.start is not None
    assert (known.start.batch_size, known.start.concurrency, known.line) == (50, 4, (0.1, 0.01))
    other = recall(profile, kind="batches", hinted=False, here=Machine("Linux x86_64", "cpython 3.11", "0.1.0", 64))
    assert other is not None
    assert (other.start, other.line) == (None, None)
    assert other.prior is not None
    assert other.prior.cost.bytes_per_weight == 1e6
    assert recall(profile, kind="items", hinted=False, here=HERE) is None


def test_until_enough_is_measured_the_larger_counts_and_a_bound_lowers_it_at_once() -> None:
    prior = Prior(MemoryCost(1000.0, 0.0, 0), 10.0)
    assert prior.blend(None).bytes_per_weight == 1000
    assert prior.blend(MemoryCost(4000.0, 0.0, 1)).bytes_per_weight == 4000
    assert prior.blend(MemoryCost(10.0, 0.0, 2)).bytes_per_weight == 1000
    assert prior.blend(MemoryCost(10.0, 0.0, 0)).bytes_per_weight == 10
    assert prior.blend(MemoryCost(10.0, 0.0, 3)).bytes_per_weight == 10


def test_what_the_user_gives_is_where_it_starts() -> None:
    assert first_size(7, 50, 60, default=10, least=1) == 7
    assert first_size(None, 50, 60, default=10, least=1) == 50
    assert first_size(None, None, 60, default=10, least=1) == 10
    assert first_size(None, None, 3, default=10, least=1) == 3
    assert first_size(None, None, 1, default=10, least=2) == 2
