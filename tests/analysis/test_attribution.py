"""Whose growth it is: the right one is named where rates tell, and nobody where they do not."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memflow.analysis.attribution import SURE, attribute
from memflow.analysis.trend import History
from memflow.analysis.work_history import WorkHistory

STEADY_NOISE = 200.0


def wandering(rng, mean, *, by=0.6, steps=20):
    """Items a sample that stay for some samples and then change."""
    rates = [mean * rng.uniform(1 - by, 1 + by) for _ in range(2_000 // steps)]
    return lambda k: rates[k // steps]


def judged(rng, rates, kept, *, samples=200, noise=STEADY_NOISE, walk=0.0, one_in=1, others=None):
    """Whose growth it is in a run.

    Args:
        rates: operation to a function from the sample to the items it finishes meanwhile.
        kept: operation to blocks that it keeps for each item.
        noise: blocks that come and go.
        walk: blocks by which some are gained or lost for good with each sample.
        one_in: of so many items one keeps as much as all of them would.
        others: a second signal, as `kept`.
    """
    work, histories = WorkHistory(), [History() for _ in ([kept] if others is None else [kept, others])]
    done, exact = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0.0)
    levels = [100_000.0] * len(histories)
    for k in range(samples):
        finished = {}
        for name, rate in rates.items():
            exact[name] += rate(k)
            finished[name], done[name] = int(exact[name]) - done[name], int(exact[name])
        for n, each in enumerate([kept, others][: len(histories)]):
            for name, blocks in each.items():
                leaking = sum(rng.random() < 1 / one_in for _ in range(finished[name]))
                levels[n] += blocks * one_in * leaking
            levels[n] += rng.gauss(0, walk)
            load = float(sum(finished.values()))
            histories[n].add(sum(done.values()), k / 10, load, levels[n] + abs(rng.gauss(0, noise)))
        work.add(k / 10, dict(done), {name: float(items) for name, items in finished.items() if items})
    return attribute({str(n): history.series() for n, history in enumerate(histories)}, work.at)


def two(rng, **options):
    return {"leaky": wandering(rng, 30, **options), "clean": wandering(rng, 30, **options)}


@given(st.integers(0, 10**6), st.floats(2.0, 50.0), st.floats(0.5, 0.9))
@settings(max_examples=40, deadline=None)
def test_rates_that_vary_apart_tell_whose_it_is(seed, blocks, by):
    rng = random.Random(seed)
    found = judged(rng, two(rng, by=by), {"leaky": 4 * blocks}, samples=400)
    assert found.operation == "leaky"
    assert found.sureness >= 0.9
    assert found.share >= 0.75
    assert not found.is_alone


@given(st.integers(0, 10**6), st.floats(0.1, 10.0), st.sampled_from([0.0, 100.0]))
@settings(max_examples=40, deadline=None)
def test_nobody_is_named_who_always_works_in_the_same_proportion(seed, proportion, walk):
    rng = random.Random(seed)
    rate = wandering(rng, 30)
    found = judged(rng, {"leaky": rate, "clean": lambda k: proportion * rate(k)}, {"leaky": 20.0}, walk=walk)
    assert found.sureness < SURE
    assert set(found.candidates) == {"leaky", "clean"}


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_even_rates_tell_nothing(seed):
    rng = random.Random(seed)
    found = judged(rng, two(rng, by=0.0), {"leaky": 20.0})
    assert found.sureness < 0.6
    assert set(found.candidates) == {"leaky", "clean"}


@pytest.mark.parametrize(
    "hard", [{"walk": 200.0}, {"noise": 3_000.0}, {"one_in": 100}, {"walk": 100.0, "noise": 1_000.0, "one_in": 10}]
)
def test_noise_makes_unsure_and_seldom_wrong(hard):
    named = []
    for seed in range(60):
        rng = random.Random(seed)
        found = judged(rng, two(rng), {"leaky": 4.0}, samples=rng.choice([80, 150, 300]), **hard)
        if found.sureness >= SURE:
            named.append(found.operation)
    assert named.count("clean") <= max(1, len(named) // 20)


def test_peaks_that_pass_hide_nobody():
    """What comes and goes now and then is far more than what is kept meanwhile."""
    named = []
    for seed in range(40):
        rng, work, history = random.Random(seed), WorkHistory(), History()
        rates, done, kept = two(rng), {"leaky": 0, "clean": 0}, 0
        for k in range(150):
            done = {name: done[name] + int(rate(k)) for name, rate in rates.items()}
            kept = 4 * done["leaky"]
            peaks = sum(rng.expovariate(1 / 2_000) for _ in range(rng.choice([0, 0, 1, 2, 4])))
            history.add(sum(done.values()), k / 10, 0.0, 100_000 + kept + peaks)
            work.add(k / 10, done, {})
        found = attribute({"blocks": history.series()}, work.at)
        named.append(found.operation if found.sureness >= SURE else None)
    assert named.count("leaky") >= 18  # 9, were the peaks looked at
    assert named.count("clean") <= 1


def test_whoever_is_named_has_more_than_half_of_it():
    """One of twenty at most may have less, whatever rates, noise and proportion are; sureness may be too modest."""
    named, right, doubtful = 0, 0, []
    for seed in range(300):
        rng = random.Random(seed)
        rates = {"a": wandering(rng, 30, by=rng.choice([0.05, 0.2, 0.6])), "b": wandering(rng, 30)}
        share = rng.random()
        kept = {"a": 4 * share, "b": 4 * (1 - share)}
        found = judged(rng, rates, kept, samples=rng.choice([100, 200, 400]), walk=rng.choice([0.0, 50.0, 200.0]))
        is_right = found.operation == ("a" if share > 0.5 else "b")
        if found.sureness >= SURE:
            named, right = named + 1, right + is_right
        else:
            doubtful.append(is_right)
    assert named >= 50
    assert right >= 0.95 * named
    assert sum(doubtful) < 0.9 * len(doubtful)


@pytest.mark.parametrize("signals", [1, 3])
def test_items_that_count_late_put_it_on_nobody_else(signals):
    """What leaks is kept before its item counts as finished; one beside it, in step, may count in time."""
    rng, work, history, kept = random.Random(11), WorkHistory(), History(), 0
    for k in range(300):
        kept += 10
        work.add(k / 10, {"leaky": kept - rng.randrange(10), "clean": kept}, {"leaky": 10.0, "clean": 10.0})
        history.add(2 * kept, k / 10, 20.0, 100_000.0 + 20 * kept)
    found = attribute({str(n): history.series() for n in range(signals)}, work.at)
    assert found.sureness < SURE
    assert set(found.candidates) == {"leaky", "clean"}


@pytest.mark.parametrize(("share", "least", "most"), [(0.8, 0.7, 0.9), (0.6, 0.5, 0.7), (0.2, 0.7, 0.9)])
def test_where_both_leak_the_share_is_told(share, least, most):
    rng = random.Random(3)
    found = judged(rng, two(rng), {"leaky": 40 * share, "clean": 40 * (1 - share)})
    assert found.operation == ("leaky" if share > 0.5 else "clean")
    assert least <= found.share <= most


def test_where_both_leak_alike_neither_is_named():
    rng = random.Random(3)
    found = judged(rng, two(rng), {"leaky": 20.0, "clean": 20.0})
    assert found.sureness < SURE
    assert found.share == pytest.approx(0.5, abs=0.1)
    assert set(found.candidates) == {"leaky", "clean"}


@pytest.mark.parametrize("leaky", ["early", "late"])
def test_one_that_begins_later_is_told_from_one_that_was_there(leaky):
    rng = random.Random(4)
    found = judged(rng, {"early": lambda k: 30, "late": lambda k: 30 if k > 120 else 0}, {leaky: 10.0})
    assert found.operation == leaky
    assert found.sureness >= SURE


@pytest.mark.parametrize("leaky", ["stays", "stops"])
def test_one_that_stops_is_told_from_one_that_goes_on(leaky):
    rng = random.Random(5)
    found = judged(rng, {"stays": lambda k: 30, "stops": lambda k: 30 if k < 140 else 0}, {leaky: 10.0})
    assert found.operation == leaky
    assert found.sureness >= SURE


def test_one_that_was_over_before_growth_was_looked_at_is_out_of_the_question():
    rng = random.Random(6)
    found = judged(rng, {"now": lambda k: 30, "before": lambda k: 30 if k < 40 else 0}, {"now": 10.0})
    assert (found.operation, found.sureness, found.share, found.is_alone) == ("now", 1.0, 1.0, True)


def test_one_in_flight_that_finishes_nothing_is_not_out_of_the_question():
    work, history = WorkHistory(), History()
    for k in range(200):
        busy = k // 25 % 2 == 0
        work.add(float(k), {"quick": 10 * k}, {"quick": 1.0} | ({"slow": 1.0} if busy else {}))
        history.add(10 * k, float(k), 1.0, 1_000.0 * (k // 50 * 25 + min(k % 50, 25)))  # while the slow one runs
    found = attribute({"blocks": history.series()}, work.at)
    assert (found.operation, found.items) == ("slow", 0.0)
    assert found.sureness >= SURE


def test_signals_that_contradict_each_other_name_nobody():
    rng = random.Random(7)
    found = judged(rng, two(rng), {"leaky": 20.0}, others={"clean": 20.0})
    assert found.sureness < SURE
    assert set(found.candidates) == {"leaky", "clean"}


def test_a_signal_that_tells_nothing_takes_nothing_from_one_that_does():
    rng = random.Random(8)
    rates = two(rng)
    found = judged(rng, rates, {"leaky": 20.0}, others={"leaky": 0.001})
    assert found.operation == "leaky"
    assert found.sureness >= SURE


def test_one_of_many_is_found():
    rng = random.Random(9)
    found = judged(rng, {f"o{n}": wandering(rng, 20) for n in range(5)}, {"o3": 30.0}, samples=400)
    assert found.operation == "o3"
    assert found.sureness >= SURE


def test_of_those_that_are_counted_together_none_is_named():
    rng = random.Random(10)
    rates = {f"o{n}": wandering(rng, 40) for n in range(6)} | {f"small{n}": wandering(rng, 10) for n in range(8)}
    found = judged(rng, rates, {f"small{n}": 40.0 for n in range(8)}, samples=400)
    assert found.operation is None
    assert None in found.candidates


def test_without_work_there_is_nobody():
    history = History()
    for k in range(100):
        history.add(0, float(k), 0.0, 100.0 * k)
    assert attribute({"blocks": history.series()}, WorkHistory().at) is None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(-1e12, 1e12)), min_size=40, max_size=120),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_whatever_comes_in_the_answer_is_a_probability(steps, in_flight):
    work, history, a, b = WorkHistory(), History(), 0, 0
    for k, (of_a, of_b, value) in enumerate(steps):
        a, b = a + of_a, b + of_b
        work.add(float(k), {"a": a, "b": b}, {"a": 1.0} if in_flight else {})
        history.add(a + b, float(k), float(of_a), value)
    found = attribute({"blocks": history.series()}, work.at)
    if found is not None:
        assert 0.0 <= found.sureness <= 1.0
        assert 0.0 <= found.share <= 1.0
        assert found.sureness < 1.0 or found.is_alone
        assert found.operation in {"a", "b"}
