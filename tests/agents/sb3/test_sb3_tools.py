"""SB3's tools over our environments: each is run, and what it wrote is read back."""

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CallbackList, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import hrm_rl  # noqa: F401 (registers the environments)
from hrm_rl.agents.sb3 import TorchVecEnv
from hrm_rl.halting.vector import FEATURE_NAMES

ROWS = 8
Q_HALT = FEATURE_NAMES.index("q_halt")


def halting(rows: int = ROWS, **options: Any) -> TorchVecEnv:
    envs = gym.make_vec("HRM/Halting-v0", num_envs=rows, **options)
    return TorchVecEnv(envs)


def sudoku(rows: int = ROWS, **options: Any) -> TorchVecEnv:
    options = {"size": 4, "pool_size": 50, "flat_action": True, "halt_max_steps": 3} | options
    return TorchVecEnv(gym.make_vec("HRM/Sudoku-v0", num_envs=rows, **options))


def ppo(envs: Any, kind: str = "MlpPolicy", **settings: Any) -> PPO:
    settings = {"n_steps": 16, "batch_size": 64, "n_epochs": 1, "gamma": 1.0} | settings
    return PPO(kind, envs, seed=0, device="cpu", **settings)


class Policy:
    """A policy given by a function from observations to actions."""

    def __init__(self, act: Callable[[Any], np.ndarray]) -> None:
        self.act = act

    def predict(self, obs: Any, **_: Any) -> tuple[np.ndarray, None]:
        return self.act(obs), None


def evaluated(act: Callable[[Any], np.ndarray], envs: TorchVecEnv) -> tuple[set, set]:
    """The returns and the lengths of 24 episodes."""
    figures = evaluate_policy(Policy(act), envs, 24, return_episode_rewards=True)  # type: ignore[arg-type]
    return set(figures[0]), set(figures[1])


# --- evaluation -------------------------------------------------------------------------------


def test_evaluate_policy_counts_what_the_environment_pays() -> None:
    """A known policy on each: every return and length is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # SB3 warns if there is no Monitor
        thinks_on = evaluated(lambda obs: np.zeros(ROWS, int), halting(segment_cost=0.125))
    assert thinks_on[0] <= {-1.0, 0.0} and thinks_on[1] == {8}  # the limit
    for segment in (1, 2, 3):
        envs = sudoku(segment_cost=0.25)

        def solve(obs: Any, envs: Any = envs, segment: int = segment) -> np.ndarray:
            labels, halt = envs.envs.current()[1]["labels"], obs["segment"] + 1 >= segment
            return np.concatenate([labels.numpy(), halt[:, None]], 1).astype(np.int64)

        assert evaluated(solve, envs) == ({1 - 0.25 * segment}, {segment})
    assert evaluated(lambda obs: np.tile([0] * 16 + [1], (ROWS, 1)), sudoku()) == ({0.0}, {1})


# --- callbacks and the logger -----------------------------------------------------------------


def scalars(folder: Path) -> dict[str, list[float]]:
    [events] = list(folder.rglob("events.out.tfevents.*"))
    board = EventAccumulator(str(events)).Reload()
    return {tag: [e.value for e in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_callbacks_and_tensorboard(tmp_path: Path) -> None:
    """One short training with all of them, read back: evaluations.npz, models, event file."""
    paths = {"log_path": str(tmp_path / "eval"), "best_model_save_path": str(tmp_path / "best")}
    training, judging = (VecCheckNan(halting(), raise_exception=True) for _ in range(2))
    evaluation = EvalCallback(judging, n_eval_episodes=10, eval_freq=16, verbose=0, **paths)
    checkpoints = CheckpointCallback(16, str(tmp_path / "kept"))
    model = ppo(training, tensorboard_log=str(tmp_path / "board"))
    model.learn(4 * 16 * ROWS, callback=CallbackList([evaluation, checkpoints]), log_interval=1)

    saved = np.load(tmp_path / "eval" / "evaluations.npz")
    assert saved["timesteps"].tolist() == [128, 256, 384, 512]
    assert all(saved[key].shape == (4, 10) for key in ("results", "successes", "ep_lengths"))
    # At a cost of 0.01 a segment, return and success say the same of an episode's end.
    assert np.allclose(saved["results"], saved["successes"] - 0.01 * saved["ep_lengths"], atol=1e-6)
    assert len(list((tmp_path / "kept").glob("*.zip"))) == 4
    best = PPO.load(tmp_path / "best" / "best_model", device="cpu")
    assert best.predict(halting().reset())[0].shape == (ROWS,)

    seen = scalars(tmp_path / "board")
    assert seen["eval/success_rate"] == pytest.approx(saved["successes"].mean(1))
    assert seen["eval/mean_reward"] == pytest.approx(saved["results"].mean(1))
    success, length = seen["rollout/success_rate"], seen["rollout/ep_len_mean"]
    assert seen["rollout/ep_rew_mean"] == pytest.approx(
        [s - 0.01 * n for s, n in zip(success, length, strict=True)], abs=1e-5
    )


# --- SB3's wrappers of vectors -----------------------------------------------------------------


def test_vec_monitor_writes_every_episode(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="already wrapped"):
        envs = VecMonitor(halting(segment_cost=0.5), str(tmp_path), info_keywords=("is_success",))
    envs.seed(0)
    envs.reset()
    kept: list[tuple[float, int, bool]] = []
    for step in range(6):
        _, _, done, infos = envs.step(np.full(ROWS, step % 2))
        ended = [infos[row] for row in np.flatnonzero(done)]
        kept += [(one["episode"]["r"], one["episode"]["l"], one["is_success"]) for one in ended]
    envs.close()
    assert len(kept) == 3 * ROWS and {length for _, length, _ in kept} == {2}
    table = monitored(tmp_path / "monitor.csv")
    assert [(float(row["r"]), int(row["l"]), row["is_success"] == "True") for row in table] == kept


def monitored(path: Path) -> list[dict[str, str]]:
    """The episodes of a monitor.csv: a line of SB3's own, then a table."""
    with open(path) as lines:
        assert next(lines).startswith('#{"t_start"')
        return list(csv.DictReader(lines))


