"""Wrappers that bring thinking to any environment of Discrete actions: as one more action, or until a
halting rule stops it.

A thought does not step the inner environment, so a TimeLimit in it counts only real steps.
"""

import copy
import math
from typing import Any, NamedTuple, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.features import Memory, States, segment_features
from hrm_rl.halting.live import LiveRule
from hrm_rl.halting.rules import Act, HaltingRule, Ponder, Q, QHalt, parts_of, spec_of
from hrm_rl.hashing import as_keys, stream
from hrm_rl.settings import check_integers, check_interval
from hrm_rl.tensors import read_discrete

StepReturn = tuple[dict[str, Any], SupportsFloat, bool, bool, dict[str, Any]]


class Thought(NamedTuple):
    """One segment of a reasoner on one observation.

    A halting rule sees it as a segment whose draft is a single cell, the action, with the A actions as
    classes.
    """

    carry: States
    """The state that the next segment starts from; its z_H and z_L are [1, T, D]."""
    logits: Tensor
    """[1, 1, A]: the score of each action, in the order of the action space."""
    q_halt: Tensor
    """[1]: value of acting now; NaN if the reasoner does not estimate it."""
    q_continue: Tensor
    """[1]: value of thinking on; NaN likewise."""
    latent: NDArray[np.float32]
    """[D]: the representation shown to the policy."""


class Reasoner(Protocol):
    """Thinks about an observation, one segment for each call; `HRMReasoner` is one with an HRM.

    The caller keeps the carry, so one reasoner can serve many environments.
    """

    @property
    def latent_size(self) -> int: ...  # D

    def think(self, observation: Any, carry: Any = None) -> Thought:
        """Run one segment on one observation, unbatched; the first segment if `carry` is None."""
        ...


