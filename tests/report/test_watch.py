"""`hrm-rl watch`: text, keys, the animated picture, refusals."""

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hrm_rl.cli import main
from hrm_rl.halting.bank.replay import replay
from hrm_rl.puzzles import FAMILIES, CustomPuzzles, find_family
from hrm_rl.report.boards import drawable
from hrm_rl.report.thinking import Thinking, steps


@pytest.mark.parametrize("name", [*FAMILIES, "custom"])
def test_every_family_is_drawn(name: str, bank: Callable[..., Any], tmp_path: Path) -> None:
    family = find_family("life" if name == "custom" else name)()
    kind = CustomPuzzles(family.vocab_size, family.seq_len) if name == "custom" else family
    one = bank(family.generate(4, seed=0)).take([0])
    thinking = Thinking(drawable(kind), one, "fixed:3", replay(one, "fixed:3"))
    pages = [thinking.board(k) for k in range(9)]
    assert len(set(pages)) > 1 and "\x1b" in thinking.signals(4, color=True)
    assert thinking.words(3).endswith("fixed:3 stops here") and "[3" in thinking.timeline(0)
    thinking.save_gif(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 4


def test_keys_step_and_jump() -> None:
    keys = [b" ", b"\x1b[C", b"x", b"\x1b[D", b"\x1b[F", b" ", b"\x1b[H", b"q", b" "]
    assert list(steps(keys, 8)) == [0, 1, 2, 2, 1, 8, 8, 0]


def test_a_puzzle_is_printed(capsys: Any, tmp_path: Path) -> None:
    words = ["watch", "sudoku-4x4", "1.3..4.22.4..3.1", "--device", "cpu", "--halting", "fixed:2"]
    assert main([*words, "--gif", str(tmp_path / "a.gif")]) == 0
    printed = capsys.readouterr().out
    assert (
        printed.count("\n+--------+--------+\n") == 27
        and "Segment 2 of 8: right, 0 changed; fixed:2" in printed
    )
    assert main([*words, "--json"]) == 0
    assert '"segments": 2, "max_segments": 8' in capsys.readouterr().out
    assert main(["watch", "sudoku-4x4", "--number", "2", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sudoku-4x5"], "did you mean 'sudoku-4x4'"),
        (["wibble"], "no model folder at wibble; installed: "),
        (["sudoku-4x4@best"], "an installed model, which has one checkpoint; omit @best"),
        (["sudoku-4x4", "123"], "3 cells"),
        (["sudoku-4x4", "--number", "0"], "--number must be >= 1"),
        (["sudoku-4x4", "--halting", "wibble"], "unknown rule 'wibble'"),
        (["sudoku-4x4", "--gif", "gone/a.gif"], "the folder gone does not exist"),
        (["sudoku-4x4", "--gif", "a.txt"], "exists and is not a GIF"),
        (["sudoku-4x4", "--gif", "a.png"], "a.png: the picture is a GIF; name it a.gif"),
        (["sudoku-4x4", "--seconds", "-1"], "--seconds"),
    ],
)
def test_refusals(words: list[str], message: str, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    assert main(["watch", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_in_a_terminal() -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "hrm_rl", "watch", "sudoku-4x4", "--device", "cpu"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment) as watch:
        os.close(slave)
        printed = b""
        for wanted, key in ((b"The question", b"\x1b[F"), (b"Segment 8 of 8", b"q")):
            while wanted not in printed:
                assert select.select([master], [], [], 60)[0], printed
                printed += os.read(master, 1 << 12)
            os.write(master, key)
        assert watch.wait(60) == 0, watch.stderr and watch.stderr.read()
    os.close(master)
    assert b"Segment 1 of 8" not in printed
