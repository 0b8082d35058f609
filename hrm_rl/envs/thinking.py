"""Thinking inside any environment of Discrete actions: as one action more, or until a rule says stop.

    env = ThinkingWrapper(gym.make("CartPole-v1"), max_segments=4, segment_cost=0.01)
    env = HaltedThinking(gym.make("CartPole-v1"), reasoner, "stable:2", max_segments=8)

While the agent thinks the world stands still: the inner environment, and any TimeLimit in it, sees
real steps only.
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
from hrm_rl.halting.rules import (
    Act,
    HaltingRule,
    Ponder,
    Q,
    QHalt,
    needs_of,
    parts_of,
    spec_of,
    stops_of,
)
from hrm_rl.halting.rules.spec import parse_rule
from hrm_rl.hashing import as_keys, stream

StepReturn = tuple[dict[str, Any], SupportsFloat, bool, bool, dict[str, Any]]


class Thought(NamedTuple):
    """What one segment of a reasoner leaves, for one observation.

    To a rule for stopping this is a segment whose draft is one cell, the action, with the A actions as
    its classes.
    """

    carry: States
    """What the next segment goes on from; its z_H and z_L are [1, T, D]."""
    logits: Tensor
    """[1, 1, A]: how good each action looks, in the order of the action space."""
    q_halt: Tensor
    """[1]: value of acting now; NaN where the reasoner does not judge itself."""
    q_continue: Tensor
    """[1]: value of thinking on; NaN as above."""
    latent: NDArray[np.float32]
    """[D]: what the policy is shown of it."""


class Reasoner(Protocol):
    """What thinks about an observation, a segment a call. `hrm_rl.agents.reasoner` has an HRM.

    The caller keeps the carry, so that one reasoner may serve many environments.
    """

    @property
    def latent_size(self) -> int: ...  # D

    def think(self, observation: Any, carry: Any = None) -> Thought:
        """One segment about one observation, unbatched; without a carry, the first."""
        ...


class ThinkingWrapper(
    gym.Wrapper[dict[str, Any], Any, Any, Any],
    gym.utils.RecordConstructorArgs,
):
    """One action more, after the environment's own: think.

    Thinking costs `segment_cost` and leaves everything else as it was: the same observation comes back,
    with one more thought counted. Whoever thinks is

    - the policy itself (no `reasoner`): one that runs as many segments as `segment` says, or one that
      carries its state from step to step;
    - a `reasoner`: each thought is a segment of it, and the observation shows the last one's latent.

    Observation: a Dict of the environment's (under its own keys if it is a Dict, else as `observation`),
    `segment`, the thoughts so far on this observation, and with a reasoner `thought`, float32 [D], zero
    before the first. Reward: the environment's, and -segment_cost for a thought. Info: `thoughts`, on the
    observation that this step's action answers (a thought counts itself); `episode_thoughts` at the end.

    Args:
        env: of Discrete actions. An episode has up to max_segments thoughts for every step of it.
        reasoner: what thinks, if not the policy.
        max_segments: thoughts at most on one observation.
        segment_cost: of a thought, in the environment's unit of reward.
        fallback: the action that "think" stands for where no thought is left; the first by default.

    Raises:
        ValueError: other actions than Discrete, a setting out of range, an observation whose own keys
            are the names that would be added.
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
        gym.utils.RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,  # a reasoner holds a network
            reasoner=reasoner,
            max_segments=max_segments,
            segment_cost=segment_cost,
            fallback=fallback,
        )
        gym.Wrapper.__init__(self, env)
        actions = _discrete(env.action_space)
        _check_settings(max_segments, segment_cost)
        first, last = int(actions.start), int(actions.start + actions.n) - 1
        if fallback is not None and not first <= fallback <= last:
            raise ValueError(
                f"fallback={fallback} is no action of the environment: {first}..{last}"
            )
        self.reasoner = reasoner
        self.max_segments = max_segments
        self.segment_cost = segment_cost
        self.fallback = first if fallback is None else fallback
        self.think_action = last + 1
        size = None if reasoner is None else reasoner.latent_size
        self.observation_space = _thinking_space(env.observation_space, max_segments, size)
        self.action_space = spaces.Discrete(int(actions.n) + 1, start=first)
        self._observation: Any = None  # None: no episode is running
        self._thoughts = self._episode_thoughts = 0
        self._last: Thought | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset the environment; nothing is thought yet."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._thoughts = self._episode_thoughts = 0
        self._last = None
        return self._show(), {**info, "thoughts": 0}

    def step(self, action: Any) -> StepReturn:
        """Think, or act in the environment."""
        if action == self.think_action:
            if self._thoughts < self.max_segments:
                return self._think()
            action = self.fallback
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, "thoughts": self._thoughts}
        if terminated or truncated:
            info["episode_thoughts"] = self._episode_thoughts
        self._observation, self._thoughts, self._last = observation, 0, None
        shown = self._show()
        if terminated or truncated:
            self._observation = None
        return shown, reward, terminated, truncated, info

    def _think(self) -> StepReturn:
        if self._observation is None:
            raise ResetNeeded("call reset() first: there is no observation to think about")
        if self.reasoner is not None:
            carry = None if self._last is None else self._last.carry
            self._last = self.reasoner.think(self._observation, carry)
        self._thoughts += 1
        self._episode_thoughts += 1
        return self._show(), -self.segment_cost, False, False, {"thoughts": self._thoughts}

    def _show(self) -> dict[str, Any]:
        latent = None
        if self.reasoner is not None:
            zeros = np.zeros(self.reasoner.latent_size, dtype=np.float32)
            latent = zeros if self._last is None else self._last.latent
        return _observe(self._observation, self._thoughts, latent)


