"""Sizes that people write and read: `memflow.units`."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from memflow.units import MemorySize, format_bytes, parse_bytes

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (812 * 1024, "812 KiB"),
        (512 * MIB, "512 MiB"),
        (1536 * MIB, "1.5 GiB"),
        (-3 * MIB, "-3 MiB"),
        (1024 * MIB - 1, "1 GiB"),  # rounded up to 1024 MiB, it is the next unit
        (3 * 1024**5, "3 PiB"),
        (5000 * 1024**5, "5000 PiB"),
    ],
)
def test_format_bytes(n: int, text: str) -> None:
    assert format_bytes(n) == text


@given(st.integers(-(2**62), 2**62))
def test_printed_sizes_are_near_and_keep_their_sign(n: int) -> None:
    number, unit = format_bytes(n).split(" ")
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)
    assert abs(float(number) * factor - n) <= abs(n) * 0.05 + 0.5
    assert len(number.lstrip("-").replace(".", "")) <= 4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("512MB", 512_000_000),
        ("512MiB", 512 * MIB),
        ("512Mi", 512 * MIB),
        ("512M", 512 * MIB),
        ("512m", 512 * MIB),
        ("1.5G", 1536 * MIB),
        (" 1.5 gib ", 1536 * MIB),
        ("2KB", 2000),
        ("2k", 2048),
        (".5GiB", 512 * MIB),
        ("1.T", 1024**4),
        ("2Pi", 2 * 1024**5),
        ("0.1KiB", 102),
    ],
)
def test_parse_bytes(text: str, size: int) -> None:
    assert parse_bytes(text) == size
    assert MemorySize(text).bytes == size


NO_NUMBER = ["MiB", "-1", "-512MiB", "+5", "1e9", "nan", "inf", "0x10", "1,5G", "80 percent", "٥", "", " "]
NO_UNIT = ["512 XB", "512MiBB", "12.5", "12.5B", "8EiB"]
NO_SHARE = ["0%", "-5%", "100.1%", "%"]
NO_TYPE = [True, False, 1.5, 512.0, None, b"512", [512]]
NO_RANGE = [-1, 2**63, "9" * 24 + "P", "1" * 5000]


@pytest.mark.parametrize("bad", [*NO_NUMBER, *NO_UNIT, *NO_SHARE, *NO_TYPE, *NO_RANGE], ids=lambda bad: repr(bad)[:20])
def test_what_is_no_size_is_refused_with_the_accepted_forms(bad: object) -> None:
    with pytest.raises(ValueError, match=r"512MB, 512MiB, 512Mi, 1\.5G.*80%") as caught:
        MemorySize(bad)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


def test_a_share_is_no_number_of_bytes() -> None:
    with pytest.raises(ValueError, match="'80%' is a share"):
        parse_bytes("80%")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("512MiB", "512MiB"),
        ("536870912", "512MiB"),
        ("1.5GiB", "1.5GiB"),
        ("512MB", "512MB"),
        ("1048577", "1048577"),
        ("0", "0"),
        ("80%", "80%"),
        ("33.5 %", "33.5%"),
        ("0.00001%", "0.00001%"),
    ],
)
def test_sizes_print_readably(text: str, printed: str) -> None:
    assert str(MemorySize(text)) == printed
    assert repr(MemorySize(text)) == f"MemorySize({printed!r})"


@given(st.integers(0, 2**63 - 1))
def test_every_size_reads_back(n: int) -> None:
    size = MemorySize(n)
    assert MemorySize(str(size)) == size == MemorySize(size)
    assert hash(MemorySize(str(size))) == hash(size)


@given(st.integers(1, 99_999), st.sampled_from("KMGTP"), st.sampled_from(["", "i", "iB", "B"]))
def test_written_sizes_read_back_from_what_is_printed(hundredths: int, letter: str, end: str) -> None:
    size = MemorySize(f"{hundredths / 100}{letter}{end}")
    assert MemorySize(str(size)) == size


@given(st.decimals(min_value="0.001", max_value=100, places=3))
def test_every_share_reads_back(percent: object) -> None:
    share = MemorySize(f"{percent}%")
    assert MemorySize(str(share)) == share
    assert share.bytes is None
    assert 0 <= share.resolve(10**9) <= 10**9


def test_resolve() -> None:
    assert MemorySize("80%").resolve(1000) == 800
    assert MemorySize("33.3%").resolve(1000) == 333  # exact, where floating point would give 332
    assert MemorySize("100%").resolve(2**62 + 1) == 2**62 + 1
    assert MemorySize("1KiB").resolve(10) == 1024
    assert MemorySize("80%").resolve(0) == 0


@given(st.decimals(min_value="0.1", max_value=100, places=1), st.integers(0, 2**50), st.integers(0, 2**50))
def test_shares_grow_with_their_total(percent: object, one: int, other: int) -> None:
    share = MemorySize(f"{percent}%")
    low, high = sorted((one, other))
    assert share.resolve(low) <= share.resolve(high) <= high


def test_sizes_are_values() -> None:
    size = MemorySize("512MiB")
    assert {size: 1}[MemorySize(512 * MIB)] == 1
    assert size != MemorySize("80%")
    assert pickle.loads(pickle.dumps(size)) == copy.deepcopy(size) == size
    with pytest.raises(AttributeError):
        size.bytes = 3  # type: ignore[misc]


class Model(BaseModel):
    limit: MemorySize | None = None


def test_pydantic_reads_and_writes_sizes() -> None:
    assert Model(limit="80%").limit == MemorySize("80%")  # type: ignore[arg-type]
    assert Model(limit=MemorySize(5)).limit == MemorySize(5)
    assert Model.model_validate_json('{"limit": 1024}').limit == MemorySize("1KiB")
    model = Model(limit=MemorySize("1.5GiB"))
    assert model.model_dump_json() == '{"limit":"1.5GiB"}'
    assert Model.model_validate(model.model_dump()) == model


def test_pydantic_shows_both_forms_in_the_schema() -> None:
    adapter = TypeAdapter(MemorySize)
    assert adapter.json_schema() == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert adapter.json_schema(mode="serialization") == {"type": "string"}


@pytest.mark.parametrize("bad", [True, -1, "120%", 1.5])
def test_pydantic_reports_bad_sizes_as_validation_errors(bad: object) -> None:
    with pytest.raises(ValidationError, match="80%"):
        Model.model_validate({"limit": bad})
