"""Reasoning-gym's puzzles as environments: its scorer runs on the host, for few rows, and pays."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.envs.families.reasoning_gym import make_env, make_vector_env, reasoning_gym_pool, source_of
from hrm_rl.envs.to_numpy import to_numpy
from hrm_rl.puzzles import IGNORE_LABEL
from hrm_rl.puzzles.reasoning_gym import ReasoningGymPool

pytestmark = pytest.mark.usefixtures("fake_reasoning_gym")

EMPTY: dict[str, Any] = {"dataset": "n_queens", "size": 20, "config": {"min_remove": 5}, "split": None}
"""Five queens on an empty board: ten answers are right, and half a turn leads from one to another."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many answers each call to the scorer had."""
    counts: list[int] = []
    scores: Callable[..., Any] = ReasoningGymPool.scores

    def counted(self: ReasoningGymPool, inputs: Any, answers: Any, labels: Any) -> Any:
        counts.append(len(inputs))
        return scores(self, inputs, answers, labels)

    monkeypatch.setattr(ReasoningGymPool, "scores", counted)
    return counts


@pytest.fixture
def registered() -> Iterator[str]:
    """A custom id, as in docs/reasoning-gym.md."""
    gym.register(
        "Own/NQueens-v0",
        entry_point="hrm_rl.envs.families.reasoning_gym:make_env",
        vector_entry_point="hrm_rl.envs.families.reasoning_gym:make_vector_env",
        kwargs={"dataset": "n_queens"},
    )
    yield "Own/NQueens-v0"
    del gym.registry["Own/NQueens-v0"]


@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
def test_checkers_have_no_complaint(render_mode: str | None, registered: str) -> None:
    options: Any = {"size": 10, "render_mode": render_mode, "halt_max_steps": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(registered, **options).unwrapped, skip_render_check=False)
        sb3_check_env(make_env("n_queens", flat_action=True, **options), warn=True)
    envs = gym.make_vec(registered, num_envs=3, size=10)
    assert isinstance(envs, PuzzleVectorEnv) and envs.reset(seed=0)[0]["inputs"].shape == (3, 25)


@pytest.mark.parametrize(("kind", "paid"), [("exact", 0.0), ("valid", 1.0)])
def test_another_right_answer_is_valid_and_not_correct(kind: Any, paid: float) -> None:
    env = make_env(**EMPTY, checker=kind)
    _, info = env.reset(seed=0)
    answer = info["labels"][::-1].copy()
    *_, info = env.step({"answer": answer, "halt": 0})
    assert not info["correct"] and not info["valid"]  # goes on: the host is not asked
    _, reward, terminated, _, info = env.step({"answer": answer, "halt": 1})
    assert terminated and not info["correct"] and info["valid"] and reward == paid


def test_the_host_is_asked_of_rows_that_end_with_another_answer(asked: list[int]) -> None:
    envs = make_vector_env(6, **EMPTY, checker="valid")
    _, info = envs.reset(seed=0)
    labels, turned = info["labels"], info["labels"].flip(1)
    asked.clear()
    going_on = torch.zeros(6, dtype=torch.bool)
    envs.step({"answer": turned, "halt": going_on})
    envs.step({"answer": labels, "halt": ~going_on})
    assert asked == []  # nobody ended; everybody ended with the stored answer
    labels = envs.current()[1]["labels"]
    turned = labels.flip(1)
    wrong = torch.ones_like(labels)
    answer = torch.stack([turned[0], labels[1], wrong[2], labels[3], turned[4], wrong[5]])
    halt = torch.tensor([True, True, True, False, False, False])
    *_, info = envs.step({"answer": answer, "halt": halt})
    assert asked == [2]
    assert info["correct"].tolist() == [False, True, False, True, False, False]
    assert info["valid"].tolist() == [True, True, False, True, False, False]
    assert info["final_info"]["valid"].tolist()[:3] == [True, True, False]


def test_row_i_is_a_single_seeded_with_seed_plus_i(play: Any, assert_singles: Any) -> None:
    settings = EMPTY | {"checker": "valid", "halt_max_steps": 3}
    rng = np.random.default_rng(0)

    def act(obs: Any, info: Any) -> dict[str, np.ndarray]:
        action = play(rng, info["labels"])
        turn = torch.from_numpy(rng.random(4) < 0.5)
        action["answer"] = torch.where(turn[:, None], info["labels"].flip(1), action["answer"])
        return to_numpy(action | {"answer": action["answer"].clamp_max(2)})

    singles = [make_env(**settings) for _ in range(4)]
    _, judged = assert_singles(make_vector_env(4, **settings), singles, act, seed=7, steps=20)
    assert judged == {(True, True), (False, True), (False, False)}


def test_frozen_and_padded_rows_are_not_asked_of(asked: list[int]) -> None:
    """Three puzzles once each in four rows: the fourth has no labels, and is never right."""
    pool = reasoning_gym_pool(**(EMPTY | {"size": 3}))
    source = SequentialSource(pool.arrays, pool.format.vocab_size, validator=source_of(pool).validator)
    envs = PuzzleVectorEnv(4, source, order="epoch", autoreset_mode="Disabled", checker="valid")
    _, info = envs.reset(seed=0)
    assert (info["labels"][3] == IGNORE_LABEL).all()
    asked.clear()
    action = {"answer": info["labels"].flip(1).clamp_min(0), "halt": torch.ones(4).bool()}
    _, reward, *_, info = envs.step(action)
    assert reward.tolist() == [1, 1, 1, 0] and info["valid"].tolist() == [True, True, True, False]
    count = len(asked)
    assert envs.step(action)[1].tolist() == [0, 0, 0, 0] and len(asked) == count


def test_pools_are_shared_and_judge_all_rows_where_none_are_named() -> None:
    source = source_of(reasoning_gym_pool(**EMPTY))
    assert reasoning_gym_pool(**EMPTY) is reasoning_gym_pool(**EMPTY)
    puzzles = source.draw(torch.arange(5))
    validator = source.validator
    assert validator is not None
    assert validator(puzzles.inputs, puzzles.labels.flip(1), puzzles.labels).all()
    assert not validator(puzzles.inputs, puzzles.inputs, puzzles.labels).any()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="'sokoban' does not fit: it asks for moves"):
        make_env("sokoban")
    with pytest.raises(ValueError, match="Datasets that do: arc_1d"):
        make_vector_env(2, "basic_arithmetic")