class _Thinking(gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs):
    """The observation space, the checks and the counting that both wrappers share."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        reasoner: Reasoner | None,
        max_segments: int,
        segment_cost: float,
        **recorded: Any,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,  # a reasoner holds a network
            reasoner=reasoner,
            max_segments=max_segments,
            segment_cost=segment_cost,
            **recorded,
        )
        gym.Wrapper.__init__(self, env)
        self.reasoner, self.max_segments, self.segment_cost = reasoner, max_segments, segment_cost
        check_integers(self, 1, "max_segments")
        check_interval(self, "[0, inf)", "segment_cost")
        self._actions = _discrete(env.action_space)
        if reasoner is not None and not hasattr(reasoner, "latent_size"):
            raise ValueError(f"reasoner must be a Reasoner such as HRMReasoner, or None; got {reasoner!r}")
        size = None if reasoner is None else reasoner.latent_size
        self.observation_space = _thinking_space(env.observation_space, max_segments, size)
        self._thoughts = self._episode_thoughts = 0

    def _act(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment; info counts the thoughts that this action answers."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, "thoughts": self._thoughts}
        if terminated or truncated:
            info["episode_thoughts"] = self._episode_thoughts
        return observation, reward, terminated, truncated, info

    def _show(self, observation: Any, latent: NDArray[np.float32] | None) -> dict[str, Any]:
        """The observation with what the wrapper adds; a copy, since it may be shown again."""
        inner = observation if isinstance(observation, dict) else {"observation": observation}
        shown = {**copy.deepcopy(inner), "segment": np.int64(self._thoughts)}
        if latent is not None:
            shown["thought"] = latent.copy()
        return shown


class ThinkingWrapper(_Thinking):
    """Add one action, "think", after the environment's actions.

    A thought costs `segment_cost` and returns the same observation, with `segment` increased. The thinking is
    done by

    - the policy itself (without `reasoner`), which runs `segment + 1` segments, or carries its state from
      step to step;
    - a `reasoner`: each thought is one of its segments, and the observation shows the latest latent.

    - Observation: a Dict of the environment's observation (its keys if it is a Dict, else `observation`);
      `segment`, the number of thoughts on it; and with a reasoner `thought`, float32 [D], zero at first.
    - Action: `Discrete(n + 1)`, from the same start; the last one is `think_action`.
    - Reward: the environment's; `-segment_cost` for a thought.
    - Info: `thoughts`, on the observation that this action answers (a thought counts itself);
      `is_thought`, True of thoughts; `episode_thoughts` at the end of an episode.

    Examples:
        >>> env = ThinkingWrapper(gym.make("CartPole-v1"), max_segments=4, segment_cost=0.01)
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, *_ = env.step(env.think_action)    # the same state; reward is -0.01

    Args:
        env: an environment of Discrete actions.
        reasoner: does the thinking, instead of the policy.
        max_segments: largest number of thoughts on one observation.
        segment_cost: of a thought, in the environment's unit of reward.
        fallback: the action taken by "think" when no thought is left; the first by default.

    Raises:
        ValueError: other than Discrete actions, a setting out of range, an observation that already has
            the keys to be added.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        reasoner: Reasoner | None = None,
        *,
        max_segments: int = 8,
        segment_cost: float = 0.0,
        fallback: int | None = None,
    ) -> None:
        super().__init__(env, reasoner, max_segments, segment_cost, fallback=fallback)
        first, count = int(self._actions.start), int(self._actions.n)
        if fallback is not None and not first <= fallback < first + count:
            actions = f"{first}..{first + count - 1}"
            raise ValueError(f"fallback must be an action of the environment, {actions}, got {fallback}")
        self.fallback = first if fallback is None else fallback
        self.think_action = first + count
        self.action_space = spaces.Discrete(count + 1, start=first)
        self._observation: Any = None  # None: no episode is running
        self._last: Thought | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset the environment, with no thought yet."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._thoughts, self._episode_thoughts, self._last = 0, 0, None
        return self._shown(), {**info, "thoughts": 0}

    def step(self, action: Any) -> StepReturn:
        """Think, or act in the environment."""
        if read_discrete(self.action_space, action) == self.think_action:
            if self._thoughts < self.max_segments:
                return self._think()
            action = self.fallback
        self._observation, reward, terminated, truncated, info = self._act(action)
        self._thoughts, self._last = 0, None
        shown = self._shown()
        if terminated or truncated:
            self._observation = None
        return shown, reward, terminated, truncated, info

    def _think(self) -> StepReturn:
        if self._observation is None:
            raise ResetNeeded("call reset() first: no episode is running")
        if self.reasoner is not None:
            carry = None if self._last is None else self._last.carry
            self._last = self.reasoner.think(self._observation, carry)
        self._thoughts += 1
        self._episode_thoughts += 1
        info = {"thoughts": self._thoughts, "is_thought": True}
        return self._shown(), -self.segment_cost, False, False, info

    def _shown(self) -> dict[str, Any]:
        latent = None
        if self.reasoner is not None:
            zeros = np.zeros(self.reasoner.latent_size, dtype=np.float32)
            latent = zeros if self._last is None else self._last.latent
        return self._show(self._observation, latent)


