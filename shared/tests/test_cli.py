import argparse
import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from ood_shared.cli import Parser, add_shared_flags, dispatch, parse_seed, run_command
from ood_shared.errors import InputError, did_you_mean, unknown
from ood_shared.signals import Terminated, deferred_sigterm


def make_parser():
    parser = Parser(prog="tool")
    parser.add_argument("--opt", choices=("rmsprop", "ada"))
    parser.add_argument("--in_data")
    add_shared_flags(parser)
    return parser


def stderr_of_bad_flags(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        make_parser().parse_args(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_misspelt_choice_is_one_line_with_the_nearest_choice(capsys):
    text = stderr_of_bad_flags(["--opt", "rmspop"], capsys)
    assert text == "tool: error: --opt `rmspop` is not known. Did you mean `rmsprop`? Known: rmsprop, ada.\n"


def test_a_misspelt_flag_is_one_line_with_the_nearest_flag(capsys):
    text = stderr_of_bad_flags(["--in_dta", "x"], capsys)
    assert "unknown argument `--in_dta`. Did you mean `--in_data`?" in text
    assert text.count("\n") == 1


def test_abbreviated_flags_are_refused(capsys):
    assert "unknown argument `--in`" in stderr_of_bad_flags(["--in", "x"], capsys)


def test_every_shared_flag_has_its_default():
    found = vars(make_parser().parse_args([]))
    expected = {
        "device": "auto",
        "precision": "fp32",
        "compile": False,
        "seed": None,
        "resume": False,
        "output_dir": None,
        "log_to": "jsonl",
        "data_dir": None,
        "debug": False,
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "seed"), [("False", None), ("0", None), ("no", None), ("True", 5), ("yes", 5), ("5", 5), ("123", 123)]
)
def test_seed_texts_mean_what_they_say(text, seed):
    assert parse_seed(text) == seed


@pytest.mark.parametrize("text", ["-1", "1.5", "five", "", "9" * 5000])
def test_other_seed_texts_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_seed(text)


def test_bad_input_is_one_line_and_status_2(capsys):
    def command(options):
        raise InputError("the folder is empty.\nPut images there.")

    assert run_command(command, make_parser(), []) == 2
    captured = capsys.readouterr()
    assert captured.err == "tool: error: the folder is empty. Put images there.\n"


def test_debug_adds_the_traceback(capsys):
    def command(options):
        raise InputError("bad")

    assert run_command(command, make_parser(), ["--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_defect_is_not_called_bad_input():
    def command(options):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(command, make_parser(), [])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. Make room and run again."),
        (OSError(errno.EDQUOT, "Quota exceeded", "m.pth"), "m.pth: Quota exceeded. Make room and run again."),
        (
            FileExistsError(errno.EEXIST, "File exists", "out"),
            "out: File exists. A folder is needed there; move the file away or choose another path.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out"),
            "out: Permission denied. Choose another path, or change its permissions.",
        ),
        (OSError(errno.EIO, "Input/output error", "a.png"), "a.png: Input/output error."),
        (MemoryError("3 GiB."), "out of memory. 3 GiB. Lower the batch size, or use less data."),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory."),
            "out of memory. DefaultCPUAllocator: can't allocate memory. Lower the batch size, or use less data.",
        ),
        (torch.OutOfMemoryError("3 GiB."), "out of memory. 3 GiB. Lower the batch size, or use less data."),
    ],
)
def test_what_the_system_refuses_is_one_line_and_status_2(error, line, capsys):
    def command(options):
        raise error

    assert run_command(command, make_parser(), []) == 2
    assert capsys.readouterr().err == f"tool: error: {line}\n"


def test_an_oserror_in_a_librarys_own_words_is_not_called_bad_input():
    def command(options):
        raise OSError("cannot identify image file")

    with pytest.raises(OSError, match="cannot identify"):
        run_command(command, make_parser(), [])


def test_a_flag_with_a_line_break_still_gives_one_line(capsys):
    assert stderr_of_bad_flags(["--in\n_data", "x"], capsys).count("\n") == 1


def test_sigterm_ends_a_command_with_143(capsys):
    def command(options):
        os.kill(os.getpid(), signal.SIGTERM)

    assert run_command(command, make_parser(), []) == 143
    assert "--resume continues from what was saved before, if" in capsys.readouterr().err  # the command saved nothing


