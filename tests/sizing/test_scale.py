"""Properties of sizing and admission at scale, in virtual time: within budget at 1 TB and 10^7 items, nobody starves.

Not covered: recovery from wrong predictions and oscillation; some of that is in `test_simulation.py`.
"""

from memflow.sizing.admission import Admission
from tests.sizing.world import MIB, SHARE, TIB, Call, World, uniform

EASED_S = 5.0


class Blind(Admission):
    """Admits everything, to show that these properties can fail."""

    def _fits(self, *args, **kwargs):
        return True


def ten_million(admission=None):
    call = Call(
        "embed",
        uniform(MIB, 3 * MIB),
        lambda items: 0.02 + 0.0001 * items,
        items_left=10_000_000,
        arguments={"batch_size": 4000, "concurrency": 8},
    )
    return World([call], limit_bytes=TIB, admission=admission).run(), call


def mixed(admission=None):
    big = Call("big", uniform(300 * MIB, 320 * MIB), lambda _: 1.0, kind="items", hinted=True)
    small = Call("small", uniform(4 * MIB, 6 * MIB), lambda _: 0.1, kind="items", hinted=True)
    return World([big, small], limit_bytes=512 * MIB, admission=admission).run(40), big, small


def test_ten_million_items_stay_within_a_terabyte():
    world, call = ten_million()
    assert call.done == 10_000_000
    assert world.highest <= (SHARE + 0.01) * TIB
    assert world.over == 0


def test_large_and_small_items_of_two_calls_are_all_admitted_in_time():
    world, big, small = mixed()
    assert max(world.waited_s(big), world.waited_s(small)) <= EASED_S
    assert big.done >= 10
    assert small.done >= 100
    assert world.over == 0


def test_without_admission_memory_would_not_hold():
    assert mixed(Blind())[0].over > 0
