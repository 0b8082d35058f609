"""PQN with an HRM: it learns what to do and, without labels, how long to think before it does it.

The algorithm is that of `hrm_rl.agents.pqn` (arXiv 2407.04811), on observations of any kind. The
action values of several segments regress on the same lambda return. Halting at segment k is worth
Q_halt_k = max_a Q_k(s, a), and thinking on is learned from the next segment of the same observation,

    Q_continue_k <- -segment_cost + gamma_think * max(Q_halt_{k+1}, Q_continue_{k+1}),

Q_halt alone at the last segment; mean squared errors both. Thinking is an action that costs and leads
to another state of mind, so this is Q-learning of it (as in arXiv 2506.21734, section 2, but from
rewards, without labels): nobody says which observations need thought.

The return of a step teaches the segment that it halted with and those after, and all of them where
the action was drawn at random. Earlier ones learn instead what the segment that acted says of every
action. The return itself would mislead them: they see that an action paid, not that it was chosen by
someone who knew more, and would find themselves worth halting at, act worse, and learn to think again.

    envs = ToTorch(gym.make_vec("CartPole-v1", 16, "sync", {"autoreset_mode": "SameStep"}))
    network = train_hrm(envs, HRMPQNConfig(total_steps=200_000), seed=0)
    print(evaluate(network, envs, episodes=100))
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from hrm_rl.agents.pqn import (
    QLearningConfig,
    Rollout,
    count_actions,
    explore_and_tell,
    lambda_returns,
)
from hrm_rl.agents.pqn.q_network import HRMQNetwork, ThinkingConfig, Thought, Values
from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.model import CoreConfig
from hrm_rl.model.recurrence import Carry


@dataclass(frozen=True)
class HRMPQNConfig(QLearningConfig):
    """Settings of PQN with an HRM."""

    core: CoreConfig = field(default_factory=CoreConfig)
    """The network's architecture."""
    thinking: ThinkingConfig = field(default_factory=ThinkingConfig)
    """Halting, its costs, and the carry between steps."""
    value_scale: float = 1.0
    """About the largest return there is. The network's heads speak in units of it, and the loss in its
    square: states have unit mean square, and heads take long to reach values far from 1."""


class HRMRollout(NamedTuple):
    """T steps of B environments, and the thought before each."""

    steps: Rollout
    segments: Tensor  # [T, B] int64: run before the action
    drawn: Tensor  # [T, B] bool: the action was drawn at random
    carry: Carry | None  # [T, B, tokens, D]: what thinking began from; None where always afresh
    ended: Tensor  # [T, B] bool
    ended_return: Tensor  # [T, B]: of the episodes that ended, as the environments tell it


class Lesson(NamedTuple):
    """What is learned from B steps."""

    action: Tensor  # [B]: what was done
    target: Tensor  # [B]: its return
    segments: Tensor  # [B]: those run before
    told: Tensor  # [B, K] bool: the segments that the return teaches


Report = Callable[[int, HRMQNetwork, dict[str, Tensor]], None]
"""`report(steps so far, network, metrics)`, after each update; metrics are tensors on the device:
loss, reward, value, segments, and episode_return (NaN where no episode ended)."""