class HaltedThinking(
    gym.Wrapper[dict[str, Any], Any, Any, Any],
    gym.utils.RecordConstructorArgs,
):
    """A reasoner thinks about every observation until a rule says stop; the actions are as they were.

    Observation: that of `ThinkingWrapper` with a reasoner, `segment` segments having been run (at least
    one). Reward: the environment's minus `segment_cost` for every segment on the observation that the
    action answers, so that a return is exact. Info: `reasoner_action`, the action that the reasoner would
    take on the observation returned; `thoughts`, on the observation answered, and `episode_thoughts`.

    Args:
        env: of Discrete actions.
        reasoner: what thinks.
        rule: when it stops, a rule or its spec string (`q`, `stable:2`, `min(2, confidence:0.9)`, ...).
            With one that recalls, what is shown is the thought of the largest score.
        max_segments: it stops there in any case.
        segment_cost: of a segment, in the environment's unit of reward.

    Raises:
        ValueError: as `ThinkingWrapper`; a rule that decides in hindsight; when thinking, a rule that asks
            for Q values where the reasoner gives none.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        reasoner: Reasoner,
        rule: HaltingRule | str = "q",
        *,
        max_segments: int = 8,
        segment_cost: float = 0.0,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,
            reasoner=reasoner,
            rule=rule,
            max_segments=max_segments,
            segment_cost=segment_cost,
        )
        gym.Wrapper.__init__(self, env)
        self._first = int(_discrete(env.action_space).start)
        _check_settings(max_segments, segment_cost)
        self.reasoner = reasoner
        self.rule = parse_rule(rule) if isinstance(rule, str) else rule
        if "future" in needs_of(self.rule):
            raise ValueError(
                f"rule {spec_of(self.rule)!r} decides in hindsight: it runs on a trace bank, not live"
            )
        self.max_segments = max_segments
        self.segment_cost = segment_cost
        space = _thinking_space(env.observation_space, max_segments, reasoner.latent_size)
        self.observation_space = space
        self._pooled = "pooled_z_H" in needs_of(self.rule)
        self._recalls = bool(getattr(self.rule, "recalls", False))
        self._seed = self._counter = 0
        self._thoughts = self._episode_thoughts = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reset the environment and think about what it shows. `seed` also seeds `random:p`."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self._seed, self._counter = seed, 0
        self._episode_thoughts = 0
        shown, action = self._think(observation)
        return shown, {**info, "thoughts": 0, "reasoner_action": action}

    def step(self, action: Any) -> StepReturn:
        """Act, and think about what follows."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        paid, self._episode_thoughts = self._thoughts, self._episode_thoughts + self._thoughts
        info = {**info, "thoughts": paid}
        if terminated or truncated:
            info["episode_thoughts"] = self._episode_thoughts
        # The last observation is thought about, too: where an episode is cut short it is bootstrapped from.
        shown, info["reasoner_action"] = self._think(observation)
        return shown, float(reward) - self.segment_cost * paid, terminated, truncated, info

    def _think(self, observation: Any) -> tuple[dict[str, Any], int]:
        """Think until the rule says stop: what is shown, and the reasoner's own action."""
        self._counter += 1
        key = stream(as_keys([self._seed], torch.device("cpu")), self._counter)
        thought = best = self.reasoner.think(observation)
        if self._counter == 1:
            _check_q(self.rule, self._recalls, thought)
        memory = Memory.blank(1, 1, thought.logits.shape[-1], thought.logits.device)
        before, key, best_score = thought.carry, key.to(thought.logits.device), -math.inf
        self._thoughts = 1
        while True:
            features, memory = segment_features(memory, before, thought, key, pooled=self._pooled)
            score = float(self.rule.score(features)) if self._recalls else math.inf  # type: ignore[attr-defined]
            if score > best_score or not self._recalls:
                best, best_score = thought, score
            if self._thoughts == self.max_segments or bool(stops_of(self.rule, features)):
                break
            before = thought.carry
            thought = self.reasoner.think(observation, before)
            self._thoughts += 1
        action = self._first + int(best.logits.argmax())
        return _observe(observation, self._thoughts, best.latent), action


