"""Streams that are closed, full, or whose reader is gone: a command ends as it would, in as few words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hrm_rl.cli import output

PUZZLES = "puzzles sudoku --size 4 -n 2 --show 1"
SHELL = [
    # the command, its exit code, and what stdout and stderr have
    (f"{PUZZLES} --json 2>&-", 0, "{", ""),
    (f"{PUZZLES} --json >&-", 0, "", ""),
    (f"{PUZZLES} <&- >&- 2>&-", 0, "", ""),
    (f"{PUZZLES} >/dev/full", 2, "", "hrm-rl: stdout: No space left on device"),
    ("--help >/dev/full", 2, "", "hrm-rl: No space left on device"),
    ("puzzles lights-out --show 2000 | head -c 1", 0, "(", ""),
    ("puzzles sudoku -n 0 --show 1 2>/dev/full", 2, "", ""),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("words", "code", "out", "err"), SHELL)
def test_a_broken_stream_costs_only_what_it_would_show(words, code, out, err) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m hrm_rl {words}"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout[:1], done.stderr.strip()) == (code, out, err)
    if out == "{":
        json.loads(done.stdout)


def test_the_reader_of_messages_may_go(monkeypatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "__stderr__", stream)
        output.prepare_streams()
        for _ in range(3):
            output.say("lost")
        assert not sys.stderr.isatty()
        # The number of stderr is still taken: no file of ours gets it.
        assert os.fstat(write)


def test_the_reader_of_results_may_go(monkeypatch) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = open(write, "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(BrokenPipeError):
        output.print_result("lost")
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the second in the C locale
def test_a_console_without_a_character_shows_another(errors, tmp_path, monkeypatch) -> None:
    with open(tmp_path / "out", "w", encoding="ascii", errors=errors) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output.prepare_streams()
        print("90 ± 2, of noth\udcc3\udca9")
    assert (tmp_path / "out").read_bytes() == b"90 ? 2, of noth\xc3\xa9\n"
