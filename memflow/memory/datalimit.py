"""A sliding RLIMIT_DATA: a wrong guess becomes a `MemoryError` in the one who made it, and not a SIGKILL for all.

Covers the bound, and moving it. A kernel that runs out of a group's memory kills; one that is asked for address space
beyond RLIMIT_DATA refuses, and the allocation fails where it was asked for, with a traceback. So, while work is in
flight, the soft limit is kept where private writable address space would bring use to 93 % of the memory limit.
A limit set once would fail soon: libraries reserve address space that they never touch. So it slides.

Why readings at ticks suffice: as long as nobody else takes memory, a bound of address space set once stays right, since
what is freed lowers both. Only what others take, and what was reserved and is touched later, calls for moves.

A heap that was trimmed gave its pages back and kept its addresses. Blocks that fit into such holes fill them without
asking for address space, in the end: glibc, refused by the kernel, opens another arena, and once that is refused too it
goes back to the holes of the first. So holes count as filled; what does not fit into them has what is left beside. For
one item alone they are plugged (`memflow.memory.plugs`), and it has all there is.

Stacks of threads are address space too, megabytes each, and hardly touched: they are counted apart.

Not covered: memory that is no private data (shared mappings, page cache, the stack), and systems other than Linux.
Running an item again after its `MemoryError` is `memflow.processing.rerun`'s.

Child processes inherit the soft limit of the moment they start; it is never less than what this process may still take.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from threading import Lock
from typing import Any

from memflow.memory.allocator import read_allocator
from memflow.memory.holes import Holes
from memflow.memory.plugs import Plugs

__all__ = ["DataLimit", "data_limit_bytes", "original_data_limit"]

_SHARE = 0.93
_LAST_SHARE = 0.95
_LEAST_BYTES = 8 << 20
_LEAST_SHARE = 0.03
_LAST_BYTES = 1 << 20
_STEP_BYTES = 1 << 20
_MEMORY_S = 2.0
_USUAL_STACK_BYTES = 2 << 20
_WORTH_PLUGGING_BYTES = 4 << 20
_RESIDENT_TOO_BYTES = 32 << 20
_FIRST_STEPS_BYTES = 4 << 20


def data_limit_bytes(*, private_bytes: int, untouched_bytes: int, in_use_bytes: int, limit_bytes: int) -> int:
    """Return where private writable address space must end so that use stays below the memory limit. Pure.

    Args:
        private_bytes: Resident pages of this process that no file backs.
        untouched_bytes: Address space above them that is taken to stay untouched: the least seen lately. Whatever
            exceeds it was reserved just now and will be touched, so it takes room already.
        in_use_bytes: What counts against the memory limit.
        limit_bytes: The memory limit.

    Returns:
        Bytes of address space. There is always a little room, so that the program itself can go on (3 % of the limit,
        at most 8 MiB), which shrinks to 1 MiB as use comes within 5 % of the limit.
    """
    room = _SHARE * limit_bytes - in_use_bytes
    least = min(_LEAST_BYTES, _LEAST_SHARE * limit_bytes, max(_LAST_BYTES, _LAST_SHARE * limit_bytes - in_use_bytes))
    return int(private_bytes + untouched_bytes + max(room, least))


class DataLimit:
    """Moves this process's soft RLIMIT_DATA while it is held, and puts it back after.

    Several of them, for several memory limits, agree on the strictest. Where the limit can't be moved (another system,
    a sandbox), it stays where it is and `active` is False.
    """

    def __init__(self) -> None:
        self._resource = _resource()
        self._holds = 0
        self._lock = Lock()
        self._statm_fd = -1
        self._page_bytes = 4096
        self._stack_bytes = 0
        self._threads_before = self._expected_threads = 0
        self._set_bytes = 0
        self._least_untouched: deque[tuple[float, int]] = deque()
        self._holes: Holes | None = None
        self._plugs = Plugs()

    @property
    def active(self) -> bool:
        """True while the limit is being moved."""
        return self._statm_fd >= 0

    def hold(self) -> None:
        """Begin to move the limit, from the next `move` on; each call asks for one `release`."""
        with self._lock:
            self._holds += 1
            if self._holds == 1 and self._resource is not None:
                try:
                    self._statm_fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
                    self._page_bytes = os.sysconf("SC_PAGE_SIZE")
                    self._stack_bytes = _stack_bytes(self._resource)
                except OSError:
                    self._statm_fd = -1
                self._least_untouched.clear()
                self._holes = None
                self._set_bytes = 0
                self._threads_before = threading.active_count()

    def expect_threads(self, count: int) -> bool:
        """Leave room for the stacks of so many threads more than there were; True where that is more than before."""
        more = count > self._expected_threads
        if more:
            self._expected_threads = count
        return more

    def release(self) -> None:
        """Put the limit back once everybody has released it."""
        with self._lock:
            self._holds -= 1
            if not self._holds:
                self._expected_threads = 0
                self._plugs.release()
                self._let_go()

    def move(self, *, rss_bytes: int, in_use_bytes: int, limit_bytes: int, now_s: float) -> None:
        """Move the limit to fit a reading. Costs two microseconds."""
        with self._lock:
            if self._statm_fd < 0:
                return
            try:
                fields = os.pread(self._statm_fd, 128, 0).split()
            except OSError:
                self._let_go()
                return
            resident, shared, data = (int(fields[each]) * self._page_bytes for each in (1, 2, 5))
            private = resident - shared  # libraries' pages are no data
            threads = threading.active_count()
            expected = max(threads, self._threads_before + self._expected_threads)
            gap = max(0, data - private - threads * self._stack_bytes)
            holes = self._count_holes(private, data, gap)
            target = data_limit_bytes(
                private_bytes=private,
                untouched_bytes=expected * self._stack_bytes + holes + self._untouched(gap - holes, now_s),
                in_use_bytes=in_use_bytes + resident - rss_bytes + max(0, holes - self._plugs.bytes),
                limit_bytes=limit_bytes,
            )
            if abs(target - self._set_bytes) >= _STEP_BYTES:
                self._set(target)

    def allows_thread(self) -> bool:
        """True where a new thread finds room for its stack and its first steps.

        One that doesn't may leave who started it waiting for ever: `Thread.start` waits for a word from it.
        """
        with self._lock:
            if self._statm_fd < 0 or not self._set_bytes:
                return True
            try:
                data_bytes = int(os.pread(self._statm_fd, 128, 0).split()[5]) * self._page_bytes
            except OSError:
                return True
            return self._set_bytes - data_bytes >= self._stack_bytes + _FIRST_STEPS_BYTES

    def plug(self) -> None:
        """Take the holes for as long as one item runs alone; ask for a move afterwards, and for `unplug`."""
        with self._lock:
            if self._statm_fd >= 0 and self._holes is not None and self._holes.bytes >= _WORTH_PLUGGING_BYTES:
                self._plugs.take(self._stop_growth, most_bytes=self._holes.bytes + _RESIDENT_TOO_BYTES)

    def unplug(self) -> None:
        """Give the holes back; ask for a move afterwards."""
        with self._lock:
            self._plugs.release()

    def _stop_growth(self) -> bool:
        try:
            fields = os.pread(self._statm_fd, 128, 0).split()
        except OSError:
            return False
        self._set(int(fields[5]) * self._page_bytes)  # and the stack, which the limit does not count: little
        return self.active

    def _count_holes(self, private_bytes: int, data_bytes: int, gap_bytes: int) -> int:
        if self._holes is None:
            # What the heap has free is no more than its holes, whoever made them.
            self._holes = Holes(min(gap_bytes, read_allocator().native_free_bytes or 0))
        return min(gap_bytes, self._holes.add(resident_bytes=private_bytes, data_bytes=data_bytes))

    def _untouched(self, gap_bytes: int, now_s: float) -> int:
        """Return the least gap between address space and resident pages of the last seconds."""
        least = self._least_untouched
        while least and least[-1][1] >= gap_bytes:
            least.pop()
        least.append((now_s, gap_bytes))
        while least[0][0] < now_s - _MEMORY_S:
            least.popleft()
        return least[0][1]

    def _set(self, target_bytes: int) -> None:
        if _claims.set(self, target_bytes):
            self._set_bytes = target_bytes
        else:
            self._let_go()

    def _let_go(self) -> None:
        if self._statm_fd >= 0:
            os.close(self._statm_fd)
            self._statm_fd = -1
        _claims.drop(self)


class _Claims:
    """Who wants the limit where; the process has but one."""

    def __init__(self) -> None:
        self.original: tuple[int, int] | None = None
        self._wanted: dict[int, int] = {}
        self._lock = Lock()

    def set(self, who: DataLimit, target_bytes: int) -> bool:
        with self._lock:
            resource = who._resource
            try:
                if self.original is None:
                    self.original = resource.getrlimit(resource.RLIMIT_DATA)
                self._wanted[id(who)] = target_bytes
                self._apply(resource)
            except (OSError, ValueError):
                self._wanted.pop(id(who), None)
                return False
            return True

    def drop(self, who: DataLimit) -> None:
        with self._lock:
            if self._wanted.pop(id(who), None) is None or self.original is None:
                return
            resource = who._resource
            try:
                if self._wanted:
                    self._apply(resource)
                else:
                    resource.setrlimit(resource.RLIMIT_DATA, self.original)
            except (OSError, ValueError):
                pass  # nothing is left to try: what stands was allowed when it was set
            if not self._wanted:
                self.original = None

    def _apply(self, resource: Any) -> None:
        assert self.original is not None
        soft, hard = self.original
        target = min(self._wanted.values())
        for bound in (soft, hard):
            if bound != resource.RLIM_INFINITY:
                target = min(target, bound)
        resource.setrlimit(resource.RLIMIT_DATA, (target, hard))


_claims = _Claims()


def original_data_limit() -> tuple[int, int] | None:
    """Return soft and hard RLIMIT_DATA as they were before anything here moved them, None where nothing did."""
    return _claims.original


def _stack_bytes(resource: Any) -> int:
    """Return the address space of a new thread's stack, of which it touches next to nothing."""
    own, usual = threading.stack_size(), resource.getrlimit(resource.RLIMIT_STACK)[0]
    return own if own else _USUAL_STACK_BYTES if usual == resource.RLIM_INFINITY else int(usual)


def _resource() -> Any:
    if sys.platform != "linux":
        return None
    import resource

    return resource