def _discrete(space: spaces.Space[Any]) -> spaces.Discrete:
    if isinstance(space, spaces.Discrete):
        return space
    remedy = (
        "for a MultiDiscrete, number its combinations with gymnasium.wrappers.TransformAction"
        if isinstance(space, spaces.MultiDiscrete)
        else "choose a few actions and number them with gymnasium.wrappers.TransformAction"
    )
    raise ValueError(f"thinking wants Discrete actions, got {space}; {remedy}")


def _check_settings(max_segments: int, segment_cost: float) -> None:
    if isinstance(max_segments, bool) or not isinstance(max_segments, int) or max_segments < 1:
        raise ValueError(f"max_segments must be an integer >= 1, got {max_segments!r}")
    if not 0 <= segment_cost < math.inf:
        raise ValueError(f"segment_cost must be a number >= 0, got {segment_cost}")


def _check_q(rule: HaltingRule, recalls: bool, thought: Thought) -> None:
    """Comparisons with NaN are never true: such a rule would silently run to the limit."""
    kinds = [type(part) for part in parts_of(rule)]
    asks = recalls or any(kind in (Q, QHalt, Act, Ponder) for kind in kinds)
    lacks = bool(thought.q_halt.isnan()) or (Q in kinds and bool(thought.q_continue.isnan()))
    if asks and lacks:
        raise ValueError(
            f"rule {spec_of(rule)!r} asks for Q values, and this reasoner gives none; "
            "'stable:2' or 'confidence:0.9', say, need none"
        )


def _thinking_space(space: spaces.Space[Any], max_segments: int, size: int | None) -> spaces.Dict:
    """The environment's observation, and what `_observe` adds."""
    added: dict[str, spaces.Space[Any]] = {"segment": spaces.Discrete(max_segments + 1)}
    if size is not None:
        added["thought"] = spaces.Box(-np.inf, np.inf, (size,), np.float32)
    # Nested Dicts are refused by Stable-Baselines3, so a Dict keeps its keys.
    own = dict(space.spaces) if isinstance(space, spaces.Dict) else {"observation": space}
    taken = sorted(own.keys() & added.keys())
    if taken:
        raise ValueError(
            f"the observation already has {', '.join(map(repr, taken))}, which thinking adds; rename it "
            "with gymnasium.wrappers.TransformObservation"
        )
    return spaces.Dict({**own, **added})


def _observe(observation: Any, thoughts: int, latent: NDArray[np.float32] | None) -> dict[str, Any]:
    """A copy of its own each time, as the same observation is shown again and again."""
    own = observation if isinstance(observation, dict) else {"observation": observation}
    shown = {**copy.deepcopy(own), "segment": np.int64(thoughts)}
    if latent is not None:
        shown["thought"] = latent.copy()
    return shown
