"""`hrm_rl.train`: as the command, in Python."""

import pytest

import hrm_rl

SMALL = {
    "device": "cpu",
    "dtype": "float32",
    "compile": "no",
    "batch_size": 4,
    "model": {"hidden_size": 16, "num_heads": 2, "halt_max_steps": 2},
    "data.train_puzzles": 20,
    "data.validation_puzzles": 4,
    "learner.warmup_steps": 1,
}


def test_a_run_in_python_and_its_resume(tmp_path) -> None:
    out = tmp_path / "run"
    trained = hrm_rl.train("sudoku-4x4", out, SMALL | {"max_steps": 2}, progress=False)
    assert trained.model.config.hidden_size == 16 and trained.run.path == out
    again = hrm_rl.train(folder=out, settings={"max_steps": 3}, resume=True, progress=False)
    assert again.learner.step == 3
    rows = hrm_rl.compare(out, ["q", "fixed:1"], puzzles=4, draws=50).policies
    assert [row.policy for row in rows] == ["q", "fixed:1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sudoku-4x", None, {}), "sudoku-4x4"),
        ((None, None, {}), "preset"),
        (("sudoku-4x4", None, {"learner.lrr": 1}), "did you mean 'learner.lr'"),
        (("sudoku-4x4", None, {"learner": {"lr": "fast"}}), "learner.lr"),
        (("sudoku-4x4", None, {"learner": 3}), "must be a table"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, arguments, said) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        hrm_rl.train(*arguments)
    assert list(tmp_path.iterdir()) == []