def test_vec_normalize() -> None:
    """Observations and rewards normalised, and the episodes' figures untouched."""
    envs = VecNormalize(halting(64), gamma=1.0)
    model = ppo(envs, batch_size=512)
    model.learn(64 * 64)
    seen = envs.normalize_obs(envs.get_original_obs())
    assert np.abs(seen[:, Q_HALT].mean()) < 0.5 and 0.5 < seen[:, Q_HALT].std() < 1.5
    assert all(-0.08 <= episode["r"] <= 1 for episode in model.ep_info_buffer)  # as they were paid
    by_part = VecNormalize(sudoku(), norm_obs_keys=["inputs"])
    by_part.seed(0)
    obs = by_part.reset()
    assert obs["inputs"].dtype == np.float32 and obs["draft"].dtype == np.int32


# --- questions about rows -----------------------------------------------------------------------


def test_reset_infos_are_those_of_the_reset() -> None:
    envs = sudoku()
    envs.seed(7)
    obs = envs.reset()
    same = gym.make_vec("HRM/Sudoku-v0", num_envs=ROWS, size=4, pool_size=50)
    _, info = same.reset(seed=7)
    for row, first in enumerate(envs.reset_infos):
        assert first.keys() == {"labels", "rating", "puzzle_key"}
        assert np.array_equal(first["labels"], info["labels"][row])
        assert first["puzzle_key"] == info["puzzle_key"][row]
        assert np.all((obs["inputs"][row] == first["labels"]) | (obs["inputs"][row] == 1))
    kept = [info["puzzle_key"] for info in envs.reset_infos]
    envs.reset()
    assert [info["puzzle_key"] for info in envs.reset_infos] != kept


def test_seed_attributes_and_methods() -> None:
    envs = halting()
    assert envs.seed(40) == [40 + row for row in range(ROWS)]
    first = envs.reset()
    assert envs.has_attr("settings") and not envs.has_attr("nothing_of_this_name")
    assert [each.segment_cost for each in envs.get_attr("settings", [1, 2])] == [0.01, 0.01]
    envs.set_attr("note", 5)
    assert envs.env_method("__getattribute__", "note") == [5] * ROWS
    again, _ = envs.env_method("reset", seed=40)[0]
    assert np.array_equal(first, again)
    with pytest.raises(ValueError, match="no reset options"):
        envs.set_options({"difficulty": 3})
    with pytest.raises(ValueError, match="all rows are one object"):
        envs.set_attr("note", 4, indices=[0])
    assert envs.env_is_wrapped(Monitor) == [True] * ROWS
    assert envs.get_attr("render_mode", [0, 1]) == [None, None]
    envs.set_options({})
    envs.set_options([{}] * ROWS)


# --- the single environments, as rl-zoo3 and make_vec_env use them -------------------------------


@pytest.mark.parametrize("name", ["HRM/Halting-v0", "hrm_rl:HRM/Halting-v0"])
def test_make_vec_env_takes_the_single_environment(name: str, tmp_path: Path) -> None:
    envs = make_vec_env(name, 2, seed=0, monitor_dir=str(tmp_path))
    ppo(envs, batch_size=32).learn(64)
    envs.close()
    for row in range(2):
        episodes = monitored(tmp_path / f"{row}.monitor.csv")
        assert len(episodes) >= 4 and all(1 <= int(episode["l"]) <= 8 for episode in episodes)
