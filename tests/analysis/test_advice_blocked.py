"""Words about a blocked event loop."""

from memflow.analysis.advice_blocked import STARVED, advise_blocked, describe_blocked, why_unblocked

ONCE = {"blocked_s": 1.25, "times": 1.0, "total_blocked_s": 1.25, "longest_blocked_s": 1.25}
OFTEN = {"blocked_s": 1.25, "times": 4.0, "total_blocked_s": 9.0, "longest_blocked_s": 5.5}


def test_it_says_for_how_long_where_and_how_often():
    assert describe_blocked(ONCE, "f (app.py:7)", is_blocked=True) == (
        "the event loop has given no sign of life for 1.2 s, in f (app.py:7)"
    )
    assert describe_blocked(OFTEN, "", is_blocked=False) == (
        "the event loop gave no sign of life for 1.2 s; it was blocked 4 times, for 9.0 s together and 5.5 s at the "
        "longest"
    )


def test_the_end_sums_it_up():
    assert why_unblocked(ONCE, "f (app.py:7)") == "the event loop answers again, after 1.2 s"
    assert why_unblocked(OFTEN, "f (app.py:7)").endswith(
        "blocked 4 times, for 9.0 s together and 5.5 s at the longest, mostly in f (app.py:7)"
    )


def test_advice_names_the_operation_or_the_threads_that_hold_the_interpreter():
    assert next(advise_blocked("f (app.py:7)", "embed")).startswith("await what waits in embed, and run what computes")
    assert next(advise_blocked("", None)).startswith("await what waits, and run")
    assert "other threads hold the interpreter" in next(advise_blocked(STARVED, "embed"))
