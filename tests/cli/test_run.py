"""`memflow run`, end to end, as a process of its own: `memflow.cli.run`, `launch` and `job`."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path

import pytest
import zstandard

from tests.cli.conftest import Shell

IN_OUT = ["--input", "in.jsonl", "--output", "out.jsonl"]

# ---- what goes in and out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["jobs:double"],
        ["jobs:adouble"],
        ["jobs:double_all", "--batched"],
        ["jobs:adouble", "--backend", "trio"],
        ["jobs:double", "--backend", "trio", "--batch-processor.concurrency", "3"],
    ],
    ids=" ".join,
)
def test_one_record_for_each_item_in_the_order_of_the_input(shell: Shell, words: list[str]) -> None:
    shell.write_ids(500)
    done = shell.memflow("run", *words, "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.status == 0, done.err
    assert shell.read() == [{"id": each, "twice": each * 2} for each in range(500)]
    assert done.out == ""
    assert "done: 500 items" in done.err


def test_csv_in_and_out(shell: Shell) -> None:
    (shell.folder / "in.csv").write_text('name,text\r\na,"x, ""y""\nz"\r\nb,\r\n', newline="")
    done = shell.memflow("run", "jobs:echo", "--input", "in.csv", "--output", "out.csv")
    assert done.status == 0, done.err
    assert (shell.folder / "out.csv").read_bytes() == (shell.folder / "in.csv").read_bytes()


def test_lines_in_and_out_with_compression(shell: Shell) -> None:
    (shell.folder / "in.txt.gz").write_bytes(gzip.compress("ä\nb\n".encode()))
    assert shell.memflow("run", "jobs:shout", "--input", "in.txt.gz", "--output", "out.txt.zst").status == 0
    data = (shell.folder / "out.txt.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(data) == "Ä\nB\n".encode()
    assert shell.memflow("run", "jobs:echo", "--input", "out.txt.zst", "--output", "again.txt.gz").status == 0
    assert gzip.decompress((shell.folder / "again.txt.gz").read_bytes()) == "Ä\nB\n".encode()


def test_standard_input_and_output_with_prints_kept_out_of_the_records(shell: Shell) -> None:
    done = shell.memflow("run", "jobs:chatty", "--input", "-", stdin='{"id": 1}\n{"id": 2}\n')
    assert done.status == 0, done.err
    assert done.out == '{"id":1}\n{"id":2}\n'
    assert "working on 1" in done.err
    assert done.err.count("no line break") == 2


def test_prints_reach_a_redirected_standard_output(shell: Shell) -> None:
    shell.write_ids(2)
    done = shell.memflow("run", "jobs:chatty", "--input", "in.jsonl", "--output", "out.jsonl")
    assert sorted(re.findall(r"working on (\d)", done.out)) == ["0", "1"]
    assert done.out.count("no line break") == 2
    assert "working" not in done.err


def test_files_are_paths_sorted_and_each_once(shell: Shell) -> None:
    (shell.folder / "d" / "e,f").mkdir(parents=True)
    for name in ("d/b.md", "d/a.md", "d/e,f/c.md", "d/[x].md"):
        (shell.folder / name).write_text(name)
    globs = ["--files", "d/**/*.md", "--files", "d/e,f/*.md", "--files", "[d]/a.md"]
    done = shell.memflow("run", "jobs:echo", *globs, "--output", "out.jsonl")
    assert done.status == 0, done.err
    assert shell.read() == sorted(["d/a.md", "d/b.md", "d/e,f/c.md", "d/[x].md"])


@pytest.mark.parametrize(("source", "count"), [("jobs:numbers", 10), ("jobs:async_numbers", 4)])
def test_a_function_gives_the_items(shell: Shell, source: str, count: int) -> None:
    done = shell.memflow("run", "jobs:echo", "--source", source, "--output", "out.jsonl", "--size-hint", "jobs:size")
    assert done.status == 0, done.err
    assert shell.read() == [{"id": each} for each in range(count)]


def test_skipped_items_are_passed_over(shell: Shell) -> None:
    shell.write_ids(10)
    done = shell.memflow("run", "jobs:echo", "--input", "in.jsonl", "--output", "out.jsonl", "--skip", "7")
    assert done.status == 0, done.err
    assert [each["id"] for each in shell.read()] == [7, 8, 9]


def test_an_input_far_larger_than_a_block_is_read_whole(shell: Shell) -> None:
    shell.write_ids(200_000)
    done = shell.memflow("run", "jobs:double_all", "--batched", "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.status == 0, done.err
    assert [each["id"] for each in shell.read()] == list(range(200_000))


# ---- settings -------------------------------------------------------------------------------------------------


def test_settings_come_from_options_then_variables_then_env_file_then_pyproject(shell: Shell) -> None:
    shell.write_ids(1)
    (shell.folder / "pyproject.toml").write_text(
        '[tool.other]\nx = 1\n[tool.memflow.batch_processor]\nprocess_name = "toml"\nconcurrency = 5\n'
    )
    run = [
        "run",
        "jobs:echo",
        "--input",
        "in.jsonl",
        "--output",
        "out.jsonl",
        "--overwrite",
        "--summary-json",
        "s.json",
    ]

    def name(*words: str, **variables: str) -> str:
        done = shell.memflow(*run, *words, environment=variables)
        assert done.status == 0, done.err
        summary = json.loads((shell.folder / "s.json").read_text())
        assert summary["statistics"]["concurrency"] == 5
        return str(summary["statistics"]["process_name"])

    assert name() == "toml"
    (shell.folder / ".env").write_text("DATABASE_URL=x\nMEMFLOW_BATCH_PROCESSOR__PROCESS_NAME=dotenv\nFOO__BAR=1\n")
    assert name() == "dotenv"
    assert name(MEMFLOW_BATCH_PROCESSOR__PROCESS_NAME="variable") == "variable"
    words = ["--batch-processor.process-name", "option"]
    assert name(*words, MEMFLOW_BATCH_PROCESSOR__PROCESS_NAME="variable") == "option"


def test_a_limit_given_as_an_option_counts(shell: Shell) -> None:
    shell.write_ids(3)
    words = ["--memory-manager.limit", "777MiB", "--summary-json", "s.json"]
    assert shell.memflow("run", "jobs:echo", "--input", "in.jsonl", "--output", "o.jsonl", *words).status == 0
    summary = json.loads((shell.folder / "s.json").read_text())
    assert summary["statistics"]["limit_bytes"] == 777 * 1024 * 1024


def test_an_unknown_variable_is_warned_of(shell: Shell) -> None:
    shell.write_ids(1)
    words = ["run", "jobs:echo", "--input", "in.jsonl", "--output", "out.jsonl", "--overwrite"]
    variables = {"MEMFLOW_BATCH_PROCESSOR_CONCURRENCY": "3"}
    done = shell.memflow(*words, environment=variables)
    assert done.status == 0
    assert "did you mean MEMFLOW_BATCH_PROCESSOR__CONCURRENCY?" in done.err
    assert shell.memflow(*words, "--quiet", environment=variables).err == ""


# ---- failures -------------------------------------------------------------------------------------------------


def test_failed_items_are_counted_named_and_written_and_the_rest_goes_on(shell: Shell) -> None:
    shell.write_ids(20)
    words = ["--input", "in.jsonl", "--output", "out.jsonl", "--failures", "failures.jsonl"]
    done = shell.memflow("run", "jobs:fail_odd", *words)
    assert done.status == 1
    assert [each["id"] for each in shell.read()] == list(range(0, 20, 2))
    failures = shell.read("failures.jsonl")
    assert failures[0] == {
        "index": 1,
        "error_type": "ValueError",
        "message": "1 is odd",
        "attempts": 1,
        "input": {"id": 1},
    }
    assert [each["index"] for each in failures] == list(range(1, 20, 2))
    assert "10 failed" in done.err
    assert "in.jsonl:2: ValueError: 1 is odd" in done.err
    assert "and 5 more; all are in failures.jsonl" in done.err
    assert "Traceback" not in done.err


def test_failures_count_from_the_first_item_of_the_input_though_some_were_skipped(shell: Shell) -> None:
    shell.write_ids(6)
    words = ["--input", "in.jsonl", "--output", "out.jsonl", "--failures", "failures.jsonl", "--skip", "4"]
    shell.memflow("run", "jobs:fail_odd", *words)
    assert [each["index"] for each in shell.read("failures.jsonl")] == [5]


def test_the_first_failure_stops_the_run_when_asked(shell: Shell) -> None:
    shell.write_ids(20)
    words = ["--input", "in.jsonl", "--output", "out.jsonl", "--batch-processor.on-error", "raise"]
    done = shell.memflow("run", "jobs:fail_odd", *words, "--batch-processor.concurrency", "1")
    assert done.status == 1
    assert "ValueError: 1 is odd" in done.err
    assert re.search(r"1 record went to out.jsonl; --skip 1 and another --output go on", done.err)
    assert shell.read() == [{"id": 0}]


def test_a_result_that_is_no_json_fails_its_item_by_name_and_type(shell: Shell) -> None:
    shell.write_ids(5)
    done = shell.memflow("run", "jobs:object_for_third", "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.status == 1
    assert "in.jsonl:4: ResultError: its result, of type object, cannot be written as JSON" in done.err
    assert [each["id"] for each in shell.read()] == [0, 1, 2, 4]


@pytest.mark.parametrize(("last", "why"), [('{"id":', "half-written last line"), ("oops\n", "it starts with 'oops'")])
def test_a_bad_record_stops_the_run_after_what_was_before_it(shell: Shell, last: str, why: str) -> None:
    (shell.folder / "in.jsonl").write_text('{"id": 1}\n{"id": 2}\n' + last)
    done = shell.memflow("run", "jobs:echo", "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.status == 1
    assert "in.jsonl:3: " in done.err
    assert why in done.err
    assert "2 records went to out.jsonl; --skip 2 and another --output go on behind them" in done.err
    assert len(shell.read()) == 2


def test_bad_records_are_skipped_and_counted_when_asked(shell: Shell) -> None:
    (shell.folder / "in.jsonl").write_text('{"id": 1}\noops\n{"id": 2}\n{"id"')
    words = ["--on-bad-record", "skip", "--failures", "failures.jsonl"]
    done = shell.memflow("run", "jobs:echo", "--input", "in.jsonl", "--output", "out.jsonl", *words)
    assert done.status == 1
    assert "2 bad records skipped" in done.err
    assert len(shell.read()) == 2
    named = [each["message"].split(": ")[0] for each in shell.read("failures.jsonl")]
    assert named == ["in.jsonl:2", "in.jsonl:4"]


def test_a_source_that_raises_midway_is_told_after_what_it_gave(shell: Shell) -> None:
    done = shell.memflow("run", "jobs:echo", "--source", "jobs:numbers_then_raise", "--output", "out.jsonl")
    assert done.status == 1
    assert "the source raised OSError: the database went away" in done.err
    assert len(shell.read()) == 3


@pytest.mark.parametrize("job", ["leaves", "aleaves"])
def test_sys_exit_in_the_function_fails_its_item_alone(shell: Shell, job: str) -> None:
    shell.write_ids(5)
    done = shell.memflow("run", f"jobs:{job}", "--input", "in.jsonl", "--output", "out.jsonl")
    assert done.status == 1
    assert "in.jsonl:4: RuntimeError: the function called sys.exit(7)" in done.err
    assert [each["id"] for each in shell.read()] == [0, 1, 2, 4]


def test_what_was_finished_is_written_when_the_function_tears_the_loop_down(shell: Shell) -> None:
    shell.write_ids(50)
    words = ["--batch-processor.concurrency", "1", "--no-batch-processor.auto-optimize"]
    done = shell.memflow("run", "jobs:interrupts", "--input", "in.jsonl", "--output", "out.jsonl", *words)
    assert done.status == 1
    assert "the function raised KeyboardInterrupt(), which ends the run" in done.err
    told = re.search(r"(\d+) records went to out.jsonl", done.err)
    assert told is not None
    assert shell.read() == [{"id": each} for each in range(int(told[1]))]


def test_quiet_leaves_errors_only(shell: Shell) -> None:
    shell.write_ids(3)
    words = ["--input", "in.jsonl", "--output", "out.jsonl", "--overwrite", "--quiet"]
    assert shell.memflow("run", "jobs:echo", *words).err == ""
    done = shell.memflow("run", "jobs:fail_odd", *words)
    assert done.err == "memflow: 1 item failed; the first is in.jsonl:2: ValueError: 1 is odd\n"


def test_the_summary_is_written_as_json(shell: Shell) -> None:
    shell.write_ids(4)
    words = ["--input", "in.jsonl", "--output", "out.jsonl", "--summary-json", "summary.json"]
    shell.memflow("run", "jobs:fail_odd", *words)
    summary = json.loads((shell.folder / "summary.json").read_text())
    assert summary["succeeded"] == 2
    assert summary["failed"] == 2
    assert summary["exit_status"] == 1
    assert summary["outcome"] == "done"
    assert summary["statistics"]["items_done"] == 2


def test_csv_output_refuses_what_has_no_columns(shell: Shell) -> None:
    (shell.folder / "in.txt").write_text("a\n")
    done = shell.memflow("run", "jobs:echo", "--input", "in.txt", "--output", "out.csv")
    assert done.status == 1
    assert "of type str, is no CSV row" in done.err
    with (shell.folder / "out.csv").open() as file:
        assert list(csv.reader(file)) == []


# ---- what is refused before anything is written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "the following arguments are required: TARGET"),
        (["run", "jobs:echo", "--output", "o.jsonl"], "one of --input, --files and --source, and nothing was given"),
        (["run", "jobs:echo", *IN_OUT, "--files", "*.py"], "and --input and --files was given"),
        (["run", "jobs:echo", *IN_OUT, "--concurrency", "3"], "did you mean --batch-processor.concurrency?"),
        (["run", "jobs:echo", *IN_OUT, "--memory-manager.limt", "3"], "did you mean --memory-manager.limit?"),
        (["run", "jobs:echo", *IN_OUT, "--overwrit"], "unknown option --overwrit; did you mean --overwrite?"),
        (["run", "jobs:echo", "--files", "a.py", "b.py"], "unexpected argument 'b.py'; quote a glob"),
        (["run", "jobs:echo", *IN_OUT, "--memory-manager.limit", "5 apples"], "--memory-manager.limit: "),
        (["run", "jobs:echo", *IN_OUT, "--batch-processor.concurrency", "0"], "greater than or equal to 1, not '0'"),
        (
            ["run", "jobs:echo", *IN_OUT, "--memory-manager.hold-pct=90"],
            "--memory-manager.hold-pct=90 must be below --memory-manager.shrink-pct=80",
        ),
        (["run", "jobs:echo", *IN_OUT, "--skip", "-1"], "--skip"),
        (["run", "jobs:echo", *IN_OUT, "--on-bad-record", "ignore"], "--on-bad-record"),
        (["run", "jobs:nothing", *IN_OUT], "there is no nothing in module jobs"),
        (["run", "jobs:ecko", *IN_OUT], "did you mean echo?"),
        (["run", "jbos:echo", *IN_OUT], "there is no module jbos (looked in"),
        (["run", "jobs.echo", *IN_OUT], "did you mean jobs:echo?"),
        (["run", "jobs.py:echo", *IN_OUT], "did you mean jobs:…?"),
        (["run", "jobs:NOT_CALLABLE", *IN_OUT], "is not callable, it is a int"),
        (["run", "jobs:generates", *IN_OUT], "is a generator function"),
        (["run", "jobs:two", *IN_OUT], "cannot be called with one item: missing a required argument: 'b'"),
        (["run", "broken:echo", *IN_OUT], "importing broken raised NameError: name 'undefined' is not defined at"),
        (["run", "needy:echo", *IN_OUT], "importing needy raised ModuleNotFoundError: No module named 'nowhere'"),
        (["run", "jobs:echo", "--input", "none.jsonl", "--output", "o.jsonl"], "there is no file none.jsonl"),
        (["run", "jobs:echo", "--input", "in.dat", "--output", "o.jsonl"], "give --input-format jsonl, csv or lines"),
        (["run", "jobs:echo", "--input", "in.jsonl", "--output", "o.dat"], "give --output-format"),
        (["run", "jobs:echo", "--files", "*.nope", "--output", "o.jsonl"], "--files *.nope matches no file"),
        (["run", "jobs:echo", "--input", "in.jsonl", "--output", "no/o.jsonl"], "there is no folder"),
        (
            ["run", "jobs:echo", "--input", "in.jsonl", "--output", "there.jsonl"],
            "there.jsonl exists; give --over",
        ),
        (["run", "jobs:echo", *IN_OUT, "--failures", "there.jsonl"], "--failures there.jsonl exists"),
        (["run", "jobs:echo", "--input", "in.jsonl", "--output", "in.jsonl", "--overwrite"], "are the same file"),
        (["run", "jobs:echo", "--source", "jobs:nope", "--output", "o.jsonl"], "there is no nope in module jobs"),
        (["rum"], "there is no command 'rum'; did you mean run?"),
        ([], "a command is needed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_refused_with_status_2(shell: Shell, words: list[str], message: str) -> None:
    shell.write_ids(3)
    (shell.folder / "there.jsonl").write_text("kept")
    (shell.folder / "in.dat").write_text("")
    (shell.folder / "broken.py").write_text("undefined\n")
    (shell.folder / "needy.py").write_text("import nowhere\n")
    before = sorted(each.name for each in shell.folder.iterdir() if each.name != "__pycache__")
    done = shell.memflow(*words)
    assert done.status == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert all(line.startswith("memflow: ") for line in done.err.splitlines())
    assert sorted(each.name for each in shell.folder.iterdir() if each.name != "__pycache__") == before
    assert (shell.folder / "there.jsonl").read_text() == "kept"


def test_a_source_that_gives_no_items_is_refused(shell: Shell) -> None:
    (shell.folder / "jobs.py").write_text("def echo(x): return x\ndef five(): return 5\n")
    done = shell.memflow("run", "jobs:echo", "--source", "jobs:five", "--output", "out.jsonl")
    assert done.status == 2
    assert "--source jobs:five returned a int; it must return an iterable of items" in done.err


def test_tracebacks_come_with_debug(shell: Shell) -> None:
    (shell.folder / "broken.py").write_text("undefined\n")
    done = shell.memflow("run", "broken:f", *IN_OUT, "--debug")
    assert done.status == 2
    assert "Traceback" in done.err
    assert "broken.py" in done.err


def test_overwriting_when_asked(shell: Shell) -> None:
    shell.write_ids(2)
    (shell.folder / "out.jsonl").write_text("much more than what comes now\n" * 100)
    assert shell.memflow("run", "jobs:echo", *IN_OUT, "--overwrite").status == 0
    assert len(shell.read()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to stand for a full disk")
@pytest.mark.parametrize("option", ["--output", "--failures", "--summary-json"])
def test_a_full_disk_is_told(shell: Shell, option: str) -> None:
    shell.write_ids(4)
    words = {"--output": "o.jsonl", option: "/dev/full"}
    flat = [word for pair in words.items() for word in pair]
    done = shell.memflow("run", "jobs:fail_odd", "--input", "in.jsonl", "--output-format", "jsonl", *flat)
    assert done.status == 1
    assert "/dev/full: the disk is full; free some space, or write elsewhere" in done.err
    assert "Traceback" not in done.err
