"""The whole of sizing in virtual time: as fast as the best fixed setting, within memory, without flapping.

Each world is run beside a search over fixed settings under the same model: "the best fixed setting found by hand".
"""

import pytest

from memflow.settings import BatchOptimizerSettings
from memflow.sizing.decisions import Reason
from tests.sizing.simulation import BASE, MIB, World, best_fixed, latency, server


def batch_s(items):
    return 0.02 + 0.001 * items


def flat_s(seconds):
    return lambda items: seconds * items


def test_pure_waiting_reaches_hundreds_in_flight_within_two_seconds():
    world = World(latency(flat_s(0.1)), kind="items").run(2.0)
    assert world.sizer.concurrency >= 500
    assert World(latency(flat_s(0.1)), kind="items").run(6).rate(3, 6) >= 0.95 * 10_000


def test_concurrency_never_exceeds_the_setting_and_threads_have_a_bound_of_their_own():
    settings = BatchOptimizerSettings(max_concurrency=50)
    bounded = World(latency(flat_s(0.1)), kind="items", settings=settings).run(5)
    threads = World(latency(flat_s(0.1)), kind="items", threads=True).run(5)
    assert max(each for _, _, each in bounded.sizes) == 50
    assert max(each for _, _, each in threads.sizes) == 32


@pytest.mark.parametrize("slots", [3, 37, 100])
def test_a_server_that_saturates_is_filled_and_not_swamped(slots):
    world = World(server(slots, flat_s(0.05)), kind="items").run(20)
    assert world.rate(5, 20) >= 0.95 * slots / 0.05
    assert world.sizer.concurrency <= max(18, 2.6 * slots)  # it starts at 8, and tries twice as many now and then


def test_work_bound_by_the_processor_is_not_hurt_by_trying():
    world = World(server(1, flat_s(0.001)), kind="items").run(20)
    assert world.rate(0, 20) >= 0.97 * 1000
    assert world.sizer.concurrency <= 16


@pytest.mark.parametrize("slots", [5, 20])
def test_a_server_that_thrashes_is_held_near_its_best(slots):
    def make():
        return server(slots, flat_s(0.05), thrash=1.0)

    best = best_fixed(make, [(1, n) for n in (1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 25, 32)], 10, kind="items")
    world = World(make(), kind="items").run(40)
    assert world.rate(10, 40) >= 0.93 * best


@pytest.mark.parametrize("slots", [1, 4])
def test_batches_settle_near_the_knee(slots):
    def make():
        return server(slots, batch_s)

    best = best_fixed(make, [(size, calls) for size in (10, 50, 150, 400, 800) for calls in (1, 4, 8)], 20)
    world = World(make()).run(40)
    assert world.rate(10, 40) >= 0.93 * best  # at the knee 5 % of the time is fixed cost, by the setting
    assert 250 <= world.sizer.batch_size <= 600  # a (1 - f) / (f b) = 380


def test_waiting_batches_get_both_size_and_concurrency():
    world = World(latency(batch_s)).run(20)
    assert world.sizer.batch_size >= 250
    assert world.sizer.concurrency >= 500


@pytest.mark.parametrize("retain", [False, True])
def test_memory_bounds_batches_on_a_processor(retain):
    memory = {"bytes_per_item": MIB, "limit_bytes": 512 * MIB, "retain": retain}
    best = best_fixed(lambda: server(1, batch_s), [(38, 8), (76, 4), (150, 2), (300, 1)], 20, **memory)
    world = World(server(1, batch_s), **memory).run(60)
    assert world.rate(30, 60) >= 0.93 * best
    assert world.highest <= 0.86 * 512 * MIB
    assert world.sizer.batch_size * world.sizer.concurrency >= 250


def test_memory_bounds_calls_that_wait():
    memory = {"bytes_per_item": MIB, "limit_bytes": 512 * MIB}
    best = best_fixed(lambda: latency(flat_s(0.1)), [(1, n) for n in (100, 200, 300, 360)], 5, kind="items", **memory)
    world = World(latency(flat_s(0.1)), kind="items", **memory).run(10)
    assert world.rate(5, 10) >= 0.95 * best
    assert world.highest <= 0.86 * 512 * MIB


def test_where_memory_is_the_bound_the_rate_tells_what_to_spend_it_on():
    memory = {"bytes_per_item": MIB, "limit_bytes": 512 * MIB}
    waiting = World(latency(batch_s), **memory).run(5)
    computing = World(server(1, batch_s), **memory).run(40)
    assert waiting.sizer.batch_size < 10 < 60 < waiting.sizer.concurrency
    assert computing.sizer.concurrency < 4 < 60 < computing.sizer.batch_size


def test_the_fixed_part_of_a_call_is_learnt_and_kept_in_the_budget():
    memory = {"bytes_per_item": MIB, "bytes_per_call": 10 * MIB, "limit_bytes": 512 * MIB}
    world = World(server(4, batch_s), **memory).run(30)
    assert world.highest <= 0.86 * 512 * MIB


@pytest.mark.parametrize(
    "make",
    [
        lambda: World(server(37, flat_s(0.1)), kind="items"),
        lambda: World(server(1, batch_s)),
        lambda: World(server(1, batch_s), bytes_per_item=MIB, limit_bytes=512 * MIB, retain=True),
        lambda: World(latency(flat_s(0.5)), kind="items", bytes_per_item=MIB, limit_bytes=512 * MIB),
    ],
)
def test_once_settled_it_changes_rarely(make):
    world = make().run(80)
    assert world.changes(30) <= 10  # a try and its return, more rarely each time


