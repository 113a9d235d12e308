"""Figures and advice."""

from memflow.sizing.cost import MemoryCost
from memflow.sizing.decisions import Decision, Reason
from memflow.sizing.operation import Operation
from memflow.sizing.statistics import describe


def operation(batches=30, *, sized_at=7, kind="batches", reason=None):
    made = Operation("embed", kind)
    for number in range(batches):
        size = 10 if number % 2 else 20
        made.count(size, float(size), 4)
        made.timing.add(size, 0.02 + 0.001 * size)
    made.sized_at = sized_at
    if reason is not None:
        made.decisions.append(Decision("embed", 0.0, "batch_size", 20, 20, reason))
    return made


def said(made, cost=None, *, size=96, calls=4):
    return describe(made, cost, batch_size=size, concurrency=calls, overhead_pct=5.0)


def test_figures():
    figures, _ = said(operation(), MemoryCost(1000.0, 50.0, 9))
    assert (figures.operation, figures.batches_done, figures.items_done) == ("embed", 30, 450)
    assert (figures.bytes_per_item, figures.bytes_per_call) == (1000.0, 50.0)
    assert round(figures.knee_items) == 380
    assert round(figures.fixed_s, 6) == 0.02


def test_a_size_that_held_is_recommended_as_a_start():
    _, advice = said(operation())
    assert "start embed with batch_size=96: it was reached after 7 batches and held" in advice


def test_a_size_that_was_reached_just_now_or_never_changed_is_not():
    assert not any("start embed with batch_size" in each for each in said(operation(sized_at=28))[1])
    assert not any("start embed with batch_size" in each for each in said(operation(sized_at=0))[1])


def test_a_concurrency_that_paid_is_recommended_with_both_rates():
    made = operation(kind="items")
    made.decisions.append(Decision("embed", 0.0, "concurrency", 8, 16, Reason.PAID, rate_before=80.0, rate=160.0))
    made.decisions.append(Decision("embed", 0.0, "concurrency", 16, 32, Reason.PAID, rate_before=160.0, rate=318.0))
    figures, advice = said(made, calls=32)
    assert advice == ("start embed with concurrency=32: it gave 318 items/s against 80 at 8",)
    assert figures.batch_size is None


def test_what_keeps_a_batch_small_is_said_with_what_more_would_cost():
    memory = said(operation(reason=Reason.MEMORY, sized_at=0), MemoryCost(1024.0**2, 0.0, 9), size=20)[1]
    bound = said(operation(reason=Reason.BOUND, sized_at=0), size=20)[1]
    assert memory == (
        "embed spends 50 % of its time on the fixed cost of batches of 20; 380 items a batch would need about "
        "1.4 GiB more memory",
    )
    assert bound == (
        "let embed have batches of 380 items: at 20, 50 % of its time is the fixed cost of a batch (20 ms)",
    )


def test_at_the_knee_there_is_nothing_to_say():
    assert said(operation(sized_at=0), size=400)[1] == ()
    assert said(operation(sized_at=0, reason=Reason.NOT_FULL), size=20)[1] == ()


def test_nothing_known_is_nothing_said():
    figures, advice = said(Operation("new", "batches"), size=None, calls=None)
    assert (figures.knee_items, figures.bytes_per_item, figures.batch_size, advice) == (None, None, None, ())
