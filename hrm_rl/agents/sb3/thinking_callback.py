"""ThinkingCallback: how much a policy thinks, and what it pays for it, in Stable-Baselines3's logger."""

from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from hrm_rl.agents.thinking_log import span_of

_HISTOGRAM = "thinking/histogram"
_ONLY_TENSORBOARD = ("stdout", "log", "json", "csv")
_NEEDS_THINKING = (
    "ThinkingCallback needs environments in a ThinkingWrapper or HaltedThinking (hrm_rl.envs); these {}"
)


@dataclass
class _Episode:
    steps: int = 0
    price: float = 0.0
    reward: float = 0.0
    whole: bool = True  # seen from its first step


class ThinkingCallback(BaseCallback):
    """Log the thinking of a policy in `ThinkingWrapper` or `HaltedThinking`; for any algorithm of SB3.

        model.learn(100_000, callback=ThinkingCallback())

    Means since the logger last wrote:

    - `thinking/thoughts`: thoughts before a step of the environment;
    - `thinking/price`: `segment_cost` times the thoughts of an episode;
    - `thinking/return_without_price`: the return of an episode as the environment pays it;
    - `thinking/episode_steps`: steps of the environment in an episode;
    - `thinking_by_step/0001`, `0002`, `0003-0004`, ...: thoughts before these steps of an episode;
    - `thinking/histogram`: of the thoughts before a step, in TensorBoard only.

    It also makes SB3's `rollout/ep_len_mean` count steps of the environment: a `Monitor` around the wrapper,
    which SB3 adds by itself, counts thoughts as steps. `rollout/ep_rew_mean` stays the return with the price.

    Raises ValueError at the start of training for environments that do not think.
    """

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._episodes: list[_Episode] = []
        self._followed: Any = None  # the environments that these episodes are of
        self._counts: list[int] = []
        self._recorded = False

    def _on_training_start(self) -> None:
        try:
            self._costs: list[float] = self.training_env.get_attr("segment_cost")
        except (AttributeError, EOFError):  # the latter from SubprocVecEnv
            raise ValueError(_NEEDS_THINKING.format("have no segment_cost")) from None
        goes_on = self.model.num_timesteps > 0  # learn(reset_num_timesteps=False), amid episodes
        if not goes_on or self._followed is not self.training_env:
            self._episodes = [_Episode(whole=not goes_on) for _ in self._costs]
        self._followed = self.training_env

    def _on_step(self) -> bool:
        self._begin_anew_if_written()
        infos, dones = self.locals["infos"], self.locals["dones"]
        rows = zip(self._episodes, self._costs, infos, self._rewards(), strict=True)
        for episode, cost, info, reward in rows:
            self._follow(episode, cost, info, float(reward))
        for row in dones.nonzero()[0]:
            self._end(self._episodes[row], infos[row])
            self._episodes[row] = _Episode()
        if dones.any():
            self._record_histogram()
        return True

    def _on_rollout_end(self) -> None:
        self._begin_anew_if_written()
        self._record_histogram()

    def _rewards(self) -> Any:
        """Those of the environments, before a VecNormalize."""
        normalised = self.model.get_vec_normalize_env()
        return self.locals["rewards"] if normalised is None else normalised.get_original_reward()

    def _follow(self, episode: _Episode, cost: float, info: dict[str, Any], reward: float) -> None:
        if "thoughts" not in info:
            raise ValueError(_NEEDS_THINKING.format("have no 'thoughts' in their info"))
        episode.reward += reward
        if info.get("is_thought"):
            episode.price += cost
            return
        thoughts = int(info["thoughts"])
        if "reasoner_action" in info:  # HaltedThinking: a step pays for the thoughts before it
            episode.price += cost * thoughts
        episode.steps += 1
        self.logger.record_mean("thinking/thoughts", thoughts)
        if episode.whole:
            self.logger.record_mean(f"thinking_by_step/{span_of(episode.steps)}", thoughts)
        self._counts += [0] * (thoughts + 1 - len(self._counts))
        self._counts[thoughts] += 1

    def _end(self, episode: _Episode, info: dict[str, Any]) -> None:
        if not episode.whole:
            return
        self.logger.record_mean("thinking/price", episode.price)
        self.logger.record_mean("thinking/return_without_price", episode.reward + episode.price)
        self.logger.record_mean("thinking/episode_steps", episode.steps)
        if "episode" in info:
            info["episode"]["l"] = episode.steps

    def _record_histogram(self) -> None:
        if any(self._counts):
            counts = torch.tensor(self._counts)
            thoughts: Any = torch.arange(len(counts)).repeat_interleave(counts)
            self.logger.record(_HISTOGRAM, thoughts, exclude=_ONLY_TENSORBOARD)
            self._recorded = True

    def _begin_anew_if_written(self) -> None:
        """The logger forgets what it has written, so the histogram begins again."""
        if self._recorded and _HISTOGRAM not in self.logger.name_to_value:
            self._counts, self._recorded = [], False
