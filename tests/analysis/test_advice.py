"""Words: honest, and with numbers."""

import pytest

from memflow.analysis.advice import Situation, advise, describe, why_resolved
from memflow.analysis.attribution import Attribution
from memflow.analysis.detectors import Finding, IssueKind, Severity, Thresholds, UseWindow, high_utilization, near_limit
from memflow.memory.readings import AllocatorReading

GROWTH = {
    "growth_mb_per_min": 12.0,
    "minutes_to_limit": 90.0,
    "seen_s": 61.0,
    "seen_items": 12_000.0,
    "growth_bytes_per_item": 4096.0,
    "blocks_per_min": 9_000.0,
    "blocks_per_item": 3.2,
}


def situation(operation="embed", **changes):
    values = {
        "operation": operation,
        "thresholds": Thresholds(),
        "rss_bytes": 900,
        "limit_bytes": 1000,
        "allocator": AllocatorReading(1, 100, 10),
        "gc_enabled": True,
    }
    return Situation(**(values | changes))


def growth(**changes):
    evidence = {name: value for name, value in (GROWTH | changes).items() if value is not None}
    return Finding(IssueKind.SUSPECTED_LEAK, Severity.WARNING, evidence)


def test_growth_is_called_a_suspicion_with_its_rate():
    assert describe(growth(), situation()) == (
        "live memory has grown by 12.0 MB/min (4 KiB an item of embed) over 61 s and 12,000 items and does not slow "
        "down: a suspected leak, unless it is a cache that still fills or results that are kept"
    )


def whose(*candidates, operation="embed", sureness=0.97, is_alone=False):
    return Attribution(operation, sureness, 0.9, 6_000.0, candidates, is_alone=is_alone)


def test_beside_other_operations_it_is_told_how_sure_it_is_whose_growth_it_is():
    words = describe(growth(operation_items=6_000.0), situation(whose=whose("embed", "parse")))
    assert words.startswith(
        "live memory has grown by 12.0 MB/min (4 KiB an item of embed) in operation embed (sure: 0.97) over 61 s and "
        "6,000 items and does not slow down"
    )
    assert "sure:" not in describe(growth(), situation(whose=whose("embed", is_alone=True)))


@pytest.mark.parametrize(
    ("candidates", "sureness", "operation", "words"),
    [
        (("a", "b"), 0.5, "a", " in one of a, b (nobody can tell which) over"),
        (("a", "b"), 0.87, "a", " in one of a, b (likeliest a: 0.87) over"),
        ((None, "a"), 0.87, None, " in one of a, others (likeliest others: 0.87) over"),
        (("a", "b", "c", "d", "e"), 0.3, "a", " in one of a, b, c, others (nobody can tell which) over"),
    ],
)
def test_who_is_not_sure_is_named_as_one_of_several(candidates, sureness, operation, words):
    found = whose(*candidates, operation=operation, sureness=sureness)
    names = tuple(name for name in candidates if name)
    situated = situation(None, whose=found, candidates=names)
    assert words in describe(growth(), situated)
    assert any("run them one at a time" in each for each in advise(growth(), situated)) is (len(names) > 1)


def test_growth_along_time_names_no_item():
    words = describe(growth(growth_bytes_per_item=None, blocks_per_item=None), situation(None))
    assert words.startswith("live memory has grown by 12.0 MB/min over 61 s and does")


def test_growth_advice_carries_numbers():
    advice = advise(growth(), situation(limit_bytes=512 * 2**20))
    assert advice[0] == "at this rate the limit of 512 MiB is reached in 90 min"
    assert "embed keeps (3.2 blocks an item stay)" in advice[1]
    assert "raise leak_threshold_rate=5" in advice[-1]


@pytest.mark.parametrize(("minutes", "words"), [(1.5, "90 s"), (90, "90 min"), (600, "10 h"), (1e6, None)])
def test_time_to_the_limit_is_told_where_it_is_near_enough_to_mean_something(minutes, words):
    advice = " ".join(advise(growth(minutes_to_limit=minutes), situation()))
    assert (f"reached in {words}" in advice) if words else ("reached in" not in advice)


def test_native_growth_points_at_native_memory():
    native = growth(blocks_per_min=None, blocks_per_item=None, native_bytes_per_min=12e6)
    assert any("C library's heap does" in each and "12.0 MB/min" in each for each in advise(native, situation()))


def test_a_collector_that_is_off_is_named():
    assert any("gc.enable()" in each for each in advise(growth(), situation(gc_enabled=False)))
    assert not any("gc.enable()" in each for each in advise(growth(), situation()))


def use(pct, detect=near_limit, high_for_s=2.0):
    found = detect(UseWindow(10.0, 10.0 - high_for_s, pct * 10, 1000), Thresholds())
    assert found is not None
    return found


def test_use_is_told_with_its_setting():
    assert describe(use(96), situation()) == (
        "960 B of 1000 B (96.0 %) are in use while embed runs, over near_limit_threshold=95"
    )
    assert describe(use(90, high_utilization), situation(None)) == (
        "900 B of 1000 B (90.0 %) are in use, over high_utilization_threshold=85 for 2.0 s"
    )


def test_use_advice_says_how_much_and_whose():
    own = advise(use(96), situation())
    assert own == (
        "free 60 B, or raise the limit from 1000 B to 1 KiB, to get under 90 %",
        "let fewer items of embed run at once: lower max_concurrency or max_batch_size",
    )
    retained = advise(use(96), situation(None, allocator=AllocatorReading(1, 100, 300)))
    assert "300 B are freed but still held by the allocator" in retained[1]
    others = advise(use(96), situation(rss_bytes=100))
    assert "860 B of it are outside this process's 100 B" in others[1]


def test_a_limit_of_zero_divides_nothing():
    found = near_limit(UseWindow(1.0, None, 5, 0), Thresholds())
    assert found is not None
    assert describe(found, situation(limit_bytes=0))
    assert advise(found, situation(limit_bytes=0))


def test_thresholds_within_the_hysteresis_divide_nothing():
    low = Thresholds(high_pct=3.0, near_pct=5.0)
    found = near_limit(UseWindow(1.0, None, 50, 1000), low)
    assert found is not None
    assert advise(found, situation(thresholds=low))[0].endswith("to get under 2.5 %")


@pytest.mark.parametrize("kind", IssueKind)
def test_the_end_is_told_with_numbers(kind):
    assert any(letter.isdigit() for letter in why_resolved(kind, 70.0, situation()))