def test_a_faster_server_is_noticed():
    slow, fast = server(10, flat_s(0.2)), server(200, flat_s(0.2))
    world = World(lambda now, n, f: (slow if now < 20 else fast)(now, n, f), kind="items").run(65)
    assert world.rate(10, 20) >= 0.95 * 50
    assert world.rate(60, 65) >= 0.95 * 1000


def test_a_slower_server_costs_nothing_beyond_its_slowness():
    fast, slow = server(200, flat_s(0.2)), server(10, flat_s(0.2))
    world = World(lambda now, n, f: (fast if now < 20 else slow)(now, n, f), kind="items").run(60)
    assert world.rate(30, 60) >= 0.95 * 50


def test_items_that_grow_to_eight_times_their_size_are_met_within_a_few_batches():
    world = World(server(1, batch_s), bytes_per_item=MIB // 2, limit_bytes=512 * MIB).run(30)
    before = world.sizer.batch_size * world.sizer.concurrency
    world.bytes_per_item, ended = 4 * MIB, len(world.done)
    while len(world.done) < ended + 6 * 8:
        world.run(world.now_s + 0.01)
    assert world.sizer.batch_size * world.sizer.concurrency <= before / 5
    world.highest = BASE
    world.run(world.now_s + 20)
    assert world.highest <= 0.9 * 512 * MIB
    assert world.sizer.batch_size * world.sizer.concurrency >= 40


@pytest.mark.parametrize(("factor", "rounds"), [(4, 3), (0.5, 8)])
def test_a_model_that_has_become_wrong_is_right_again_after_some_rounds_at_ten_thousand_in_flight(factor, rounds):
    """A terabyte, items of 100 MiB for a second each: what no machine here could hold."""
    each, limit = 100 * MIB, 1 << 40
    settings = BatchOptimizerSettings(max_concurrency=100_000)
    world = World(latency(flat_s(1.0)), kind="items", bytes_per_item=each, limit_bytes=limit, settings=settings).run(12)
    assert world.in_flight >= 8500
    assert world.highest <= 0.86 * limit
    world.bytes_per_item = int(each * factor)
    world.run(13.5)
    assert world.highest <= 0.89 * limit  # what is measured bounds what is mistaken
    right_s = 13 + rounds
    world.run(right_s + 4)
    assert world.rate(right_s, right_s + 4) >= 0.95 * 0.85 * limit / world.bytes_per_item
    assert world.highest <= 0.89 * limit
    assert world.changes(right_s) <= 2


def test_a_neighbour_that_takes_half_and_gives_it_back():
    world = World(latency(flat_s(0.1)), kind="items", bytes_per_item=MIB, limit_bytes=512 * MIB).run(15)
    world.others = 256 * MIB
    world.run(17)
    world.highest = 0
    world.run(30)
    assert world.highest <= 0.86 * 512 * MIB
    assert world.rate(20, 30) >= 0.9 * (0.85 * 512 - 256 - 50) * 10
    world.others = 0
    world.run(45)
    assert world.rate(40, 45) >= 0.9 * 3600


def test_little_input_grows_nothing():
    world = World(latency(batch_s))
    world.supply = lambda now_s: world.in_flight < 1
    world.run(5)
    assert world.sizer.concurrency == 8


def test_sizes_are_never_changed_without_auto():
    world = World(server(1, batch_s), batch_size=7, concurrency=3, auto=False).run(5)
    assert {each[1:] for each in world.sizes} == {(7, 3)}
    assert world.optimizer.explain() == ()


def test_the_next_call_starts_where_the_last_one_ended():
    world = World(server(1, batch_s)).run(20)
    reached = world.sizer.batch_size
    world.sizer.close()
    again = world.optimizer.open_call(
        "work", kind="batches", batch_size=None, concurrency=None, auto=True, now_s=world.now_s
    )
    given = world.optimizer.open_call("work", kind="batches", batch_size=5, concurrency=2, auto=True, now_s=world.now_s)
    assert again.batch_size == reached
    assert (given.batch_size, given.concurrency) == (5, 2)


def test_decisions_say_what_happened():
    world = World(server(1, batch_s), bytes_per_item=MIB, limit_bytes=512 * MIB).run(20)
    decisions = world.optimizer.explain("work")
    first = decisions[0]
    # How many calls comes first; as the processor does no more with twice as many, the batch grows in their place.
    assert (first.what, first.before, first.after, first.reason) == ("concurrency", 8, 16, Reason.GROWTH_CAP)
    assert str(first) == "work: 8 -> 16 calls in flight, since memory allows 38, growth is capped at 2x"
    back = decisions[1]
    # Items a second, as everywhere: a batch of 10 takes 0.03 s of the one processor.
    assert back.rate_before == pytest.approx(333, rel=0.02)
    assert back.rate == pytest.approx(333, rel=0.05)
    assert (back.what, back.before, back.after, back.reason) == ("concurrency", 16, 8, Reason.DID_NOT_PAY)
    grown = next(each for each in decisions if each.what == "batch_size")
    assert (grown.before, grown.after, grown.reason) == (10, 20, Reason.GROWTH_CAP)
    assert str(grown) == "work: 10 -> 20 items a batch, since memory allows 48, growth is capped at 2x"
    assert len(decisions) <= 64
    assert {each.reason for each in decisions} >= {Reason.MEMORY, Reason.PROBE}
    assert any(each.startswith("start work with batch_size=") for each in statistics(world).recommendations)


def statistics(world):
    return world.optimizer.batch_statistics()
