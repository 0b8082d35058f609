"""Scores that would count puzzles learned from: told apart wherever a score is printed."""

import json

import numpy as np
import pytest

from hrm_rl.model import HRM
from hrm_rl.puzzles import PuzzleArrays, sudoku
from hrm_rl.puzzles.files.dataset import write_dataset
from hrm_rl.puzzles.pool import concatenate
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.open_run import open_trained

SMALL = "--max-steps 2 --batch-size 4 --learner.warmup-steps 1 --model.hidden-size 16 --model.num-heads 2"
SMALL += " --data.train-puzzles 1000 --device cpu --dtype float32 --compile no"


@pytest.fixture
def train(hrm_rl, tmp_path):
    def run(data, *words: str, preset: str = "sudoku-4x4"):
        out = ("--out", tmp_path / "run", "--data", data)
        said = hrm_rl("train", preset, *out, *SMALL.split(), *words)
        assert said.code == 0, said.err
        return tmp_path / "run", said

    return run


def test_a_csv_that_was_learned_from(hrm_rl, train, tmp_path) -> None:
    file = tmp_path / "all.csv"
    puzzles = sudoku.generate(200, 4, seed=9, extra_givens=(4, 8))
    sudoku.write_csv(file, puzzles, 4)
    run, _ = train(file)
    counts = {s: len(Sudoku(4).rows_of(puzzles.inputs, s)) for s in sudoku.SPLITS}
    learned, others = counts["train"], 200 - counts["train"]
    words = f"{learned} of these 200 puzzles were learned from"
    for keys in ("kept", "made again"):
        found = hrm_rl("eval", run, "--data", file, "--json").json
        assert (found["learned_count"], found["held_out_count"]) == (learned, others), keys
        both = found["learned_exact_accuracy"], found["held_out_exact_accuracy"]
        assert np.average(both, weights=(learned, others)) == pytest.approx(found["exact_accuracy"])
        assert words in hrm_rl("eval", run, "--data", file).out
        (run / "learned.npy").unlink(missing_ok=True)
    for split, count in counts.items():
        found = hrm_rl("eval", run, "--data", file, "--split", split, "--json").json
        assert found["count"] == count
        assert found["learned_count"] == (count if split == "train" else 0)
    assert hrm_rl("eval", run, "--split", "train", "--puzzles", 9, "--json").json["count"] == 9
    generated = hrm_rl("eval", run, "--puzzles", 9)
    assert "learned from" not in generated.out
    file.rename(tmp_path / "elsewhere.csv")
    found = hrm_rl("eval", run, "--data", tmp_path / "elsewhere.csv", "--json").json
    assert found["learned_count"] is None  # neither kept nor to be read again
    said = hrm_rl("eval", run, "--data", tmp_path / "elsewhere.csv")
    assert "Which of these puzzles it learned from is not known." in said.out


def test_a_file_that_changed_is_not_resumed(hrm_rl, train, tmp_path) -> None:
    """The run would go on with other puzzles than it states."""
    file, puzzles = tmp_path / "all.csv", sudoku.generate(80, 4, seed=9, extra_givens=(4, 8))
    sudoku.write_csv(file, puzzles, 4)
    run, _ = train(file)
    again = ("train", "--resume", "--out", run, "--max-steps", 3)
    for rows, new in ((slice(0, 70), 0), (slice(None), 3)):
        changed = puzzles.take(rows)
        more = Sudoku(4, (4, 8)).generate(new, seed=1, split="train")
        sudoku.write_csv(file, concatenate([changed, more]), 4)
        assert f"{file} has changed since {run} began: {new} of " in hrm_rl(*again).refusal
    turned = PuzzleArrays(*(np.where(x > 1, 7 - x, x) for x in (puzzles.inputs, puzzles.labels)))
    for other in (puzzles.take(slice(None, None, -1)), turned):  # of the same classes
        sudoku.write_csv(file, other, 4)
        assert f"{file} gives other puzzles, answers or another order than {run}" in hrm_rl(*again).refusal
    sudoku.write_csv(file, puzzles, 4)
    assert hrm_rl(*again).code == 0


