"""Environments over puzzles given as arrays, and over custom sources."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from hrm_rl.envs import PuzzleEnv, Puzzles, PuzzleVectorEnv
from hrm_rl.puzzles import IGNORE_LABEL, Symmetry

INPUTS = np.array([[1, 2, 3], [3, 2, 1], [2, 2, 2]])
LABELS = np.array([[3, 2, 1], [1, 2, 3], [IGNORE_LABEL, 4, IGNORE_LABEL]])


def test_five_lines_make_an_environment() -> None:
    env = PuzzleEnv.from_arrays(INPUTS, LABELS, halt_max_steps=4, render_mode="ansi")
    check_env(env, skip_render_check=True)
    assert env.source.vocab_size == 5 and env.source.num_ids == 1
    obs, info = env.reset(seed=0)
    answer = np.where(info["labels"] < 0, obs["inputs"], info["labels"])
    _, reward, terminated, _, info = env.step({"answer": answer, "halt": 1})
    assert (reward, terminated) == (1.0, True) and info["rating"] == -1
    assert "segment 1 of 4" in env.render()


def test_all_that_may_be_given_arrives() -> None:
    mirror = Symmetry((np.array([[0, 1, 2], [2, 1, 0]]),))
    envs = PuzzleVectorEnv.from_arrays(
        64,
        INPUTS.tolist(),
        torch.as_tensor(LABELS),
        vocab_size=9,
        puzzle_identifiers=[4, 0, 2],
        num_ids=7,
        rating=[0.5, np.nan, 3],
        symmetry=mirror,
        validator=lambda inputs, answers: (answers == 8).all(-1),
        checker="valid",
    )
    obs, info = envs.reset(seed=0)
    assert envs.single_observation_space["inputs"].high.max() == 8
    assert envs.single_observation_space["puzzle_identifiers"].n == 7
    pairs = set(zip(obs["puzzle_identifiers"].tolist(), info["rating"].tolist(), strict=True))
    assert pairs == {(4, 0.5), (0, -1.0), (2, 3.0)}
    first = obs["puzzle_identifiers"] == 4
    assert {tuple(row) for row in obs["inputs"][first].tolist()} == {(1, 2, 3), (3, 2, 1)}
    answer = torch.full((64, 3), 8)
    _, reward, *_, info = envs.step({"answer": answer, "halt": torch.ones(64)})
    assert (reward == 1).all() and info["valid"].all() and not info["correct"].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": [[1, 2, 3], [1, 2]]}, r"inputs: row 1 has shape \(2,\), row 0 \(3,\)"),
        ({"inputs": [1, 2, 3]}, r"inputs must be \[N, S\], got shape \(3,\)"),
        ({"inputs": INPUTS + 0.5}, "inputs must hold integers, got dtype float64"),
        ({"inputs": np.zeros((0, 3), int)}, r"at least one puzzle of one cell, got shape \(0, 3\)"),
        ({"inputs": INPUTS - 2}, "inputs: row 0, cell 0 holds -1; tokens are 0 to 4"),
        ({"labels": LABELS[:2]}, r"labels must have the shape of inputs \(3, 3\), got \(2, 3\)"),
        ({"vocab_size": 4}, r"labels: row 2, cell 1 holds 4; tokens are 0 to 3 \(or -100 for no"),
        ({"vocab_size": 3}, "inputs: row 0, cell 2 holds 3; tokens are 0 to 2"),
        ({"labels": [[3, 2, 1], [-100] * 3, [4, 4, 4]]}, "labels: row 1 has no label, every cell"),
        ({"puzzle_identifiers": [0, 1]}, r"puzzle_identifiers must be \[3\].*got shape \(2,\)"),
        ({"puzzle_identifiers": [0, -1, 2]}, "puzzle_identifiers: row 1 holds -1"),
        ({"puzzle_identifiers": [0, 1, 5], "num_ids": 5}, "row 2 holds 5; they are 0 to 4"),
        ({"puzzle_identifiers": [0.0, 1, 2]}, "puzzle_identifiers must hold integers"),
        ({"rating": [1, 2, np.inf]}, "rating: row 2 holds inf; NaN stands for unknown"),
        ({"rating": ["a", "b", "c"]}, "rating must hold numbers"),
        ({"symmetry": Symmetry((np.arange(4)[None],))}, "acts on 4 cells, the puzzles have 3"),
        ({"symmetry": Symmetry((), (1, 9))}, "permutes tokens up to 8, the vocabulary ends at 4"),
        ({"checker": "valid"}, "needs a source with a validator"),
        ({"halt_max_steps": 0}, "halt_max_steps must be an integer >= 1"),
    ],
)
def test_a_refusal_names_field_and_row(changed: dict[str, Any], message: str) -> None:
    arguments = {"inputs": INPUTS, "labels": LABELS} | changed
    with pytest.raises(ValueError, match=message):
        PuzzleEnv.from_arrays(**arguments)
    with pytest.raises(ValueError, match=message):
        PuzzleVectorEnv.from_arrays(2, **arguments)


def test_sizes_are_public_and_read_only() -> None:
    envs = PuzzleVectorEnv.from_arrays(2, INPUTS, LABELS, halt_max_steps=4)
    assert (envs.halt_max_steps, envs.vocab_size, envs.seq_len) == (4, 5, 3)
    for name in ("halt_max_steps", "vocab_size", "seq_len"):
        with pytest.raises(AttributeError):
            setattr(envs, name, 9)


class Drawn:
    """A source that draws what it was given; keys count from 0."""

    vocab_size, seq_len, num_ids, validator = 5, 3, 2, None

    def __init__(self, **changed: Any) -> None:
        self.changed = changed

    def draw(self, keys: torch.Tensor) -> Any:
        zero = torch.zeros_like(keys)
        labels = torch.full((len(keys), 3), 4)
        labels[:, 0] = IGNORE_LABEL
        right = {"inputs": labels.clamp(0), "labels": labels, "puzzle_identifiers": zero}
        return Puzzles(**({"rating": zero - 1.0} | right | self.changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": torch.zeros(2, 3)}, "Drawn.draw: inputs must be integers, got torch.float32"),
        ({"labels": torch.ones(2, 3).bool()}, "labels must be integers, got torch.bool"),
        ({"inputs": torch.zeros(3).int()}, r"inputs of 2 keys must have the shape \(2, 3\), got"),
        ({"inputs": torch.full((2, 3), 5)}, r"inputs hold 5; they are 0 to 4$"),
        ({"labels": torch.full((2, 3), -1)}, "hold -1; they are 0 to 4, or -100 for no label"),
        ({"puzzle_identifiers": torch.tensor([0, 2])}, "identifiers hold 2; they are 0 to 1"),
        ({"puzzle_identifiers": torch.zeros(2, 1).long()}, r"identifiers of 2 keys .* \(2,\)"),
        ({"rating": torch.zeros(2).long()}, "rating must be floating-point, got torch.int64"),
        ({"labels": torch.zeros(2, 3, device="meta")}, "must be on the keys' device cpu, got meta"),
        ({"inputs": np.zeros((2, 3), int)}, "inputs must be a tensor, got ndarray"),
    ],
)
def test_a_source_that_draws_wrongly_is_refused_when_made(changed: dict[str, Any], message: str) -> None:
    assert PuzzleVectorEnv(2, Drawn()).reset(seed=0)[0]["inputs"].shape == (2, 3)
    with pytest.raises(ValueError, match=message):
        PuzzleVectorEnv(2, Drawn(**changed))


def test_a_source_that_is_none_is_refused_when_made(monkeypatch) -> None:
    monkeypatch.setattr(Drawn, "draw", lambda self, keys: (keys, keys))
    with pytest.raises(ValueError, match=r"Drawn.draw must return Puzzles, got tuple"):
        PuzzleVectorEnv(2, Drawn())
    monkeypatch.delattr(Drawn, "validator")
    with pytest.raises(ValueError, match=r"the source Drawn has no validator \(None if only"):
        PuzzleVectorEnv(2, Drawn())


def test_the_page_runs_as_it_stands(run_page: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """docs/your-own-puzzles.md, with fewer steps of training."""
    questions = np.random.default_rng(0).integers(1, 6, (500, 7))
    np.save(tmp_path / "questions.npy", questions)
    np.save(tmp_path / "answers.npy", questions[:, ::-1])
    names = run_page("docs/your-own-puzzles.md", {"range(100)": "range(2)"})
    assert names["learner"].step == 2
    assert {path.name for path in Path("own").iterdir()} == {"train", "test", "identifiers.json"}
    reset, info = names["reversed_bits"].reset(seed=3)
    assert torch.equal(reset["inputs"].flip(1), info["labels"])
    assert len({tuple(row) for row in reset["inputs"].tolist()}) > 32
