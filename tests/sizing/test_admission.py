"""Reservations: the rule case by case, and its promises under any sequence of steps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from memflow.memory.readings import MemoryReading
from memflow.sizing.admission import Admission, Refusal, RefusalReason

LIMIT = 1000


def reading(in_use, *, time_s=0.0, limit=LIMIT):
    return MemoryReading(time_s, in_use, in_use, in_use, limit)


def ask(admission, count, in_use=100, *, now_s=0.0, read_s=None, limit=LIMIT, **more):
    seen = reading(in_use, time_s=now_s if read_s is None else read_s, limit=limit)
    return admission.try_reserve(count, reading=seen, now_s=now_s, **more)


def test_what_fits_is_promised_and_given_back_once():
    admission = Admission()
    held = ask(admission, 400)
    assert (admission.reserved_bytes, admission.holders, held.bytes) == (400, 1, 400)
    held.release()
    held.release()
    assert (admission.reserved_bytes, admission.holders, held.bytes) == (0, 0, 0)


def test_a_refusal_says_what_was_asked_and_changes_nothing():
    admission = Admission()
    ask(admission, 600)
    refusal = ask(admission, 200)
    assert refusal == Refusal(200, 600, 100, LIMIT, RefusalReason.BUDGET)
    assert not refusal.hopeless
    assert (admission.reserved_bytes, admission.holders) == (600, 1)


def test_promises_count_before_anything_is_allocated():
    admission = Admission()
    ask(admission, 400)
    assert isinstance(ask(admission, 400, 100, now_s=60.0), Refusal)  # still only 100 in use


def test_use_beyond_promises_counts():
    admission = Admission()
    ask(admission, 100)
    assert isinstance(ask(admission, 100, 800, now_s=60.0), Refusal)


def test_what_was_admitted_since_the_reading_is_added_to_it():
    admission = Admission()
    ask(admission, 1, 500)
    ask(admission, 300, 500, now_s=1.0)
    assert isinstance(ask(admission, 100, 500, now_s=1.001, base_bytes=0), Refusal)
    # a reading taken later shows it
    assert not isinstance(ask(admission, 40, 800, now_s=1.1, base_bytes=0), Refusal)


def test_what_the_allocator_hands_out_again_is_not_in_the_way():
    admission = Admission()
    assert isinstance(ask(admission, 300, 800, base_bytes=100), Refusal)
    assert not isinstance(ask(admission, 300, 800, base_bytes=100, reusable_bytes=500), Refusal)


def test_a_guard_is_kept_free_once_not_for_each():
    admission = Admission()
    admitted = [ask(admission, 50, guard_bytes=300) for _ in range(12)]
    assert sum(not isinstance(each, Refusal) for each in admitted) == 9  # 100 + 9 * 50 + 300 <= 850


def test_one_item_may_run_alone_up_to_the_limit_itself():
    admission = Admission()
    assert isinstance(ask(admission, 880), Refusal)
    alone = ask(admission, 880, single=True)
    assert isinstance(ask(admission, 1, single=True), Refusal)
    alone.release()
    assert isinstance(ask(admission, 901, single=True), Refusal)


def test_what_stands_above_the_base_is_not_counted_twice_for_one_alone():
    assert isinstance(ask(Admission(), 670, 750), Refusal)
    assert not isinstance(ask(Admission(), 670, 750, single=True, base_bytes=100), Refusal)
    assert isinstance(ask(Admission(), 670, 860, single=True, base_bytes=100), Refusal)  # nearly full of something
    assert isinstance(ask(Admission(), 910, 750, single=True, base_bytes=100), Refusal)


def test_what_exceeds_the_whole_limit_is_hopeless():
    refusal = ask(Admission(), LIMIT + 1, single=True)
    assert (refusal.reason, refusal.hopeless) == (RefusalReason.TOO_LARGE, True)
    assert not ask(Admission(), LIMIT + 1).hopeless  # a batch can still be split


def test_work_of_unknown_size_is_seen_to_be_in_flight():
    admission = Admission()
    ask(admission, 0)
    assert admission.holders == 1
    assert isinstance(ask(admission, 880, single=True), Refusal)


def test_a_reservation_shrinks_and_never_grows():
    admission = Admission()
    held = ask(admission, 400)
    held.shrink(150)
    held.shrink(300)
    assert admission.reserved_bytes == held.bytes == 150
    held.shrink(-5)
    assert admission.reserved_bytes == 0
    held.release()
    held.shrink(10)
    assert admission.reserved_bytes == admission.holders == 0


def test_whoever_waits_long_goes_first():
    admission = Admission(patience_s=0.2)
    small = [ask(admission, 300), ask(admission, 300)]
    assert ask(admission, 600, now_s=0.0, waiter="large").reason is RefusalReason.BUDGET
    small.append(ask(admission, 50, now_s=0.1))  # within patience, small ones may go ahead
    assert ask(admission, 600, now_s=0.3, waiter="large").reason is RefusalReason.BUDGET
    assert ask(admission, 50, now_s=0.3).reason is RefusalReason.QUEUED
    assert ask(admission, 50, now_s=0.3, waiter="other").reason is RefusalReason.QUEUED
    for each in small:
        each.release()
    assert ask(admission, 50, now_s=0.4, waiter="other").reason is RefusalReason.QUEUED
    assert not isinstance(ask(admission, 600, now_s=0.5, waiter="large"), Refusal)
    assert not isinstance(ask(admission, 50, now_s=0.5, waiter="other"), Refusal)


@pytest.mark.parametrize("leave", ["forget", "silence"])
def test_whoever_gives_up_is_in_nobody_s_way(leave):
    admission = Admission()
    ask(admission, 700)
    ask(admission, 600, waiter="large")
    ask(admission, 600, now_s=0.5, waiter="large")
    assert isinstance(ask(admission, 10, now_s=0.5), Refusal)
    if leave == "forget":
        admission.forget("large")
        assert not isinstance(ask(admission, 10, now_s=0.5), Refusal)
    else:
        assert not isinstance(ask(admission, 10, now_s=2.0), Refusal)


def test_who_asks_to_be_alone_waits_for_the_others_and_goes_first():
    admission = Admission()
    held = [ask(admission, 10), ask(admission, 10)]
    assert ask(admission, 10, alone=True).reason is RefusalReason.ALONE
    assert ask(admission, 10, waiter="a", alone=True).reason is RefusalReason.ALONE
    assert ask(admission, 10).reason is RefusalReason.QUEUED
    for each in held:
        each.release()
    assert ask(admission, 10).reason is RefusalReason.QUEUED
    alone = ask(admission, 10, waiter="a", alone=True)
    assert not isinstance(alone, Refusal)
    assert ask(admission, 10, waiter="b").reason is RefusalReason.ALONE
    assert ask(admission, 10, waiter="c", alone=True).reason is RefusalReason.ALONE
    alone.release()
    assert not isinstance(ask(admission, 10, waiter="c", alone=True), Refusal)


def test_at_the_last_level_nothing_starts_beside_others_and_a_turn_is_kept():
    admission = Admission(patience_s=0.2)
    held = ask(admission, 10, stopped=True)
    assert not isinstance(held, Refusal)
    for now_s in (0.0, 0.8, 1.6):
        assert ask(admission, 10, now_s=now_s, waiter="first", stopped=True).reason is RefusalReason.BUDGET
    assert ask(admission, 10, now_s=1.7, waiter="second").reason is RefusalReason.QUEUED
    assert not isinstance(ask(admission, 10, now_s=1.8, waiter="first"), Refusal)


def test_one_alone_is_held_to_what_the_process_can_still_get():
    assert not isinstance(ask(Admission(), 150, 840, single=True), Refusal)
    assert isinstance(ask(Admission(), 150, 840, single=True, room_bytes=90), Refusal)
    assert not isinstance(ask(Admission(), 90, 840, single=True, room_bytes=90), Refusal)
    # what the allocator keeps serves no large block
    assert isinstance(ask(Admission(), 150, 840, single=True, room_bytes=90, reusable_bytes=100), Refusal)
    # above the base, too, it may not come to more than that
    assert not isinstance(ask(Admission(), 200, 840, single=True, room_bytes=90, base_bytes=700), Refusal)
    assert isinstance(ask(Admission(), 240, 840, single=True, room_bytes=90, base_bytes=700), Refusal)


# ---- what ended since the reading -------------------------------------------------------------------------------


def settled(count=400):
    """A batch that a reading at 1.0 shows, in an empty house of 100."""
    admission = Admission()
    held = ask(admission, count)
    ask(admission, LIMIT, 100 + count, now_s=1.0, base_bytes=100)  # settles it, and is refused
    return admission, held


def fits(admission, count, in_use, *, now_s, read_s):
    """Tell whether so much would be let in, and leave everything as it was."""
    answer = ask(admission, count, in_use, now_s=now_s, read_s=read_s, base_bytes=100)
    if isinstance(answer, Refusal):
        return False
    answer.release()
    return True


def test_what_ended_since_the_reading_is_no_longer_in_use():
    admission, held = settled(400)
    held.release(now_s=1.001)
    assert fits(admission, 700, 500, now_s=1.002, read_s=1.0)
    assert not fits(admission, 760, 500, now_s=1.002, read_s=1.0)
    # A reading later than that shows by itself what has gone, and what has not.
    assert not fits(admission, 500, 500, now_s=1.01, read_s=1.001)
    assert fits(admission, 380, 500, now_s=1.01, read_s=1.001)
    assert admission._returned_bytes == 0


def test_what_ended_is_no_room_while_somebody_keeps_it_alive():
    admission, held = settled(400)
    held.release(now_s=1.001)
    refused = ask(admission, 400, 500, now_s=1.002, read_s=1.0, base_bytes=100, pinned=True)
    assert isinstance(refused, Refusal)
    assert fits(admission, 400, 500, now_s=1.002, read_s=1.0)


def test_what_is_given_back_without_a_time_counts_until_a_reading_shows_it():
    admission, held = settled(400)
    held.release()
    assert not fits(admission, 500, 500, now_s=1.002, read_s=1.0)
    assert fits(admission, 500, 100, now_s=1.01, read_s=1.01)


def test_what_no_reading_has_shown_yet_gives_no_credit_when_it_ends():
    admission = Admission()
    held = ask(admission, 400, 300, base_bytes=100)
    held.release(now_s=0.001)
    assert admission._returned_bytes == 0
    assert not fits(admission, 700, 300, now_s=0.001, read_s=0.0)


def test_a_part_that_was_given_back_before_gives_no_credit_at_the_end():
    admission, held = settled(400)
    held.shrink(150)
    held.release(now_s=1.001)
    assert admission._returned_bytes == 150
    assert fits(admission, 530, 500, now_s=1.002, read_s=1.0)  # 880 - 500 + 150
    assert not fits(admission, 531, 500, now_s=1.002, read_s=1.0)


def test_a_credit_is_given_once():
    admission, held = settled(400)
    held.release(now_s=1.001)
    held.release(now_s=1.001)
    assert admission._returned_bytes == 400
    assert fits(admission, 750, 400, now_s=1.001, read_s=1.0)  # never less than nothing is in use
    assert not fits(admission, 751, 0, now_s=1.001, read_s=1.0)


# ---- two shares -------------------------------------------------------------------------------------------------


def test_what_is_measured_may_fill_a_little_more_than_what_is_promised():
    for in_use, base, most in ((300, 100, 580), (340, 100, 540), (310, 290, 560)):
        assert not isinstance(ask(Admission(), most, in_use, base_bytes=base), Refusal)
        assert isinstance(ask(Admission(), most + 1, in_use, base_bytes=base), Refusal)
    narrow = Admission(share=0.5, live_share=0.6)
    assert isinstance(ask(narrow, 401, 100), Refusal)
    assert not isinstance(ask(narrow, 400, 100), Refusal)
    assert isinstance(ask(Admission(share=0.5, live_share=0.6), 201, 400, base_bytes=0), Refusal)
    assert not isinstance(ask(Admission(share=0.5, live_share=0.6), 200, 400, base_bytes=0), Refusal)


@pytest.mark.parametrize(
    ("count", "more", "spare"),
    [
        (400, {}, 350),  # 850 promised
        (400, {"guard_bytes": 100}, 250),
        (900, {}, -150),
        (400, {"base_bytes": 0}, 380),  # 880 measured
        (400, {"base_bytes": 0, "reusable_bytes": 50}, 430),
    ],
)
def test_what_was_left_beside_who_asked_is_told(count, more, spare):
    admission = Admission()
    answer = ask(admission, count, **more)
    assert admission.spare_bytes == spare
    assert isinstance(answer, Refusal) == (spare < 0)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 300))
def test_what_is_short_is_what_would_have_fitted_less(in_use, base, count, guard):
    """The spare tells by how much smaller a batch would have to be."""

    def asked(size):
        admission = Admission()
        answer = ask(admission, size, in_use, base_bytes=base, guard_bytes=guard)
        return admission.spare_bytes, not isinstance(answer, Refusal)

    spare, let_in = asked(count)
    assert let_in == (spare >= 0)
    if count + spare > 0:
        assert asked(count + spare) == (0, True)
        assert asked(count + spare + 1) == (-1, False)


def test_changes_tell_progress():
    admission = Admission()
    ask(admission, 10).release()
    assert admission.changes == 2
    ask(admission, 10**6)
    assert admission.changes == 2


class Ledger(RuleBasedStateMachine):
    """Batches of right predictions come and go over memory that they allocate late, and that others share.

    Readings may be old: what has begun since is not in them, and what has ended since is in them still.
    """

    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.admission = Admission(settle_s=0.05)
        self.now_s = 0.0
        self.mine = {}  # reservation -> [promised, allocated, alone]
        self.base = 100
        self.seen = (0.0, 100)

    def use(self):
        return self.base + sum(allocated for _, allocated, _ in self.mine.values())

    def try_one(self, size, **more):
        read_s, in_use = self.seen
        return ask(self.admission, size, in_use, now_s=self.now_s, read_s=read_s, base_bytes=self.base, **more)

    @rule()
    def read(self):
        self.seen = (self.now_s, self.use())

    @rule(target=held, size=st.integers(1, 700), single=st.booleans(), fresh=st.booleans())
    def start(self, size, single, fresh):
        if fresh:
            self.read()
        before = (self.admission.reserved_bytes, self.admission.holders)
        alone = not self.mine
        answer = self.try_one(size, single=single)
        if isinstance(answer, Refusal):
            assert (self.admission.reserved_bytes, self.admission.holders) == before
            assert not (fresh and alone and single and self.base + size <= LIMIT), "one item may always run alone"
            return None
        self.mine[answer] = [size, 0, alone and single]
        return answer

    @rule(reservation=held, share=st.floats(0, 1))
    def allocate(self, reservation, share):
        if reservation in self.mine:
            promised, allocated, alone = self.mine[reservation]
            self.mine[reservation] = [promised, max(allocated, int(share * promised)), alone]

    @rule(reservation=held, part=st.floats(0, 1))
    def finish_some(self, reservation, part):
        if reservation in self.mine:
            promised, allocated, alone = self.mine[reservation]
            left = int(part * promised)
            reservation.shrink(left)
            self.mine[reservation] = [left, min(allocated, left), alone]

    @rule(reservation=consumes(held), timed=st.booleans())
    def end(self, reservation, timed):
        if reservation is not None:
            reservation.release(now_s=self.now_s if timed else None)
            reservation.release(now_s=self.now_s)
            self.mine.pop(reservation, None)

    @rule(seconds=st.floats(0.001, 0.3))
    def wait(self, seconds):
        self.now_s += seconds

    @precondition(lambda self: not self.mine)
    @rule(size=st.integers(1, 750))
    def something_always_fits_an_empty_house(self, size):
        self.read()
        answer = self.try_one(size)
        assert not isinstance(answer, Refusal)
        answer.release()

    @invariant()
    def use_stays_within_the_budget(self):
        alone = any(each[2] for each in self.mine.values())
        assert self.use() <= (LIMIT if alone else 0.85 * LIMIT)
        promised = self.base + sum(each[0] for each in self.mine.values())
        assert promised <= (LIMIT if alone else 0.85 * LIMIT)

    @invariant()
    def nothing_leaks(self):
        assert self.admission.holders == len(self.mine)
        assert self.admission.reserved_bytes == sum(each[0] for each in self.mine.values())
        assert self.admission._pending_bytes >= 0
        assert self.admission._returned_bytes >= 0

    def teardown(self):
        admission = self.admission
        for each in self.mine:
            each.release(now_s=self.now_s)
        self.read()
        ask(admission, 2 * LIMIT, self.base, now_s=self.now_s)
        assert (admission.reserved_bytes, admission.holders) == (0, 0)
        assert (admission._pending_bytes, admission._returned_bytes) == (0, 0)


TestLedger = Ledger.TestCase


class Overrun(RuleBasedStateMachine):
    """Promises are too small by any amount, and what is taken is taken at once: only readings know of it.

    Whatever was let in fitted beside what was in use at that moment: what a reading had shown of who is here still, and
    the promises of those whom no reading has shown. Neither what has begun nor what has ended since the reading may
    make it look like less.
    """

    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.admission = Admission(settle_s=0.002)
        self.now_s = 1.0
        self.base = 50
        self.mine = {}  # reservation -> [promised, taken, began_s]
        self.read()

    @rule()
    def read(self):
        self.seen = (self.now_s, self.base + sum(taken for _, taken, _ in self.mine.values()))

    @rule(seconds=st.sampled_from([0.0001, 0.001, 0.003, 0.05]))
    def wait(self, seconds):
        self.now_s += seconds

    @rule(promised=st.sampled_from([1, 100, 200, 300]))
    def come_and_go(self, promised):
        """What begins and ends between two readings was never in any of them."""
        self.end(self.start(promised, 0))

    @rule(target=held, promised=st.sampled_from([1, 100, 200, 300]), more=st.sampled_from([0, 100, 300]))
    def begin(self, promised, more):
        return self.start(promised, more)

    def start(self, promised, more):
        read_s, in_use = self.seen
        answer = ask(self.admission, promised, in_use, now_s=self.now_s, read_s=read_s, base_bytes=self.base)
        if isinstance(answer, Refusal):
            return None
        known = sum(taken if began_s <= read_s - 0.002 else promise for promise, taken, began_s in self.mine.values())
        assert self.base + known + promised <= 0.88 * LIMIT
        self.mine[answer] = [promised, promised + more, self.now_s]
        return answer

    @rule(reservation=consumes(held))
    def go(self, reservation):
        self.end(reservation)

    def end(self, reservation):
        if reservation is not None:
            reservation.release(now_s=self.now_s)
            del self.mine[reservation]

    @rule()
    def a_round(self):
        """Time passes, and a reading is taken: what has begun is shown."""
        self.now_s += 0.003
        self.read()

    def teardown(self):
        for each in self.mine:
            each.release()


TestOverrun = Overrun.TestCase
TestOverrun.settings = settings(max_examples=250, stateful_step_count=30)


class Crowd(RuleBasedStateMachine):
    """A large batch waits while small ones keep coming: it gets its turn as soon as those in flight have ended."""

    def __init__(self):
        super().__init__()
        self.admission = Admission(patience_s=0.25)
        self.now_s = 0.0
        self.mine = []
        self.waited_s = 0.0

    def ask(self, size, **more):
        use = 100 + sum(each.bytes for each in self.mine)
        return ask(self.admission, size, use, now_s=self.now_s, base_bytes=100, **more)

    @rule(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=8), step_s=st.floats(0.01, 0.1))
    def a_while(self, sizes, step_s):
        self.now_s += step_s
        if self.mine:
            self.mine.pop(0).release()
        for size in sizes:
            answer = self.ask(size)
            if not isinstance(answer, Refusal):
                self.mine.append(answer)
        answer = self.ask(600, waiter="large")
        if isinstance(answer, Refusal):
            self.waited_s += step_s
        else:
            answer.release()
            self.waited_s = 0.0

    @invariant()
    def nobody_starves(self):
        # patience, and then one end at a time for at most 750 batches of a byte
        assert self.waited_s <= 0.25 + 0.1 * (2 + len(self.mine) + 40)


TestCrowd = Crowd.TestCase