def test_a_pushed_model_and_a_run_from_it_know_what_was_learned(hrm_rl, train, tmp_path, monkeypatch) -> None:
    """Downloads are folders of the files that were uploaded."""
    puzzles = sudoku.generate(40, 4, seed=9, extra_givens=(4, 8))
    sudoku.write_csv(tmp_path / "all.csv", puzzles, 4)
    run, _ = train(tmp_path / "all.csv")
    pulled = tmp_path / "pulled"

    def push(model, repo_id, files, **_):
        model.save_pretrained(pulled)
        for name, content in files.items():
            (pulled / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return "url"

    monkeypatch.setattr(HRM, "push_to_hub", push)
    assert hrm_rl("push", run, "a/b").code == 0
    (tmp_path / "all.csv").rename(tmp_path / "elsewhere.csv")
    learned = hrm_rl("eval", pulled, "--data", tmp_path / "elsewhere.csv", "--json").json["learned_count"]
    assert learned == len(Sudoku(4).rows_of(puzzles.inputs, "train"))
    start = ("train", "sudoku-4x4", "--init", pulled, "--out", tmp_path / "next", *SMALL.split())
    said = hrm_rl(*start)
    assert said.code == 0 and "does not name the puzzles" not in said.err
    found = hrm_rl("eval", tmp_path / "next", "--data", tmp_path / "elsewhere.csv", "--json").json
    assert found["learned_count"] == learned
    (pulled / "learned.npy").unlink()
    said = hrm_rl(*(tmp_path / "third" if word == tmp_path / "next" else word for word in start))
    assert f"{pulled} does not name the puzzles it learned from" in said.err


def test_a_folder_whose_test_repeats_train(hrm_rl, train, tmp_path) -> None:
    kind = Sudoku(4, (4, 8))
    learned, new = kind.generate(60, seed=1, split="train"), kind.generate(20, seed=1, split="test")
    symmetry = kind.symmetry.apply(learned.inputs, learned.labels, np.random.default_rng(0))
    turned = PuzzleArrays(*symmetry).take(slice(10))
    test = concatenate([turned, new])
    write_dataset(tmp_path / "data", learned, test, vocab_size=6)
    run, _ = train(tmp_path / "data")
    found = hrm_rl("eval", run, "--data", tmp_path / "data", "--json").json
    assert (found["learned_count"], found["held_out_count"]) == (10, 20)
    bank = tmp_path / "bank.safetensors"
    said = hrm_rl("trace", run, "--data", tmp_path / "data", "--out", bank, "--splits", "test")
    assert "test: 10 of these 30 puzzles were learned from" in said.out
    compared = ("compare", bank, "--policies", "fixed:2", "--draws", 50, "--out", tmp_path / "report")
    said = hrm_rl(*compared)
    assert "10 of the 30 test puzzles were learned from; held out %" in said.out
    report = json.loads((tmp_path / "report" / "compare.json").read_text())
    assert report["banks"][0]["learned_test_puzzles"] == 10
    assert all("held_out_accuracy" in row for row in report["policies"])


def test_custom_puzzles_that_repeat_across_groups(hrm_rl, train, tmp_path) -> None:
    """All groups hold the same example, so what validates was learned; identifiers without an embedding."""
    rng = np.random.default_rng(0)
    tokens = np.repeat(rng.integers(1, 9, (1, 7)), 20, axis=0)
    write_dataset(tmp_path / "own", PuzzleArrays(tokens, tokens, np.arange(1, 21)), vocab_size=9)
    run, said = train(tmp_path / "own", "--data.family", "custom")
    assert "On the puzzles learned from: " in said.out
    note = "the puzzles have 21 identifiers, which the model does not see: puzzle_emb_ndim is 0"
    assert said.err.count(note) == 1 and "--model.puzzle-emb-ndim 16" in said.err
    card = hrm_rl("push", run, "a/b", "--dry-run").out
    assert "puzzles among them that were learned from" in card and "puzzles that it learned from" in card
    (run / "learned.npy").write_bytes(b"no keys")
    assert "learned.npy is damaged; the run's puzzles are read again" in hrm_rl("eval", run).err


def test_a_run_knows_what_it_learned_in_python(train, tmp_path) -> None:
    file = tmp_path / "all.csv"
    puzzles = sudoku.generate(40, 4, seed=9, extra_givens=(4, 8))
    sudoku.write_csv(file, puzzles, 4)
    run, _ = train(file)
    found = open_trained(run, "cpu").learned(puzzles)
    np.testing.assert_array_equal(np.flatnonzero(found), Sudoku(4).rows_of(puzzles.inputs, "train"))