class HaltedThinking(_Thinking):
    """Let a reasoner think about every observation until a halting rule stops it.

    - Observation: as in `ThinkingWrapper` with a reasoner, after `segment` segments (at least one).
    - Action: the environment's.
    - Reward: the environment's minus `segment_cost` for every segment on the observation that the action
      answers, so a return is exact.
    - Info: `reasoner_action`, the reasoner's action on the observation returned; `thoughts`, on the
      observation answered; `episode_thoughts` at the end of an episode.

    Examples:
        >>> env = HaltedThinking(gym.make("CartPole-v1"), reasoner, "stable:2", max_segments=8)
        >>> obs, info = env.reset(seed=0)
        >>> obs, *_, info = env.step(info["reasoner_action"])

    Args:
        env: an environment of Discrete actions.
        reasoner: does the thinking.
        rule: stops it, a rule or its spec string (`q`, `stable:2`, `min(2, confidence:0.9)`, ...). A rule
            that recalls shows the thought with the largest score.
        max_segments: largest number of segments on one observation.
        segment_cost: of a segment, in the environment's unit of reward.

    Raises:
        ValueError: as `ThinkingWrapper`; a rule that decides in hindsight; when thinking, a rule of Q values
            if the reasoner gives none.
    """

    reasoner: Reasoner

    def __init__(
        self,
        env: gym.Env[Any, Any],
        reasoner: Reasoner,
        rule: HaltingRule | str = "q",
        *,
        max_segments: int = 8,
        segment_cost: float = 0.0,
    ) -> None:
        super().__init__(env, reasoner, max_segments, segment_cost, rule=rule)
        self._live = LiveRule.of(rule)
        self.rule = self._live.rule
        self._seed = self._counter = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset the environment and think about its observation. `seed` also seeds `random:p`."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._seed, self._counter = seed, 0
        self._episode_thoughts = 0
        shown, action = self._think(observation)
        return shown, {**info, "thoughts": 0, "reasoner_action": action}

    def step(self, action: Any) -> StepReturn:
        """Act, and think about the next observation."""
        read_discrete(self._actions, action)
        self._episode_thoughts += self._thoughts
        cost = self.segment_cost * self._thoughts
        observation, reward, terminated, truncated, info = self._act(action)
        # The last observation too: a truncated episode is bootstrapped from it.
        shown, info["reasoner_action"] = self._think(observation)
        return shown, float(reward) - cost, terminated, truncated, info

    def _think(self, observation: Any) -> tuple[dict[str, Any], int]:
        """Think until the rule stops: the observation to show, and the reasoner's action."""
        self._counter += 1
        thought = best = self.reasoner.think(observation)
        if self._counter == 1:
            _check_q(self._live, thought)
        device = thought.logits.device
        key = stream(as_keys([self._seed], torch.device("cpu")), self._counter).to(device)
        memory = Memory.blank(1, 1, thought.logits.shape[-1], device)
        before, best_score, self._thoughts = thought.carry, -math.inf, 1
        while True:
            pooled = self._live.pooled
            features, memory = segment_features(memory, before, thought, key, pooled=pooled)
            score = float(self._live.score(features)) if self._live.recalls else math.inf
            if score > best_score or not self._live.recalls:
                best, best_score = thought, score
            if self._thoughts == self.max_segments or bool(self._live.stops(features)):
                break
            before = thought.carry
            thought = self.reasoner.think(observation, before)
            self._thoughts += 1
        action = int(self._actions.start) + int(best.logits.argmax())
        return self._show(observation, best.latent), action


def _discrete(space: spaces.Space[Any]) -> spaces.Discrete:
    if isinstance(space, spaces.Discrete):
        return space
    several = isinstance(space, spaces.MultiDiscrete)
    remedy = "number its combinations" if several else "choose a few actions and number them"
    raise ValueError(
        f"thinking needs Discrete actions, got {space}; {remedy} with gymnasium.wrappers.TransformAction"
    )


def _check_q(live: LiveRule, thought: Thought) -> None:
    """Refuse a rule of Q values if there are none: NaN compares false, so it would never stop."""
    kinds = [type(part) for part in parts_of(live.rule)]
    reads = live.recalls or any(kind in (Q, QHalt, Act, Ponder) for kind in kinds)
    lacks = bool(thought.q_halt.isnan()) or (Q in kinds and bool(thought.q_continue.isnan()))
    if reads and lacks:
        raise ValueError(
            f"rule {spec_of(live.rule)!r} needs Q values, which this reasoner does not give; use a rule "
            "without them, such as 'stable:2' or 'confidence:0.9'"
        )


def _thinking_space(space: spaces.Space[Any], max_segments: int, size: int | None) -> spaces.Dict:
    """The environment's observation space, and the parts that `_show` adds."""
    added: dict[str, spaces.Space[Any]] = {"segment": spaces.Discrete(max_segments + 1)}
    if size is not None:
        added["thought"] = spaces.Box(-np.inf, np.inf, (size,), np.float32)
    # A Dict keeps its keys, since Stable-Baselines3 refuses nested Dicts.
    inner = dict(space.spaces) if isinstance(space, spaces.Dict) else {"observation": space}
    taken = sorted(inner.keys() & added.keys())
    if taken:
        raise ValueError(
            f"the observation already has {', '.join(map(repr, taken))}, which thinking adds; rename it "
            "with gymnasium.wrappers.TransformObservation"
        )
    return spaces.Dict({**inner, **added})
