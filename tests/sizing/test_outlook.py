"""What memory allows a call, with a learnt fixed part. More of it, seen through a sizer, is in `test_call`."""

from memflow.sizing.cost import MemoryCost
from memflow.sizing.operation import Operation
from memflow.sizing.outlook import SizerLimits, memory_items, most_calls
from memflow.sizing.policy import SizeBounds

LIMITS = SizerLimits(SizeBounds(5), 1, 100, target_pct=70.0, knee_overhead_pct=5.0, max_batch_s=30.0)


class Known:
    """1,000 bytes of room, 10 an item and 50 a call."""

    def cost(self, operation):
        return MemoryCost(10.0, 50.0, 9)

    def room_bytes(self, operation, target_pct):
        return 1000.0


def test_the_fixed_part_of_each_call_comes_off_first():
    operation = Operation("work", "batches")
    assert memory_items(Known(), operation, LIMITS, calls=1) == 95
    assert memory_items(Known(), operation, LIMITS, calls=10) == 5
    assert memory_items(Known(), operation, LIMITS, calls=40) == 0
    assert most_calls(Known(), operation, LIMITS) == 10
