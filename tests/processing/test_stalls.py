"""No silent stall: memory is taken by somebody else, or the limit falls, while calls run. In virtual time.

Whole processors in real memory groups are `test_stalls_real`'s.
"""

from __future__ import annotations

import anyio
import pytest

from memflow.analysis.issues import IssueKind, IssueOpened, IssueResolved, IssueUpdated, Severity
from memflow.exceptions import MemoryPressureError
from tests.processing.parts import GIB, MIB, FakeSizer, results_of
from tests.processing.site import Site

KINDS = pytest.mark.parametrize("kind", ["items", "batches"])


@KINDS
def test_a_neighbour_takes_memory_for_ten_seconds_and_gives_it_back(run_virtual, kind: str) -> None:
    async def main() -> None:
        site, seen = Site(), []

        async def neighbour() -> None:
            await anyio.sleep(2.25)
            site.others = 1100 * MIB
            await anyio.sleep(8)
            seen.append(site.figures)
            await anyio.sleep(2)
            site.others = 0

        assert await site.run(range(200), kind, meanwhile=neighbour) == list(range(200))
        assert sorted(site.ran) == list(range(200))  # none twice
        (during,) = seen
        assert during.stalled == "alone"
        assert 7 < during.stalled_s < 8
        assert during.issues_open >= 1
        after = site.figures
        assert (after.stalled, after.waits_alone, after.waits_given_up) == ("", 1, 0)
        assert 9 < after.longest_wait_s < 10.1
        assert after.longest_wait_s <= after.waited_s
        assert (after.splits > 0) == (kind == "batches")
        opened, *_, resolved = site.stalls()
        assert isinstance(opened, IssueOpened)
        assert isinstance(resolved, IssueResolved)
        assert opened.issue.severity is Severity.WARNING
        assert opened.issue.operation == "test.work"
        assert opened.issue.evidence["others_bytes"] == 1100 * MIB
        assert opened.issue.evidence["limit_bytes"] == GIB
        assert "(the script)" in opened.issue.message
        assert resolved.reason.startswith("it was admitted after 9")

    run_virtual(main)


@KINDS
def test_a_limit_that_is_lowered_below_use_for_ten_seconds(run_virtual, kind: str) -> None:
    async def main() -> None:
        site, most = Site(), 0

        async def owner() -> None:
            nonlocal most
            await anyio.sleep(2.25)
            site.probe.limit_bytes = 40 * MIB
            await anyio.sleep(1)
            most = len(site.ran)
            await anyio.sleep(9)
            assert len(site.ran) == most  # nothing starts in what is not there
            site.probe.limit_bytes = GIB

        assert await site.run(range(200), kind, meanwhile=owner) == list(range(200))
        assert sorted(site.ran) == list(range(200))
        assert site.told()[0] is IssueOpened
        assert site.told()[-1] is IssueResolved

    run_virtual(main)


@KINDS
def test_a_limit_that_is_lowered_to_a_tenth_slows_and_loses_nothing(run_virtual, kind: str) -> None:
    async def main() -> None:
        site, most = Site(), 0

        async def owner() -> None:
            nonlocal most
            await anyio.sleep(2.25)
            site.probe.limit_bytes = 120 * MIB
            await anyio.sleep(1)
            for _ in range(50):
                await anyio.sleep(0.1)
                most = max(most, site.ours)
            site.probe.limit_bytes = GIB

        assert await site.run(range(200), kind, meanwhile=owner) == list(range(200))
        assert 0 < most <= 70 * MIB
        assert site.told() == []  # slow, but never at a standstill

    run_virtual(main)


def test_an_item_that_fitted_waits_for_the_limit_to_rise_again(run_virtual) -> None:
    async def main() -> None:
        site = Site(each=1, batch_size=1, concurrency=1)

        async def owner() -> None:
            await anyio.sleep(2.25)
            site.probe.limit_bytes = 200 * MIB
            await anyio.sleep(20)
            site.probe.limit_bytes = GIB

        call = site.call([300 * MIB] * 12, keep=True, hint=float)
        async with anyio.create_task_group() as group:
            group.start_soon(owner)
            assert len(await results_of(call)) == 12

    run_virtual(main)


