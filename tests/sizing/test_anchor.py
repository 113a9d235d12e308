"""What the program holds between calls, told apart from what the allocator keeps."""

from memflow.memory.readings import AllocatorReading, MemoryReading
from memflow.sizing.anchor import HeapBaseline
from memflow.sizing.cost import CostModel

MIB = 1 << 20


class Heap:
    """An allocator that is told what to say."""

    def __init__(self, live=10 * MIB, free=0, blocks=0):
        self.live, self.free, self.blocks, self.asked = live, free, blocks, 0

    def __call__(self):
        self.asked += 1
        return AllocatorReading(self.blocks, self.live, self.free)


def reading(rss, time_s=0.0):
    return MemoryReading(time_s, rss, rss, rss, 10**10)


def begun(heap):
    model, baseline = CostModel(anchor_bytes=100 * MIB), HeapBaseline(heap)
    baseline.move(model, reading(100 * MIB))
    return model, baseline


def test_what_the_program_came_to_hold_moves_the_anchor():
    heap = Heap()
    model, baseline = begun(heap)
    heap.live += 200 * MIB
    baseline.move(model, reading(350 * MIB))
    assert model.anchor_bytes == 300 * MIB


def test_what_is_merely_kept_does_not():
    heap = Heap()
    model, baseline = begun(heap)
    baseline.move(model, reading(400 * MIB))
    assert model.anchor_bytes == 100 * MIB


def test_python_blocks_count_little_and_the_anchor_never_exceeds_rss():
    heap = Heap()
    model, baseline = begun(heap)
    heap.blocks = MIB
    baseline.move(model, reading(500 * MIB))
    assert model.anchor_bytes == 164 * MIB
    heap.live += 900 * MIB
    baseline.move(model, reading(500 * MIB))
    assert model.anchor_bytes == 500 * MIB


def test_what_is_given_back_moves_it_down_again():
    heap = Heap()
    model, baseline = begun(heap)
    heap.live += 200 * MIB
    baseline.move(model, reading(350 * MIB))
    heap.live -= 150 * MIB
    baseline.move(model, reading(350 * MIB))
    assert model.anchor_bytes == 150 * MIB


def test_what_can_be_live_counts_a_block_in_full():
    heap = Heap(live=10 * MIB, blocks=1000)
    model, baseline = begun(heap)
    heap.live, heap.blocks = 30 * MIB, 3000
    assert baseline.held_bytes(model, reading(0, 1.0)) == 20 * MIB + 2000 * 512
    heap.live = 40 * MIB
    assert baseline.held_bytes(model, reading(0, 1.0004)) == 20 * MIB + 2000 * 512  # as it was said a moment ago
    model.move_anchor(105 * MIB)
    assert baseline.held_bytes(model, reading(0, 1.0004)) == 15 * MIB + 2000 * 512
    heap.live = 0
    assert baseline.held_bytes(model, reading(0, 2.0)) == 0
    heap.live = None
    assert baseline.held_bytes(model, reading(0, 3.0)) is None
    assert HeapBaseline(heap).held_bytes(model, reading(0)) is None


def test_reusable_is_bounded_by_what_is_resident_and_asked_for_rarely():
    heap = Heap(free=300 * MIB)
    model, baseline = begun(heap)
    asked = heap.asked
    assert baseline.reusable_bytes(model, reading(500 * MIB, 1.0)) == 270 * MIB  # nine tenths
    heap.free = 100 * MIB
    assert baseline.reusable_bytes(model, reading(900 * MIB, 1.0004)) == 270 * MIB
    assert heap.asked == asked + 1
    assert baseline.reusable_bytes(model, reading(900 * MIB, 1.0006)) == 90 * MIB
    assert heap.asked == asked + 2
    heap.free = 300 * MIB
    assert baseline.reusable_bytes(model, reading(180 * MIB, 2.0)) == 72 * MIB  # the rest isn't resident any more


def test_a_heap_that_takes_long_to_ask_is_asked_seldom():
    heap, now = Heap(free=300 * MIB), [0.0]
    model, _ = begun(heap)

    def slow() -> AllocatorReading:
        now[0] += 0.004
        return heap()

    baseline = HeapBaseline(slow, clock=lambda: now[0])
    asked = heap.asked
    for step in range(1000):
        baseline.reusable_bytes(model, reading(500 * MIB, 1.0 + step / 1000))
    assert heap.asked - asked == 6  # 4 ms each are 2 % of 0.2 s; the first may have been held up


def test_an_allocator_that_cannot_tell_changes_nothing():
    heap = Heap(live=None, free=None)
    model, baseline = begun(heap)
    baseline.move(model, reading(400 * MIB))
    assert model.anchor_bytes == 100 * MIB
    assert baseline.reusable_bytes(model, reading(400 * MIB, 1.0)) == 0


def test_one_answer_that_was_held_up_blinds_nobody():
    heap, now, takes = Heap(free=300 * MIB), [0.0], iter([0.00001, 0.5, *[0.00001] * 98])
    model, _ = begun(heap)

    def ask() -> AllocatorReading:
        now[0] += next(takes)
        return heap()

    baseline = HeapBaseline(ask, clock=lambda: now[0])
    asked = heap.asked
    for step in range(100):
        baseline.reusable_bytes(model, reading(500 * MIB, 1.0 + step / 1000))
    assert heap.asked - asked == 100