@pytest.mark.parametrize("kind", [SystemError, ImportError, RuntimeError])
def test_a_signal_that_comes_out_as_the_cause_of_another_error_ends_a_command_all_the_same(capsys, kind):
    def command(options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except BaseException as stop:
            raise kind("a compiled function returned a result with an exception set") from stop

    assert run_command(command, make_parser(), []) == 143
    assert "Traceback" not in capsys.readouterr().err


def test_a_system_error_of_its_own_is_shown():
    def command(options):
        raise SystemError("of a compiled function")

    with pytest.raises(SystemError, match="of a compiled function"):
        run_command(command, make_parser(), [])


def terminated_by_its_loop(options):
    with deferred_sigterm() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        stop.raise_if_requested()


def test_a_loop_that_saved_before_it_ended_says_so(capsys):
    assert run_command(terminated_by_its_loop, make_parser(), []) == 143
    assert "what was finished is saved, --resume continues." in capsys.readouterr().err


def long_loop(options):
    assert not hasattr(options, "stop_after")  # no setting of the run
    with deferred_sigterm() as stop:
        for _ in range(1000):
            stop.raise_if_requested()
            time.sleep(0.01)


def test_a_trainer_whose_time_is_over_saves_and_has_done_what_it_was_asked_to(capsys):
    parser = Parser(prog="train.py")
    add_shared_flags(parser, trains=True)
    assert run_command(long_loop, parser, ["--stop-after", "0.05"]) == 0
    said = capsys.readouterr().err
    assert said == "train.py: stopped after 0.05 s; what was finished is saved, --resume continues.\n"


def test_a_time_limit_ends_with_its_command(capsys):
    parser = Parser(prog="train.py")
    add_shared_flags(parser, trains=True)
    run_command(lambda options: 0, parser, ["--stop-after", "0.01"])
    time.sleep(0.02)
    with deferred_sigterm() as stop:
        assert not stop.requested


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_a_time_limit_is_a_number_of_seconds_above_0(seconds, capsys):
    parser = Parser(prog="train.py")
    add_shared_flags(parser, trains=True)
    with pytest.raises(SystemExit):
        run_command(long_loop, parser, ["--stop-after", seconds])
    assert "--stop-after" in capsys.readouterr().err


def test_a_command_without_resume_does_not_promise_it(capsys):
    assert run_command(terminated_by_its_loop, argparse.ArgumentParser(prog="x"), []) == 143
    assert capsys.readouterr().err == "x: terminated; what was finished is saved.\n"


def test_deferred_sigterm_waits_for_the_block():
    with deferred_sigterm() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    with pytest.raises(Terminated):
        stop.raise_if_requested()


@pytest.mark.parametrize("word", ["--long-flag-x", "--kind=" + "y" * 1000])
def test_the_list_of_known_words_is_whole_however_long_the_words(word, capsys):
    parser = Parser(prog="tool")
    names = [f"--long-flag-number-{number}" for number in range(60)]
    kinds = [f"a-long-word-number-{number}" for number in range(60)]
    for name in names:
        parser.add_argument(name)
    parser.add_argument("--kind", choices=kinds)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([word])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert f"{', '.join(kinds if '=' in word else names)}" in error
    assert error.count("y") < 130


def test_did_you_mean_names_the_nearest_word_and_the_known_ones():
    assert did_you_mean("digit", ["digits", "mnist"]) == "Did you mean `digits`? Known: digits, mnist."


def test_did_you_mean_does_not_guess_wildly():
    assert did_you_mean("zebra", ["digits", "mnist"]) == "Known: digits, mnist."


def test_unknown_names_what_was_found():
    assert str(unknown("--id", "digit", ["digits"])).startswith("--id `digit` is not known.")


def test_every_command_tells_the_versions(capsys):
    from importlib import metadata

    parser = Parser(prog="x")
    add_shared_flags(parser)
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args(["--version"])
    said = capsys.readouterr().out
    assert f"ood-shared {metadata.version('ood-shared')}\n" in said
    assert dispatch("x", {}, ["--version"]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    "run",
    [
        "run_command(lambda _: print('row', flush=True), Parser(prog='x'), [])",
        "run_command(lambda _: print('row'), Parser(prog='x'), [])",
        "dispatch('x', {}, ['--version'])",
        "dispatch('x', {}, ['--help'])",
    ],
)
def test_a_reader_that_has_enough_ends_a_command_quietly(run) -> None:
    program = f"import sys; from ood_shared.cli import *\nsys.stdin.read(); sys.exit({run})"
    words = [sys.executable, "-c", program]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # before the first row
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