@KINDS
def test_what_never_comes_back_ends_in_an_error_after_the_timeout(run_virtual, kind: str) -> None:
    async def main() -> None:
        site = Site(admission_timeout_s=30)

        async def neighbour() -> None:
            await anyio.sleep(2.25)
            site.others = 1000 * MIB

        with pytest.raises(MemoryPressureError) as caught:
            await site.run(range(200), kind, meanwhile=neighbour)
        assert 32 < site.now_s < 34
        error = caught.value
        assert (error.operation, error.requested_bytes, error.limit_bytes) == ("test.work", 20 * MIB, GIB)
        assert (error.in_use_bytes, error.limit_source) == (1050 * MIB, "the script")
        assert 30 <= error.waited_s < 31.5
        assert "(the script)" in str(error)
        assert "free 46 MiB or raise the limit by as much (most of what is in use is held by others)" in str(error)
        assert "look at what else runs under the same limit" in str(error)
        assert "admission_timeout_s" in str(error)
        figures = site.figures
        assert (figures.stalled, figures.waits_given_up, figures.waits_alone) == ("", 1, 1)
        assert figures.items_in_flight == 0
        assert figures.longest_wait_s == pytest.approx(error.waited_s)
        assert [site.told()[0], site.told()[-1]] == [IssueOpened, IssueResolved]
        assert site.stalls()[-1].reason.startswith("it gave up after 30.")
        assert IssueKind.ADMISSION_STALLED not in {issue.kind for issue in site.bundle.analyzer.open_issues}

    run_virtual(main)


def test_the_steps_follow_each_other_and_are_told(run_virtual) -> None:
    """A long batch of ours runs while a neighbour takes the rest: wait for it, then split, then stand alone."""

    async def main() -> None:
        site = Site(each=60 * MIB, batch_size=8, concurrency=4)
        site.holding_s = 15
        steps: list[str] = []

        async def neighbour() -> None:
            await anyio.sleep(0.01)
            site.others = 1100 * MIB
            site.probe.limit_bytes = 900 * MIB
            while site.now_s < 25:
                await anyio.sleep(0.02)
                if site.figures.stalled not in steps[-1:]:
                    steps.append(site.figures.stalled)
            site.others = 0
            site.holding_s = 0.1

        assert await site.run(range(32), "batches", meanwhile=neighbour) == list(range(32))
        assert steps == ["waiting", "alone"]
        assert site.figures.splits == 1  # of 8 to what fits, and even one is too many
        assert site.figures.waits_alone == 1
        events = site.stalls()
        assert site.told()[:3] == [IssueOpened, IssueUpdated, IssueUpdated]
        assert events[0].issue.severity is Severity.INFO
        assert events[0].issue.evidence["batches_in_flight"] == 1
        assert "step waiting" in events[0].issue.message
        assert "gives_up_in_s" not in events[0].issue.evidence
        assert events[1].issue.severity is Severity.WARNING
        assert "nothing of ours is in flight; step splitting" in events[1].issue.message
        assert "step alone" in events[2].issue.message
        assert events[2].issue.evidence["gives_up_in_s"] == pytest.approx(60, abs=0.1)
        assert len({event.issue.id for event in events}) == 1

    run_virtual(main)


def test_waiting_for_our_own_work_that_moves_on_is_no_stall(run_virtual) -> None:
    async def main() -> None:
        site = Site(each=400 * MIB, batch_size=1, concurrency=8)
        site.holding_s = 4
        await site.run(range(20))
        assert site.figures.waits > 0
        assert site.figures.waits_alone == site.figures.splits == 0
        assert site.figures.longest_wait_s > 1
        assert site.told() == []

    run_virtual(main)


def test_without_issues_a_stall_still_shows_in_the_figures(run_virtual) -> None:
    async def main() -> None:
        site = Site(detect_memory_issues=False, admission_timeout_s=5)
        site.others = 1100 * MIB
        with pytest.raises(MemoryPressureError):
            await site.run(range(20))
        assert site.told() == []
        assert site.figures.waits_given_up == 1

    run_virtual(main)


def test_a_call_that_is_cancelled_in_a_stall_leaves_nothing_open(run_virtual) -> None:
    async def main() -> None:
        site = Site()
        site.others = 1100 * MIB
        with anyio.move_on_after(7) as scope:
            await site.run(range(20))
        assert scope.cancelled_caught
        assert site.figures.stalled == ""
        assert [site.told()[0], site.told()[-1]] == [IssueOpened, IssueResolved]
        assert site.stalls()[-1].reason == "the call ended after 7.0 s"

    run_virtual(main)


def test_whoever_stands_behind_one_that_cannot_fit_is_not_given_up(run_virtual) -> None:
    """The first can't be admitted until a neighbour leaves, so nobody knows whether the others fit: theirs is no wait
    for memory that was refused, and their batches are not made smaller."""

    async def main() -> None:
        site = Site(admission_timeout_s=20)
        site.others = 500 * MIB
        large = site.call([600 * MIB], hint=lambda item: item, keep=True)
        large._gate._sizer = FakeSizer(bytes_each=1)
        done: list[str] = []

        async def first() -> None:
            with pytest.raises(MemoryPressureError):
                await results_of(large)
            done.append("large")

        async def second() -> None:
            await anyio.sleep(1)
            small = site.call(range(64), "batches", keep=True)
            assert await results_of(small) == list(range(64))
            done.append("small")

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(second)
        assert done == ["large", "small"]
        assert site.figures.splits == 0
        assert site.figures.waits_given_up == 1

    run_virtual(main)
