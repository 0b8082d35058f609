"""`hrm-rl puzzles`: files, drawings, help and refusals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from family_cases import SMALL
from PIL import Image

from hrm_rl.puzzles import FAMILIES, find_family, make_family

ARC_TASKS = Path(__file__).parents[1] / "puzzles" / "arc_tasks"

every_family = pytest.mark.parametrize("family", FAMILIES)


def options(family: str) -> list[str]:
    words = []
    for name, value in SMALL[family].items():
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words += map(str, value if isinstance(value, tuple) else [value])
    return words


@every_family
def test_a_file_of_every_family_reads_back(hrm_rl, tmp_path, family: str) -> None:
    out = tmp_path / "p.csv"
    words = (*options(family), "-n", 6, "--seed", 2, "--split", "test", "--out", out)
    puzzles = make_family(family, SMALL[family])
    dials = {name: value for name, value in puzzles.dials().items() if value is not None}
    found = hrm_rl("puzzles", family, *words, "--json").json
    assert found == json.loads(json.dumps({"out": str(out), "count": 6} | dials | {"distinct": 6}))
    want, back = puzzles.generate(6, seed=2, split="test", rate=True), puzzles.read_csv(out)
    for field in ("inputs", "labels", "rating"):
        np.testing.assert_array_equal(getattr(back, field), getattr(want, field))
    assert back.source == want.source
    named = "puzzles of 4x4 Sudoku" if family == "sudoku" else f"{family} puzzles"
    assert f"6 {named} in {out}. The first:" in hrm_rl("puzzles", family, *words).out


def test_repetitions_are_counted_or_left_out(hrm_rl, tmp_path) -> None:
    out = tmp_path / "p.csv"
    words = ("puzzles", "sudoku", "--size", 4, "--split", "test", "--seed", 5, "-n", 300, "--out")
    plain = hrm_rl(*words, out, "--json").json
    assert plain["count"] == 300 and plain["distinct"] < 300
    assert f"{plain['distinct']} of them distinct (see --distinct)" in hrm_rl(*words, out).out
    assert hrm_rl(*words, out, "--distinct", "--json").json["distinct"] == 300
    assert len(set(out.read_text().splitlines()[1:])) == 300


def test_a_family_with_fewer_puzzles_gives_all_it_has(hrm_rl, tmp_path) -> None:
    words = ("--size", 2, "-n", 100, "--distinct", "--out", tmp_path / "p.csv", "--json")
    said = hrm_rl("puzzles", "lights-out", *words)
    assert said.json["count"] == said.json["distinct"] < 100
    assert "distinct puzzles" in said.err and "fewer than 100" in said.err


@every_family
def test_help_has_the_dials_of_one_family(hrm_rl, capsys, family: str) -> None:
    with pytest.raises(SystemExit) as stop:
        hrm_rl("puzzles", family, "--help")
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "--split" in said
    every = {dial for name in FAMILIES for dial in find_family(name).ranges()}
    shown = {dial for dial in every if re.search(rf"--{dial.replace('_', '-')}\b(?!-)", said)}
    assert shown == set(find_family(family).ranges())


@every_family
def test_show_prints_or_draws(hrm_rl, tmp_path, family: str) -> None:
    words = options(family)
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
        (("life", "--hops", 3, "--show"), "unknown or misplaced: --hops"),
        (("life", "--step", 3, "--show"), "did you mean '--steps'?"),
        (("life", "--steps", "x", "--show"), "--steps takes 1 to 64, not 'x'"),
        (("lights-out", "--size", 5, "--show"), "size must be 2, 3, 6, 7, 8, 10, got 5"),
        (("life", "--show", 1, 2), "--show takes one number"),
        (("life", "--show", 0), "--show takes one number of 1 or more, or none; got 0"),
        (("lifes", "--show"), "did you mean 'life'?"),
        (("life", "--picture", "p.gif"), "--picture must end in .png, got p.gif"),
        (("life",), "puzzles needs --out FILE.csv, or --show"),
        ((), "puzzles needs one of: sudoku, maze"),
        (("arc", "--data-set", "arc-agi-3", "--show"), "arc-agi-1, arc-agi-2 or a folder"),
        (("arc", "--data-set", ARC_TASKS, "--out", "p"), "unknown or misplaced: --out"),
        (("arc", "--data-set", ARC_TASKS, "--split", "validation", "--show"), "training or evaluation"),
    ],
)
def test_refusals_name_the_range(hrm_rl, words, said: str) -> None:
    assert said in hrm_rl("puzzles", *words).refusal


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
