"""`hrm-rl puzzles` for the families beside Sudoku: files, drawings, and what it refuses."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrm_rl.puzzles import FAMILIES
from hrm_rl.puzzles.files import csv as family_csv

ARC_TASKS = Path(__file__).parents[1] / "puzzles" / "arc_tasks"

DIALS = {
    "prefix-parity": ("--length", 9, "--min-length", 5),
    "pointer-chase": ("--nodes", 6, "--hops", 3, "--trajectory"),
    "life": ("--size", 6, "--steps", 3),
    "lights-out": ("--size", 3, "--presses", 4),
    "unique-sat": ("--variables", 5, "--extra-clauses", 2),
}
NAMED = {
    "prefix-parity": {"length": 9, "min_length": 5},
    "pointer-chase": {"nodes": 6, "hops": 3, "trajectory": True},
    "life": {"size": 6, "steps": 3},
    "lights-out": {"size": 3, "presses": 4},
    "unique-sat": {"variables": 5, "extra_clauses": 2},
}


@pytest.mark.parametrize("family", sorted(DIALS))
def test_a_file_of_every_family_reads_back(hrm_rl, tmp_path, family: str) -> None:
    out = tmp_path / "p.csv"
    words = (*DIALS[family], "-n", 6, "--seed", 2, "--split", "test", "--out", out)
    found = hrm_rl("puzzles", family, *words, "--json").json
    assert found == {"out": str(out), "count": 6} | NAMED[family]
    module = import_module("hrm_rl.puzzles." + family.replace("-", "_"))
    want = module.generate(6, seed=2, split="test", rate=True, **NAMED[family])
    back = family_csv.read_csv(out, module.CHARACTERS)
    for field in ("inputs", "labels", "rating"):
        np.testing.assert_array_equal(getattr(back, field), getattr(want, field))
    assert back.source == want.source
    assert f"6 {family} puzzles in {out}. The first:" in hrm_rl("puzzles", family, *words).out


@pytest.mark.parametrize("family", FAMILIES)
def test_show_prints_or_draws(hrm_rl, tmp_path, family: str) -> None:
    words = DIALS.get(family, ("--size", 6, *(("--min-path", 5) if family == "maze" else ())))
    one, two = (hrm_rl("puzzles", family, *words, "--show", *more).out for more in ((), (2,)))
    assert two.startswith(one) and len(two) > len(one) > 20
    drawn = tmp_path / "p.png"
    said = hrm_rl("puzzles", family, *words, "--show", 2, "--picture", drawn)
    assert said.out == f"2 drawn in {drawn}\n"
    width, height = Image.open(drawn).size
    assert width > 100 and height > 50
    assert list(tmp_path.iterdir()) == [drawn]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("life", "--hops", 3), "--hops is no dial of life; it has --size (4 to 32), --steps"),
        (("sudoku", "--steps", 3), "--steps is no dial of sudoku; it has --size (4, 6, 9)"),
        (("life", "--extra-givens", 1, 2), "--extra-givens is no dial of life"),
        (("life", "--size", 33), "size must be 4 to 32, got 33"),
        (("lights-out", "--size", 5), "size must be 2, 3, 6, 7, 8, 10, got 5"),
        (("pointer-chase", "--nodes", 4, "--hops", 4), "hops must be 1 to 3"),
        (("unique-sat", "--variables", 3), "variables must be 4 to 20, got 3"),
        (("life", "--show", 1, 2), "--show takes one number"),
        (("life", "--show", 0), "--show takes one number of 1 or more, or none; got 0"),
        (("lifes",), "did you mean 'life'?"),
        (("life", "--picture", "p.gif"), "--picture must end in .png, got p.gif"),
    ],
)
def test_what_cannot_be_is_said_with_its_range(hrm_rl, words, said: str) -> None:
    show = () if "--show" in words or "--picture" in words else ("--show",)
    assert said in hrm_rl("puzzles", *words, *show).refusal


def test_neither_file_nor_drawing(hrm_rl) -> None:
    assert "puzzles needs --out FILE.csv, or --show" in hrm_rl("puzzles", "life").refusal


def test_pairs_of_arc_tasks_are_shown_or_drawn(hrm_rl, tmp_path) -> None:
    words = ("puzzles", "arc", "--data-set", ARC_TASKS)
    assert hrm_rl(*words, "--show", 2, "--json").json["source"] == [
        "arc_tasks/mirror/0",
        "arc_tasks/mirror/1",
    ]
    asked = hrm_rl(*words, "--show", 99, "--split", "test").out
    names = [line for line in asked.splitlines() if line.startswith("arc_tasks/")]
    assert len(names) == 4  # the test pairs of the evaluation tasks, however many are wanted
    assert "!" not in asked and "." not in asked  # right answers, and nothing beside them
    drawn = tmp_path / "p.png"
    assert hrm_rl(*words, "--show", 2, "--picture", drawn).out == f"2 drawn in {drawn}\n"
    assert Image.open(drawn).size[0] > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("arc", "--data-set", "arc-agi-3"), "--data-set is arc-agi-1, arc-agi-2 or a folder"),
        (
            ("arc", "--data-set", ARC_TASKS, "--out", "p.csv"),
            "it has --show and --picture, no --out",
        ),
        (("arc", "--size", 9), "--size is no dial of arc; it has none"),
        (("arc", "--data-set", ARC_TASKS, "--split", "validation"), "training or evaluation"),
        (("life", "--data-set", ARC_TASKS), "--data-set is of arc; life puzzles are generated"),
    ],
)
def test_what_arc_has_not_is_said(hrm_rl, words, said: str) -> None:
    assert said in hrm_rl("puzzles", *words, "--show").refusal
