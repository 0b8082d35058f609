"""Our vector environments as SB3's VecEnv: what it reads from them, and that its tools work."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from hrm_rl.agents.sb3.vec_env import TorchVecEnv
from hrm_rl.envs.halting import make_vector_env
from hrm_rl.halting.bank.toy import toy_bank

ROWS = 4


def wrapped(**options: Any) -> TorchVecEnv:
    return TorchVecEnv(make_vector_env(ROWS, **options))


def test_steps_are_those_of_the_environment() -> None:
    """Observations, rewards, dones; and on ended rows only, all that SB3 asks about an end."""
    envs, same = wrapped(segment_cost=0.1), make_vector_env(ROWS, segment_cost=0.1)
    envs.seed(5)
    obs, (expected, _) = envs.reset(), same.reset(seed=5)
    assert np.array_equal(obs, expected) and obs.dtype == np.float32
    rng, ends = np.random.default_rng(0), 0
    for _ in range(30):
        action = (rng.random(ROWS) < 0.3).astype(np.int64)
        obs, reward, done, infos = envs.step(action)
        expected, paid, terminated, _, info = same.step(torch.from_numpy(action))
        assert np.array_equal(obs, expected)
        assert np.array_equal(reward, paid) and reward.dtype == np.float32
        assert np.array_equal(done, terminated) and done.dtype == np.bool_
        for row, ended in enumerate(infos):
            if not done[row]:
                assert ended == {}
                continue
            ends += 1
            assert np.array_equal(ended["terminal_observation"], info["final_obs"][row])
            assert ended["TimeLimit.truncated"] is False
            assert ended["is_success"] == bool(info["final_info"]["correct"][row])
            assert ended["episode"]["r"] == pytest.approx(float(info["episode"]["r"][row]))
            assert ended["episode"]["l"] == int(info["episode"]["l"][row])
    assert ends > 10


def test_arrays_are_sb3s_own() -> None:
    """A buffer that keeps what it was given does not see later steps in it."""
    envs = wrapped()
    first = envs.reset()
    kept = first.copy()
    _, reward, *_ = envs.step(np.zeros(ROWS, dtype=np.int64))
    reward[:] = 9  # may be written
    envs.step(np.ones(ROWS, dtype=np.int64))
    assert np.array_equal(first, kept)


def test_seeds_are_used_once() -> None:
    """As in SB3's own: `seed` holds for the next reset, later resets go on."""
    envs = wrapped()
    envs.seed(3)
    first, second = envs.reset(), envs.reset()
    assert not np.array_equal(first, second)
    envs.seed(3)
    assert np.array_equal(envs.reset(), first)


def test_success_is_what_the_checker_pays() -> None:
    bank = dataclasses.replace(toy_bank(20), valid=np.ones((40, 8), dtype=bool))
    envs = wrapped(bank=bank, checker="valid")
    envs.reset()
    *_, infos = envs.step(np.ones(ROWS, dtype=np.int64))
    assert [info["is_success"] for info in infos] == [True] * ROWS


def puzzles(**options: Any) -> Any:
    return gym.make_vec("HRM/Sudoku-v0", num_envs=ROWS, size=4, pool_size=20, **options)


class Cut:
    """An environment's steps, with row 0 truncated at every step and row 1 both ended and cut."""

    def __init__(self, envs: Any) -> None:
        self.envs = envs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def step(self, actions: Any) -> Any:
        obs, reward, terminated, _, info = self.envs.step(actions)
        cut = torch.tensor([True, True, False, False])
        return obs, reward, terminated | torch.tensor([False, True, False, False]), cut, info


def test_truncated_means_cut_and_not_ended() -> None:
    envs = TorchVecEnv(Cut(make_vector_env(ROWS)))  # type: ignore[arg-type]
    envs.reset()
    _, _, done, infos = envs.step(np.zeros(ROWS, dtype=np.int64))
    assert done.tolist() == [True, True, False, False]
    assert [info.get("TimeLimit.truncated") for info in infos] == [True, False, None, None]


def test_puzzles_with_flat_actions_train_too() -> None:
    envs = TorchVecEnv(puzzles(flat_action=True, halt_max_steps=3))
    model = PPO("MultiInputPolicy", envs, n_steps=8, batch_size=16, seed=0, device="cpu")
    model.learn(64)
    assert len(model.ep_info_buffer or ()) > 0
    obs = envs.reset()
    assert isinstance(obs, dict) and obs["inputs"].shape == (ROWS, 16)
    action, _ = model.predict(obs)
    _, _, _, infos = envs.step(np.where(np.arange(17) == 16, 1, action))
    assert infos[0]["terminal_observation"].keys() == obs.keys()


def test_environments_that_sb3_cannot_play_are_refused() -> None:
    with pytest.raises(ValueError, match=r"SAME_STEP, got .*DISABLED"):
        wrapped(autoreset_mode="DISABLED")
    with pytest.raises(ValueError, match="flat_action=True"):
        TorchVecEnv(puzzles())


def test_a_picture_needs_a_reset() -> None:
    make = {"id": "HRM/Sudoku-v0", "num_envs": 2, "size": 4, "flat_action": True, "render_mode": "rgb_array"}
    envs = TorchVecEnv(gym.make_vec(**make))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before render"):
        envs.render()
    envs.reset()
    assert envs.render().ndim == 3