def train_hrm(
    envs: VectorEnv,
    config: HRMPQNConfig | None = None,
    *,
    seed: int = 0,
    network: HRMQNetwork | None = None,
    report: Report | None = None,
) -> HRMQNetwork:
    """Learn the values of actions, and of thinking; the same seed, the same network.

    A rollout keeps rollout * num_envs observations on the device, and with `carry="keep"` as many
    carries, of 2 * tokens * hidden_size numbers each.

    Args:
        envs: returns tensors (ours, or `ToTorch`); Discrete actions, SAME_STEP autoreset.
        config: settings.
        seed: of the network, the exploration, the minibatches and the environments.
        network: learns on, with its own `core`, `thinking` and `value_scale`.
        report: called after each update.

    Raises:
        ValueError: environments of another kind, or observations that the network does not take.
    """
    config = config or HRMPQNConfig()
    actions = count_actions(envs)
    device = torch.device(getattr(envs, "device", "cpu"))
    if network is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = HRMQNetwork(
                envs.single_observation_space,
                actions,
                config.core,
                config.thinking,
                value_scale=config.value_scale,
            )
    check_fits(network, envs)
    network.to(device)
    optimizer = torch.optim.RAdam(network.parameters(), lr=config.lr)
    generator = torch.Generator(device).manual_seed(seed)
    obs, carry = _first_obs(envs, seed), network.initial_carry(envs.num_envs)
    steps_an_update = config.rollout * envs.num_envs
    updates = max(1, config.total_steps // steps_an_update)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - update / updates)
        epsilon = config.epsilon(update / updates)
        rollout, obs, carry = play(envs, network, obs, carry, config.rollout, epsilon, generator)
        target = thinking_returns(rollout, config, network.thinking)
        loss = _learn(network, optimizer, rollout, target, config, generator)
        if report is not None:
            metrics = _metrics(rollout, target) | {"loss": loss}
            report((update + 1) * steps_an_update, network, metrics)
    return network


@torch.no_grad()
def play(
    envs: VectorEnv,
    network: HRMQNetwork,
    obs: Any,
    carry: Carry,
    length: int,
    epsilon: float,
    generator: torch.Generator,
) -> tuple[HRMRollout, Any, Carry]:
    """`length` steps of every environment, each acting on the values of the segment it halted with.

    Args:
        envs, network: who plays.
        obs: where they stand.
        carry: what thinking about `obs` begins from; looked at with `carry="keep"` only.
        length: steps.
        epsilon: for each environment by itself, the probability of a random action and, drawn
            apart, of a random number of segments.
        generator: of the draws.

    Returns the steps, and obs and carry to go on from.
    """
    keep = network.thinking.carry == "keep"

    def think(obs: Any, carry: Carry, epsilon: float = 0.0) -> Thought:
        start = carry if keep else None
        return network.think(obs, start, epsilon=epsilon, generator=generator)

    thought, columns = think(obs, carry, epsilon), []
    for _ in range(length):
        action, drawn = explore_and_tell(thought.q_action, epsilon, generator)
        seen, segments, began = map_tensors(torch.clone, obs), thought.segments, carry
        obs, reward, terminated, truncated, info = envs.step(action)
        cut, ended = truncated & ~terminated, truncated | terminated
        last, carry = thought.carry, network.reset(thought.carry, ended)
        thought = think(obs, carry, epsilon)
        value = thought.value
        # Where an episode was cut, obs is of the next one already. On a CPU it costs nothing to ask.
        if cut.device.type != "cpu" or cut.any():
            value = torch.where(cut, think(_final_obs(info), last).value, value)
        step = Rollout(seen, action, reward.float(), terminated, value, cut)
        paid = info["episode"]["r"] if "episode" in info else torch.full_like(value, torch.nan)
        columns.append(HRMRollout(step, segments, drawn, began if keep else None, ended, paid))
    return _stack(columns), obs, carry


def thinking_returns(
    rollout: HRMRollout, config: QLearningConfig, thinking: ThinkingConfig
) -> Tensor:
    """Lambda returns [T, B] of each step's action, what it thinks later paid for.

    What was thought before the action itself is not in it: at the segment that acts, that is spent.
    """
    tolls, shrinks = (
        torch.tensor(numbers, device=rollout.segments.device)[rollout.segments - 1]
        for numbers in thinking.tolls()
    )
    return lambda_returns(rollout.steps, config.gamma, config.trace, tolls, shrinks)


def continue_targets(values: Values, thinking: ThinkingConfig) -> Tensor:
    """What thinking on after segments 1..K-1 is worth by what the segment after says, [B, K - 1]."""
    halt, go_on = values.q_action.detach().amax(-1), values.q_continue.detach()
    following = torch.cat([torch.maximum(halt, go_on)[:, 1:-1], halt[:, 1:][:, -1:]], 1)
    return thinking.gamma_think * following - thinking.segment_cost


def check_fits(network: HRMQNetwork, envs: VectorEnv) -> None:
    """Raises ValueError where the environments have other observations or actions."""
    actions = count_actions(envs)
    if actions != network.actions:
        raise ValueError(f"the network has {network.actions} actions, the environments {actions}")
    network.check_space(envs.single_observation_space)


@dataclass(frozen=True)
class Evaluation:
    """Episodes played greedily."""

    returns: np.ndarray  # float64 [episodes], as the environments paid
    lengths: np.ndarray  # int64 [episodes], in steps
    mean_segments: float  # a step


@torch.no_grad()
def evaluate(
    network: HRMQNetwork, envs: VectorEnv, episodes: int = 100, seed: int | None = None
) -> Evaluation:
    """Play whole episodes greedily; every environment plays its share, rounded up.

    (Were the first to end taken instead, short episodes would be more than their share.)

    Args:
        network: thinks and acts.
        envs: returns tensors; SAME_STEP autoreset.
        episodes: at least so many.
        seed: of the environments.

    Raises:
        ValueError: environments of another kind, or observations that the network does not take.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be >= 1, got {episodes}")
    check_fits(network, envs)
    rows, share = envs.num_envs, -(-episodes // envs.num_envs)
    obs, carry = _first_obs(envs, seed), network.initial_carry(rows)
    counts, current = np.zeros(rows, int), np.zeros((2, rows))
    returns, lengths, segments = [], [], []
    while (counts < share).any():
        start = carry if network.thinking.carry == "keep" else None
        thought = network.think(obs, start, stop_early=True)
        obs, reward, terminated, truncated, _ = envs.step(thought.q_action.argmax(-1))
        counted = counts < share
        segments.append(thought.segments.cpu().numpy()[counted])
        current += np.stack([reward.cpu().numpy(), np.ones(rows)])
        carry = network.reset(thought.carry, terminated | truncated)
        over = (terminated | truncated).cpu().numpy()
        returns.append(current[0, over & counted])
        lengths.append(current[1, over & counted])
        counts += over
        current[:, over] = 0
    mean = float(np.concatenate(segments).mean())
    return Evaluation(np.concatenate(returns), np.concatenate(lengths).astype(np.int64), mean)


def _learn(
    network: HRMQNetwork,
    optimizer: torch.optim.Optimizer,
    rollout: HRMRollout,
    target: Tensor,
    config: QLearningConfig,
    generator: torch.Generator,
) -> Tensor:
    """A few epochs of minibatch steps towards the targets; the mean loss."""
    obs = map_tensors(lambda t: t.flatten(0, 1), rollout.steps.obs)
    carry = rollout.carry and Carry(*(t.flatten(0, 1) for t in rollout.carry))
    told = told_by_return(rollout, network.thinking.segments)
    columns = (rollout.steps.action, target, rollout.segments, told)
    lesson = Lesson(*(column.flatten(0, 1) for column in columns))
    losses = []
    for _ in range(config.epochs):
        order = torch.randperm(len(lesson.action), generator=generator, device=target.device)
        for rows in order.chunk(config.minibatches):
            start = carry and Carry(*(t[rows] for t in carry))
            values = network(map_tensors(lambda t, rows=rows: t[rows], obs), start)
            part = Lesson(*(column[rows] for column in lesson))
            loss = thinking_loss(values, part, network.thinking) / network.value_scale**2
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses).mean()


def told_by_return(rollout: HRMRollout, segments: int) -> Tensor:
    """Which of K segments the return of each step teaches, bool [T, B, K]; why, is said above."""
    number = torch.arange(1, segments + 1, device=rollout.segments.device)
    return (number >= rollout.segments[..., None]) | rollout.drawn[..., None]


def thinking_loss(values: Values, lesson: Lesson, thinking: ThinkingConfig) -> Tensor:
    """Half the mean squared error of the actions' values and, if that is learned, of thinking on."""
    segments = values.q_action.shape[1]
    taken = lesson.action[:, None, None].expand(-1, segments, 1)
    by_return = values.q_action.gather(2, taken)[..., 0] - lesson.target[:, None]  # [B, K]
    row = torch.arange(len(lesson.action), device=lesson.action.device)
    acted = values.q_action.detach()[row, lesson.segments - 1]  # [B, A]
    by_acted = values.q_action - acted[:, None]  # [B, K, A]
    error = torch.where(lesson.told, by_return.square(), by_acted.square().mean(-1))
    loss = 0.5 * error.mean()
    if thinking.learned and segments > 1:
        error = values.q_continue[:, :-1] - continue_targets(values, thinking)
        loss = loss + 0.5 * error.square().mean()
    return loss


def _first_obs(envs: VectorEnv, seed: int | None) -> Any:
    obs, _ = envs.reset(seed=seed)
    found: list[Any] = []
    map_tensors(found.append, obs)
    if not all(isinstance(leaf, Tensor) for leaf in found):
        raise ValueError(f"{type(envs).__name__} returns no tensors: wrap it in ToTorch")
    return obs


def _final_obs(info: dict[str, Any]) -> Any:
    if "final_obs" not in info:
        raise ValueError("the environments cut episodes short, but give no info['final_obs']")
    return info["final_obs"]


def _stack(columns: list[HRMRollout]) -> HRMRollout:
    steps, segments, drawn, carry, *ended = zip(*columns, strict=True)
    obs, *others = zip(*steps, strict=True)
    played = Rollout(map_tensors(lambda *t: torch.stack(t), *obs), *map(torch.stack, others))
    carries = None if carry[0] is None else Carry(*map(torch.stack, zip(*carry, strict=True)))
    return HRMRollout(
        played, torch.stack(segments), torch.stack(drawn), carries, *map(torch.stack, ended)
    )


def _metrics(rollout: HRMRollout, target: Tensor) -> dict[str, Tensor]:
    returns = torch.where(rollout.ended, rollout.ended_return, 0.0)
    return {
        "reward": rollout.steps.reward.mean(),
        "value": target.mean(),
        "segments": rollout.segments.float().mean(),
        "episode_return": returns.sum() / rollout.ended.sum(),
    }
