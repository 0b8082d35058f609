"""ThinkingCallback: figures by hand, episode lengths in steps of the environment, and who is refused."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hrm_rl.agents.sb3 import ThinkingCallback
from hrm_rl.envs import ThinkingWrapper

COST = 0.25


class Corridor(gym.Env[Any, Any]):
    """Four steps, each paying 1; no choice matters."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.clock += 1
        return np.full(1, self.clock, np.float32), 1.0, self.clock == 4, False, {}


class Thinker(gym.Wrapper[Any, Any, Any, Any]):
    """Plays for the policy: k thoughts before the k-th step of every episode."""

    def reset(self, **options: Any) -> Any:
        self.left = self.steps = 1
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        thinks = self.left > 0
        self.left = self.left - 1 if thinks else self.steps + 1
        self.steps += not thinks
        return self.env.step(2 if thinks else 0)


def make(inside: bool = False) -> gym.Env[Any, Any]:
    env: Any = Monitor(Corridor()) if inside else Corridor()
    return Thinker(ThinkingWrapper(env, max_segments=4, segment_cost=COST))


class Written(BaseCallback):
    """The logger's values at the end of each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.seen.append(dict(self.logger.name_to_value))


def single(inside: bool) -> Any:
    return make(inside)


def normalised(inside: bool) -> Any:
    return VecNormalize(monitored(inside), norm_obs=False)


def monitored(inside: bool) -> Any:
    return VecMonitor(DummyVecEnv([lambda: make(inside)] * 2))


@pytest.mark.parametrize("inside", [False, True], ids=["monitor-outside", "monitor-inside"])
@pytest.mark.parametrize(
    ("kind", "envs"),
    [(A2C, single), (A2C, normalised), (A2C, monitored)]
    + [(kind, single) for kind in (PPO, DQN, QRDQN, RecurrentPPO)],
)
def test_figures_by_hand(kind: Any, envs: Any, inside: bool) -> None:
    """An episode: 4 steps after 1, 2, 3 and 4 thoughts, so 10 thoughts at 0.25 and a return of 4."""
    if issubclass(kind, DQN | QRDQN):
        settings: Any = {"learning_starts": 1000, "train_freq": 28}
    else:
        settings = {"n_steps": 28}
    if kind is not A2C and "n_steps" in settings:
        settings |= {"batch_size": 28, "n_epochs": 1}
    name = "MultiInputLstmPolicy" if kind is RecurrentPPO else "MultiInputPolicy"
    model = kind(name, envs(inside), seed=0, **settings)
    written = Written()
    model.learn(28 * model.n_envs, callback=[ThinkingCallback(), written], log_interval=1000)
    found = {k: v for k, v in written.seen[0].items() if k.startswith("thinking")}
    thoughts = found.pop("thinking/histogram").tolist()
    assert sorted(thoughts) == sorted([1, 2, 3, 4] * 2 * model.n_envs)
    assert found == pytest.approx(
        {
            "thinking/thoughts": 2.5,
            "thinking/price": 2.5,
            "thinking/return_without_price": 4.0,
            "thinking/episode_steps": 4,
            "thinking_by_step/0001": 1,
            "thinking_by_step/0002": 2,
            "thinking_by_step/0003-0004": 3.5,
        }
    )
    assert {episode["l"] for episode in model.ep_info_buffer} == {4}


def test_the_histogram_begins_again_when_the_logger_has_written(tmp_path: Path) -> None:
    for kind, settings in ((PPO, {"n_steps": 14, "batch_size": 14}), (DQN, {"learning_starts": 999})):
        folder = tmp_path / kind.__name__
        model = kind("MultiInputPolicy", make(), seed=0, tensorboard_log=str(folder), **settings)
        model.learn(14 * 12, callback=ThinkingCallback(), log_interval=4)
        events = EventAccumulator(str(next(folder.iterdir())), size_guidance={"histograms": 0})
        events.Reload()
        histograms = events.Histograms("thinking/histogram")
        # Four episodes of four steps each time.
        assert [event.histogram_value.num for event in histograms] == [16] * 3, kind
        assert events.Scalars("thinking/price")[-1].value == 2.5
        assert events.Scalars("rollout/ep_len_mean")[-1].value == 4


def test_training_that_goes_on_amid_an_episode_counts_all_of_it() -> None:
    model, callback = A2C("MultiInputPolicy", make(), n_steps=5, seed=0), ThinkingCallback()
    for first in (True, False, False):
        model.learn(10, callback=callback, reset_num_timesteps=first)
    assert [episode["l"] for episode in model.ep_info_buffer] == [4, 4]
    model.learn(30, callback=[ThinkingCallback(), written := Written()], reset_num_timesteps=False)
    found = [seen for seen in written.seen if "thinking/price" in seen]
    assert found and all(seen["thinking/price"] == 2.5 for seen in found)


@pytest.mark.parametrize("vec_env_cls", [DummyVecEnv, SubprocVecEnv])
def test_environments_that_do_not_think_are_refused(vec_env_cls: Any) -> None:
    envs = make_vec_env("CartPole-v1", 1, vec_env_cls=vec_env_cls)
    with pytest.raises(ValueError, match=r"ThinkingCallback needs .* have no segment_cost"):
        PPO("MlpPolicy", envs, n_steps=8, batch_size=8).learn(8, callback=ThinkingCallback())
    puzzles = make_vec_env("HRM/Sudoku-v0", 1, env_kwargs={"size": 4, "flat_action": True})
    puzzles.set_attr("segment_cost", 0.0)
    with pytest.raises(ValueError, match="have no 'thoughts' in their info"):
        A2C("MultiInputPolicy", puzzles).learn(8, callback=ThinkingCallback())
