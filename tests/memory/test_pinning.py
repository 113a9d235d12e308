"""For how long large blocks come from the kernel."""

from hypothesis import given
from hypothesis import strategies as st

from memflow.memory.pinning import DEAR_SHARE, HOLD_S, LONGEST_REST_S, REST_S, Pinning

DEAR, CHEAP = DEAR_SHARE + 0.01, DEAR_SHARE - 0.01


class Run:
    """A process that spends a share of its time in the kernel."""

    def __init__(self) -> None:
        self.pinning, self.now_s, self.system_s = Pinning(), 0.0, 0.0

    def pin(self, *, urgent: bool = False, for_good: bool = False) -> bool:
        return self.pinning.pin(self.now_s, self.system_s, urgent=urgent, for_good=for_good)

    def go(self, seconds: float, share: float) -> bool:
        self.now_s += seconds
        self.system_s += share * seconds
        return self.pinning.let_go(self.now_s, self.system_s)

    def lasts_s(self, share: float = DEAR) -> float:
        began_s = self.now_s
        while not self.go(0.1, share):
            assert self.now_s - began_s < 1000
        return self.now_s - began_s


def test_what_is_not_pinned_is_not_let_go() -> None:
    assert not Run().go(100.0, 1.0)


def test_it_is_pinned_once() -> None:
    run = Run()
    assert run.pin()
    assert not run.pin()


def test_what_costs_little_stays() -> None:
    run = Run()
    run.pin()
    assert not any(run.go(0.1, CHEAP) for _ in range(10_000))
    assert run.pinning.is_pinned


def test_what_becomes_dear_is_let_go_soon_however_long_it_was_cheap() -> None:
    run = Run()
    run.pin()
    for _ in range(10_000):
        run.go(0.1, 0.0)
    assert run.lasts_s(1.0) < 2 * HOLD_S + 0.2


def test_what_was_too_dear_is_tried_ever_less_often() -> None:
    run, rests = Run(), []
    for _ in range(8):
        assert run.pin()
        assert round(run.lasts_s()) == HOLD_S
        began_s = run.now_s
        while not run.pin():
            run.go(0.1, 0.0)
        rests.append(round(run.now_s - began_s))
        run.lasts_s()
        run.go(LONGEST_REST_S, 0.0)
    assert rests == [4, 16, 64, 128, 128, 128, 128, 128]


def test_want_of_memory_does_not_wait() -> None:
    run = Run()
    run.pin()
    run.lasts_s()
    assert not run.pin()
    assert run.pin(urgent=True)
    run.lasts_s()
    assert run.pin(for_good=True)


def test_for_good_is_for_good() -> None:
    run = Run()
    run.pin()
    assert not run.pin(for_good=True)
    assert not any(run.go(1.0, 1.0) for _ in range(1000))


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 20.0), st.floats(0.0, 2.0)), max_size=80))
def test_it_never_goes_before_its_time(steps: list[tuple[bool, float, float]]) -> None:
    run, since_s = Run(), 0.0
    for pins, seconds, share in steps:
        if pins and run.pin():
            since_s = run.now_s
        was = run.pinning.is_pinned
        if run.go(seconds, share):
            assert was
            assert run.now_s - since_s >= HOLD_S
        assert REST_S <= run.pinning._rest_s <= LONGEST_REST_S
