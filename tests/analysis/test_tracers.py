"""tracemalloc and memray for real, each in a process of its own: a tracer spoils what others read of the heap."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import memflow
from memflow import BatchProcessor, ConfigurationError, HeapAnalyzer, HeapAnalyzerSettings
from memflow.analysis.tracers import CannotTrace, MemrayTracer, TracemallocTracer, make_tracer
from tests.memory.scripts import run_python

PROGRAM = Path(__file__).with_name("leaking.py")
MB = 1_000_000
needs_memray = pytest.mark.skipif(importlib.util.find_spec("memray") is None, reason="memray is not installed here")
TRACERS = ["tracemalloc", pytest.param("memray", marks=needs_memray)]


def leaking(*arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(memflow.__path__[0]).parent), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def line_of(text):
    lines = PROGRAM.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip().startswith(text))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tracer", "what", "text"),
    [
        ("tracemalloc", "python", "KEPT.append("),
        pytest.param("memray", "native", "address = _malloc(", marks=needs_memray),
        pytest.param("memray", "python", "KEPT.append(", marks=needs_memray),
    ],
)
def test_the_line_that_leaks_is_on_the_issue_and_nothing_is_left_behind(tracer, what, text, tmp_path):
    place = f"{PROGRAM}:{line_of(text)} in keep_{what}"
    answer = leaking(tracer, what, tmp_path=tmp_path)
    site = answer["site"]
    assert answer["sites"] == [site["what"]] == [place]
    assert f"called by {PROGRAM}:{line_of('(keep_native if')} in leak" in site["holder"]
    assert site["bytes"] / site["gained"] == pytest.approx(20_000, rel=0.1)
    assert site["per_item"] == pytest.approx(1.0, rel=0.02)
    assert any(f"look at {site['what']} has allocated" in each for each in answer["advice"])
    assert (answer["is_open"], answer["is_tracing"], answer["profiler"]) == (False, False, "None")
    assert (answer["captures"], answer["notes"]) == ([], [])


@pytest.mark.slow
def test_a_running_tracemalloc_is_compared_with_itself_and_goes_on(tmp_path):
    place = f"{PROGRAM}:{line_of('KEPT.append(')} in keep_python"
    answer = leaking("tracemalloc", "python", "already", tmp_path=tmp_path)
    assert answer["sites"] == [answer["site"]["what"]] == [place]
    assert answer["site"]["per_item"] == pytest.approx(1.0, rel=0.02)
    assert answer["is_tracing"]


# ---- what is asked for and not there ----------------------------------------------------------------------------


def test_memray_that_is_not_installed_is_told_when_an_analyzer_is_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "memray", None)
    settings = HeapAnalyzerSettings(allocation_sites="memray")
    for make in (
        lambda: HeapAnalyzer(settings),
        lambda: BatchProcessor(memflow.MemflowSettings(heap_analyzer=settings)),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert "heap_analyzer.allocation_sites" in str(caught.value)
        assert "pip install 'memflow-async[memray]'" in str(caught.value)


def test_neither_is_loaded_where_nobody_asks():
    script = """
        import sys, anyio, memflow

        async def main():
            async with memflow.BatchProcessor() as processor:
                await processor.process([1, 2], anyio.sleep)

        anyio.run(main)
        ours = [f"memflow.analysis.{each}" for each in ("allocation_sites", "tracers", "places")]
        print([each for each in ("tracemalloc", "memray", *ours) if each in sys.modules])
    """
    assert run_python(script).strip() == "[]"


@pytest.mark.parametrize("name", TRACERS)
def test_too_little_room_is_refused(name):
    script = f"""
        from memflow.analysis.tracers import CannotTrace, make_tracer

        tracer = make_tracer({name!r}, frames=8)
        for ask in (tracer.refuse, tracer.begin):
            try:
                ask(31_000_000)
            except CannotTrace as reason:
                print(reason)
        tracer.refuse(33_000_000)
        tracer.stop()
    """
    assert run_python(script).splitlines() == ["allocations are not traced: 31 MB left are less than 32"] * 2


# ---- beginning and ending ---------------------------------------------------------------------------------------

TRACING = """
    import gc, json, os, sys, tempfile, threading, tracemalloc
    from pathlib import Path
    from memflow.analysis.tracers import CannotTrace, make_tracer

    name, folder = sys.argv[1], sys.argv[2]
    tempfile.tempdir = folder
    tracer, kept = make_tracer(name, frames=8), []

    def keep():
        kept.append(bytes(100_000))

    def state():
        return [tracemalloc.is_tracing(), threading.getprofile() is not None, len(os.listdir(folder))]
