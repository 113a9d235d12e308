"""Words about what was tried: what came of it, and what follows."""

import pytest

from memflow.analysis.advice import advise, describe, why_resolved
from memflow.analysis.advice_trials import advise_collected, advise_trimmed, describe_trimmed
from memflow.analysis.detectors import Finding, IssueKind, Severity
from memflow.analysis.trials import TrimOutcome
from tests.analysis.test_advice import situation

GB, MB = 1_300_000_000, 2**20
RETENTION = Finding(
    IssueKind.RETENTION,
    Severity.INFO,
    {"rss_growth_mb_per_min": 90.0, "gained_bytes": 1.4e9, "freed_bytes": 1.5e9, "resident_bytes": 1.4e9},
)
HELPED = TrimOutcome(1_400_000_000, GB, 57.2, 62.9)
HARDLY = TrimOutcome(500 * MB, 12 * MB, 140.0, 62.9, trims=3)


def test_a_trim_that_gave_much_back_says_which_settings_do_so():
    (advice,) = advise_trimmed(HELPED)
    assert advice.startswith("trimming gave back 1.2 GiB of the 1.3 GiB that seemed to lie free, in 57 ms")
    assert "memory_manager.trim=True does so by itself" in advice
    assert "gc_threshold_pct=62 would have done so here" in advice


def test_a_trim_that_gave_little_back_says_that_it_does_not_help_and_what_does():
    advice = tuple(advise_trimmed(HARDLY))
    assert advice[0].startswith("trimming gave back 12 MiB of the 500 MiB")
    assert "does not help here" in advice[0]
    assert "MALLOC_ARENA_MAX=2" in advice[1]
    assert not any("gc_threshold_pct" in each for each in advice)


def test_a_trim_that_gave_a_part_back_says_both():
    advice = tuple(advise_trimmed(TrimOutcome(100 * MB, 40 * MB, 5.0, 0.3)))
    assert "use was at 0 %, so there is no hurry" in advice[0]
    assert "MALLOC_ARENA_MAX=2" in advice[1]


def test_an_issue_of_retention_is_written_anew_by_what_trimming_gave_back():
    before = advise(RETENTION, situation())
    assert not any("trimming gave back" in each for each in before)
    assert describe(RETENTION, situation(trim=HELPED)).endswith("; trimming gave back 1.2 GiB in 57 ms")
    assert advise(RETENTION, situation(trim=HELPED))[0] == next(advise_trimmed(HELPED))
    assert not any("pin_mmap_threshold" in each for each in advise(RETENTION, situation(trim=HARDLY)))
    reason = why_resolved(IssueKind.RETENTION, 40.0, situation(trim=HARDLY))
    assert reason == "it no longer rises by 5 MB/min; trimming gave back 12 MiB in 140 ms the last of 3 times"
    assert "trimming" not in why_resolved(IssueKind.UNMANAGED_GROWTH, 40.0, situation(trim=HARDLY))
    assert describe_trimmed(HELPED) == "trimming gave back 1.2 GiB in 57 ms"


def test_a_collection_says_what_it_found_freed_and_took():
    evidence = {"collected_objects": 25_000.0, "collected_bytes": 3.0 * MB, "collect_took_ms": 130.4}
    (advice,) = advise_collected(evidence)
    assert advice.startswith(
        "collecting by hand found 25,000 objects and freed about 3 MiB in 130 ms: call gc.enable()"
    )
    (advice,) = advise_collected({"collected_objects": 7.0, "collected_bytes": 0.0})
    assert advice.startswith("collecting by hand found 7 objects: call")


def use(left_pct, *, fell, in_use=850.0):
    return {
        "utilization_pct": in_use / 10,
        "threshold_pct": 85.0,
        "in_use_bytes": in_use,
        "limit_bytes": 1000.0,
        "high_for_s": 3.0,
        "in_use_at_first_bytes": in_use + fell,
        "in_flight_left_pct": left_pct,
    }


@pytest.mark.parametrize(
    ("evidence", "words", "absent"),
    [
        (
            use(40.0, fell=90.0),
            "use fell by 90 B once the work in flight was cut to 40 %: keep it there",
            "will not help",
        ),
        (use(40.0, fell=2.0), "fewer items of embed at once will not help", "max_concurrency"),
        (use(100.0, fell=90.0), "let fewer items of embed run at once: lower max_concurrency", "cut to"),
    ],
)
def test_less_work_at_once_is_advised_by_what_it_did(evidence, words, absent):
    advice = " ".join(advise(Finding(IssueKind.HIGH_UTILIZATION, Severity.WARNING, evidence), situation(rss_bytes=850)))
    assert words in advice
    assert absent not in advice


def test_the_end_of_high_use_says_what_has_helped():
    kind = IssueKind.HIGH_UTILIZATION
    plain = why_resolved(kind, 70.0, situation())
    assert why_resolved(kind, 70.0, situation(), use(40.0, fell=90.0)) == (
        f"{plain}: use fell by 90 B once the work in flight was cut to 40 %"
    )
    assert why_resolved(kind, 70.0, situation(), use(0.0, fell=90.0)) == plain
