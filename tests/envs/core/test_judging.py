"""Reward and judgement: what is right, what it pays, and who ended the episode."""

from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PoolSource, PuzzleVectorEnv, SequentialSource
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays


def puzzles(inputs: Any, labels: Any) -> PuzzleArrays:
    inputs = np.asarray(inputs)
    return PuzzleArrays(inputs, labels, np.zeros(len(inputs)).astype(int), np.zeros(len(inputs)))


def even_sum(inputs: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return answers.sum(-1) % 2 == 0


@pytest.fixture
def two_answers() -> SequentialSource:
    """Two cells whose sum must be even; the stored solution is (1, 1), and (2, 2) is as right."""
    return SequentialSource(puzzles([[0, 0]] * 3, [[1, 1]] * 3), 3, validator=even_sum)


def test_at_the_limit_the_draft_is_judged_and_halting_is_not_forced(source: Any) -> None:
    envs = PuzzleVectorEnv(4, source, halt_max_steps=2, autoreset_mode="Disabled")
    _, info = envs.reset(seed=0)
    answer = info["labels"].clone()
    answer[1, 0] = 0
    envs.step({"answer": answer, "halt": torch.tensor([0, 0, 0, 1])})
    halt = torch.tensor([0, 0, 1, 0])
    _, reward, terminated, truncated, info = envs.step({"answer": answer, "halt": halt})
    assert terminated.all() and not truncated.any()
    assert info["forced"].tolist() == [True, True, False, False]
    assert reward.tolist() == [1.0, 0.0, 1.0, 0.0]  # the last one was paid before
    assert info["segments"].tolist() == [2, 2, 2, 1]


def test_first_correct_segment_and_cell_accuracy(source: Any) -> None:
    envs = PuzzleVectorEnv(4, source, halt_max_steps=6)
    _, info = envs.reset(seed=0)
    labels = info["labels"]
    right_at = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 1]])  # [step, row]
    firsts = []
    for now in right_at:
        answer = torch.where(now[:, None].bool(), labels, torch.zeros_like(labels))
        answer[:, :4] = labels[:, :4]
        _, _, _, _, info = envs.step({"answer": answer, "halt": torch.zeros(4)})
        wanted = torch.where(now.bool(), 1.0, 0.25)
        assert torch.equal(info["cell_accuracy"], wanted)
        firsts.append(info["first_correct_segment"].tolist())
    assert firsts == [[0, 0, 0, 1], [0, 0, 2, 1], [0, 3, 2, 1]]
    _, _, _, _, info = envs.step({"answer": labels, "halt": torch.ones(4)})
    assert info["first_correct_segment"].tolist() == [4, 3, 2, 1]
    assert info["final_info"]["first_correct_segment"].tolist() == [4, 3, 2, 1]
    _, _, _, _, info = envs.step({"answer": torch.zeros_like(labels), "halt": torch.zeros(4)})
    assert info["first_correct_segment"].tolist() == [0] * 4


@pytest.mark.parametrize("checker", ["exact", "valid"])
def test_the_checker_says_which_right_answer_pays(two_answers: Any, checker: Any) -> None:
    envs = PuzzleVectorEnv(3, two_answers, order="epoch", checker=checker)
    envs.reset(seed=0)
    answer = torch.tensor([[1, 1], [2, 2], [1, 2]])  # the stored one, another right one, a wrong
    _, reward, _, _, info = envs.step({"answer": answer, "halt": torch.ones(3)})
    assert info["correct"].tolist() == [True, False, False]
    assert info["valid"].tolist() == [True, True, False]
    assert info["cell_accuracy"].tolist() == [1.0, 0.0, 0.5]
    assert reward.tolist() == ([1.0, 0.0, 0.0] if checker == "exact" else [1.0, 1.0, 0.0])


def test_without_a_validator_valid_is_correct(pool: Any, play: Any) -> None:
    envs = PuzzleVectorEnv(8, PoolSource(pool, 6))
    _, info = envs.reset(seed=0)
    _, _, _, _, info = envs.step(play(np.random.default_rng(0), info["labels"]))
    assert torch.equal(info["valid"], info["correct"]) and info["correct"].any()


def test_unlabelled_cells_are_not_judged() -> None:
    source = SequentialSource(puzzles([[0, 0, 0]], [[1, IGNORE_LABEL, 2]]), 3)
    envs = PuzzleVectorEnv(1, source, order="epoch", autoreset_mode="Disabled")
    envs.reset(seed=0)
    for middle in range(3):
        answer = torch.tensor([[1, middle, 2]])
        *_, info = envs.step({"answer": answer, "halt": torch.zeros(1)})
        assert info["correct"].all() and info["cell_accuracy"].item() == 1.0
    *_, info = envs.step({"answer": torch.tensor([[1, 0, 1]]), "halt": torch.zeros(1)})
    assert not info["correct"].any() and info["cell_accuracy"].item() == 0.5


@pytest.mark.parametrize("checker", ["exact", "valid"])
def test_padded_rows_are_never_right(in_order: Any, pool: Any, checker: Any) -> None:
    """Beyond the last puzzle there is nothing to be right about, nor to be paid for."""
    envs = PuzzleVectorEnv(len(pool) + 2, in_order, order="epoch", checker=checker)
    _, info = envs.reset(seed=0)
    assert (info["labels"][-2:] == IGNORE_LABEL).all() and (info["labels"][:-2] >= 0).all()
    answer = torch.cat([torch.from_numpy(pool.labels), torch.from_numpy(pool.labels[-1:])[[0, 0]]])
    halt = torch.ones(len(pool) + 2)
    for given in (answer, torch.zeros_like(answer)):
        _, reward, _, _, info = envs.step({"answer": given, "halt": halt})
        assert not info["correct"][-2:].any() and not info["valid"][-2:].any()
        assert (reward[-2:] == 0).all() and (info["cell_accuracy"][-2:] == 0).all()
        assert (info["first_correct_segment"][-2:] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halt_max_steps": 0}, "halt_max_steps must be an integer >= 1, got 0"),
        ({"segment_cost": -0.5}, "segment_cost must be >= 0, got -0.5"),
        ({"segment_cost": float("nan")}, "segment_cost must be .*>= 0, got nan"),
        ({"checker": "loose"}, "checker must be one of .*got 'loose'"),
        ({"order": "random"}, "order must be 'hash' or 'epoch', got 'random'"),
        ({"autoreset_mode": "never"}, "must be one of .*SAME_STEP.*; got 'never'"),
        ({"num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
    ],
)
def test_bad_settings_are_refused(source: Any, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PuzzleVectorEnv(**{"num_envs": 2, "source": source} | options)