"""


@pytest.mark.parametrize("name", TRACERS)
def test_what_was_allocated_and_lives_is_read_and_tracing_is_over(name, tmp_path):
    script = f"""{TRACING}
    keep()
    tracer.begin(10**9)
    during = state()
    for _ in range(20):
        keep()
        bytes(200_000)
    live = tracer.read()
    after = state()
    found = {{frame.line: size for stack, size in live.items() for frame in stack[:1] if frame.file == "<string>"}}
    print(json.dumps([during, after, max(found.values())]))
    tracer.stop()
    """
    during, after, (size, blocks) = json.loads(run_python(script, name, str(tmp_path)))
    assert during == ([True, False, 0] if name == "tracemalloc" else [False, True, 1])
    assert after == [False, False, 0]
    assert blocks in (20, 21)  # the list's own
    assert size == pytest.approx(2 * MB, rel=0.01)


@pytest.mark.parametrize("name", TRACERS)
def test_stopping_leaves_nothing_behind_any_number_of_times(name, tmp_path):
    script = f"""{TRACING}
    tracer.stop()
    tracer.begin(10**9)
    tracer.stop()
    tracer.stop()
    print(json.dumps(state()))
    tracer.begin(10**9)
    tracer.read()
    print(json.dumps(state()))
    """
    assert run_python(script, name, str(tmp_path)).splitlines() == ["[false, false, 0]"] * 2


def test_tracemalloc_is_full_before_it_costs_more_than_its_share(tmp_path):
    script = f"""{TRACING}
    tracer.begin(40_000_000)
    assert not tracer.is_full
    while not tracer.is_full:
        kept.append(object())
    print(len(kept), tracemalloc.get_tracemalloc_memory())
    """
    blocks, own = map(int, run_python(script, "tracemalloc", str(tmp_path)).split())
    assert blocks > 10_000
    assert own < 0.1 * 40_000_000


def test_a_running_tracemalloc_is_not_stopped_and_one_that_has_seen_too_much_is_refused(tmp_path):
    script = f"""{TRACING}
    tracemalloc.start(12)
    tracer.begin(10**9)
    print(tracer.keeps_baseline)
    for _ in range(5):
        keep()
    tracer.read()
    tracer.stop()
    print(tracemalloc.is_tracing(), tracemalloc.get_traceback_limit())
    kept.extend(object() for _ in range(300_000))
    try:
        tracer.refuse(10**9)
    except CannotTrace as reason:
        print(reason)
    tracemalloc.stop()
    tracer.begin(10**9)
    tracemalloc.stop()
    try:
        tracer.read()
    except CannotTrace as reason:
        print(reason)
    """
    lines = run_python(script, "tracemalloc", str(tmp_path)).splitlines()
    assert lines[:2] == ["True", "True 12"]
    assert lines[2].startswith("tracemalloc is running already, and has seen too much to be compared: ")
    assert lines[3] == "tracemalloc was stopped by somebody else meanwhile"


@needs_memray
def test_a_running_memray_and_a_profiler_are_left_alone(tmp_path):
    script = f"""{TRACING}
    import memray

    def ask():
        try:
            tracer.begin(10**9)
        except CannotTrace as reason:
            print(reason)
        finally:
            tracer.stop()

    profiler = lambda *_: None
    sys.setprofile(profiler)
    ask()
    print(sys.getprofile() is profiler)
    sys.setprofile(None)
    capture = Path(folder) / "theirs.bin"
    with memray.Tracker(capture):
        during = threading.getprofile()
        threading.setprofile(None)
        ask()
        threading.setprofile(during)
        keep()
        print(os.listdir(folder))
    with memray.FileReader(capture) as reader:
        print(max(each.size for each in reader.get_leaked_allocation_records()) >= 100_000)
    """
    assert run_python(script, "memray", str(tmp_path)).splitlines() == [
        "allocations are not traced: a profiler is running, which memray would end",
        "True",
        "allocations are not traced: a memray tracker is running already",
        "['theirs.bin']",
        "True",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.parametrize("name", TRACERS)
def test_a_child_that_is_forked_in_a_window_is_not_traced_and_the_end_of_the_process_ends_it(name, tmp_path):
    script = f"""{TRACING}
    import time
    from memflow.analysis.allocation_sites import PROCESS, AllocationSites

    sites = AllocationSites(
        tracer, window_s=60, told=lambda: None, items=lambda: 0, room_bytes=lambda: 10**9
    )
    sites.look()
    while not any(state()):
        time.sleep(0.01)
    child = os.fork()
    if not child:
        os._exit(2 if tracemalloc.is_tracing() or not PROCESS.enter(time.monotonic(), 1.0) else 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), any(state()), sites.is_tracing)
    """
    assert run_python(script, name, str(tmp_path)).strip() == "0 True True"
    assert list(tmp_path.iterdir()) == []


def test_each_name_of_the_setting_makes_its_own():
    assert isinstance(make_tracer("tracemalloc", frames=3), TracemallocTracer)
    with pytest.raises(CannotTrace):
        make_tracer("tracemalloc", frames=3).refuse(0)
    assert MemrayTracer.name == "memray"
