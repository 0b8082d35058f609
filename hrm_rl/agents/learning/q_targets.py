"""Targets of Q_continue, the value of thinking on. Source: paper, section 2, ACT.

A rule returns the loss of Q_continue for each row and step. `full` is the paper's: one more segment,
without gradient, from the current carry. The others compute less:

| spec | target | extra segments per step |
| --- | --- | --- |
| `full` | next segment's own Q values, every row | all rows |
| `every:K` | the same, every K-th step, weight K | all rows, every K-th step |
| `subsample:P` | the same, on a rotating share P of the rows, weight 1/P | P of the rows |
| `delayed` | the Q values that the next step computes anyway; trains the Q head only | none |
| `lambda:L` | lambda-returns over the segments of an episode; trains the Q head only | none |
| `none` | none: Q_continue is not learned, and halting is q_halt > 0 | none |
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hrm_rl.agents.learning.losses import q_loss
from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.model import ReasoningModel, SegmentOutput
from hrm_rl.settings import SettingError

Q_TARGETS = ("full", "none", "every:K", "subsample:P", "delayed", "lambda:L")


class Experience(NamedTuple):
    """The part of a training step that target rules read."""

    model: ReasoningModel
    out: SegmentOutput
    inputs: Tensor  # [B, S]
    puzzle_identifiers: Tensor  # [B]
    segments: Tensor  # [B]: segments run, this one included
    ended: Tensor  # [B] bool
    right: Tensor  # [B] bool: the return of halting here
    step: int | Tensor
    """A tensor if the step is recorded for replays; only `every:K`, K > 1, needs the number."""

    def take(self, rows: Tensor) -> "Experience":
        """The experience of these rows, int64 [K]."""
        taken = map_tensors(lambda t: t[rows], self[1:-1])
        return Experience._make((self.model, *taken, self.step))

    @property
    def last(self) -> Tensor:
        """Rows that may not think on, bool [B]."""
        return self.segments >= self.model.config.halt_max_steps


class ContinueLoss(NamedTuple):
    """Losses to add up over rows, and the targets (0 without one). Both [B]."""

    loss: Tensor
    target: Tensor


def price(value: Tensor, gamma: float = 1.0, segment_cost: float = 0.0) -> Tensor:
    """The value one segment earlier: `clamp(gamma value - segment_cost, 0, 1)`."""
    if gamma == 1.0 and segment_cost == 0.0:
        return value
    return (gamma * value - segment_cost).clamp(0.0, 1.0)


def continue_target(
    next_q_halt: Tensor, next_q_continue: Tensor, last: Tensor, gamma: float = 1.0, segment_cost: float = 0.0
) -> Tensor:
    """The value of running another segment, [B] in [0, 1], priced as in `price`.

    `next_*` are the Q logits one segment later, from the carry before any reset. Rows of `last` can
    only halt: `sigmoid(next_q_halt)`. Others take the better of both.
    """
    best = torch.where(last, next_q_halt, torch.maximum(next_q_halt, next_q_continue))
    return price(best.sigmoid(), gamma, segment_cost)


@dataclass
class TargetRule:
    """`none`: Q_continue is not learned. The base of the other rules."""

    gamma: float = 1.0
    segment_cost: float = 0.0
    memory: tuple[Tensor, ...] | None = field(default=None, init=False)
    """Tensors of earlier steps."""
    row_dim: ClassVar[int] = 0
    """The dimension of their rows."""

    def check_ranks(self, rows: int, count: int) -> None:
        """Raise ValueError if `count` ranks of `rows` rows each would not compute as one process."""

    def __call__(self, now: Experience) -> ContinueLoss:
        """The loss of Q_continue in a training step."""
        zeros = torch.zeros_like(now.out.q_halt)
        return ContinueLoss(zeros, zeros)

    def target(self, q_halt: Tensor, q_continue: Tensor, last: Tensor) -> Tensor:
        """`continue_target` at the rule's prices."""
        return continue_target(q_halt, q_continue, last, self.gamma, self.segment_cost)


@dataclass
class Bootstrap(TargetRule):
    """`full`, `every:K` and `subsample:P`: a second, gradient-free segment on some rows or steps."""

    every: int = 1
    share: float = 1.0

    def check_ranks(self, rows: int, count: int) -> None:
        if self._window(rows * count) != self._window(rows) * count:
            raise SettingError(
                f"q_target subsample:{self.share:g} takes {self._window(rows * count)} of the {rows * count} "
                f"rows at a step, which {count} ranks cannot divide: P x batch_size must be a multiple",
                "q_target",
            )

    def _window(self, rows: int) -> int:
        """The number of rows, of `rows`, that have a target at a step."""
        return max(1, round(rows * self.share))

    def __call__(self, now: Experience) -> ContinueLoss:
        if self.every > 1 and now.step % self.every:
            return super().__call__(now)
        if self.share == 1.0:
            target = self._next_value(now)
            return ContinueLoss(q_loss(now.out.q_continue, target) * self.every, target)
        # A window of rows that moves every step, so that every row is in it equally often.
        batch = now.inputs.shape[0]
        count = self._window(batch)
        rows = torch.arange(count, device=now.inputs.device) + now.step * count
        rows = rows % batch
        target = self._next_value(now.take(rows))
        loss = q_loss(now.out.q_continue[rows], target) * (batch / count)
        zeros = torch.zeros_like(now.out.q_halt)
        return ContinueLoss(zeros.index_copy(0, rows, loss), zeros.index_copy(0, rows, target))

    @torch.no_grad()
    def _next_value(self, now: Experience) -> Tensor:
        values = now.model.next_q_values(now.out.carry, now.inputs, now.puzzle_identifiers)
        return self.target(*values, now.last)


@dataclass
class Delayed(TargetRule):
    """`delayed`: the segment that the next step runs anyway gives the target, one step late.

    The Q head's input is kept, so the gradient reaches the head only. Rows that ended have no next
    segment and have loss 0.
    """

    def __call__(self, now: Experience) -> ContinueLoss:
        loss, target = super().__call__(now)
        if self.memory is not None:
            state, going_on = self.memory
            seen = self.target(now.out.q_halt.detach(), now.out.q_continue.detach(), now.last)
            target = torch.where(going_on, seen, 0.0)
            _, q_continue = now.model.q_values(state)
            loss = torch.where(going_on, q_loss(q_continue, target), 0.0)
        self.memory = (now.out.carry.z_H[:, 0], ~now.ended)
        return ContinueLoss(loss, target)


@dataclass
class LambdaReturn(TargetRule):
    """`lambda:L`: when an episode ends, each of its segments learns from all later ones.

    With m the better Q value one segment later and r the return of the final draft,
    `G_t = price((1 - L) m_{t+1} + L G_{t+1})`, and `G_{T-1} = price((1 - L) m_T + L r)`: L = 0 is
    one-step bootstrapping, L = 1 the outcome itself. Uncorrected for exploration, as Peng's Q(lambda)
    (Peng and Williams 1996). The Q head's input is kept, so the gradient reaches the head only.
    """

    mix: float = 0.0
    row_dim: ClassVar[int] = 1

    def __call__(self, now: Experience) -> ContinueLoss:
        limit = now.model.config.halt_max_steps
        state = now.out.carry.z_H[:, 0]
        batch, width = state.shape
        if self.memory is None:
            q_values = now.out.q_halt.new_zeros(limit, batch)
            self.memory = (state.new_zeros(limit, batch, width), q_values)
        rows = torch.arange(batch, device=state.device)
        at = (now.segments - 1).clamp(max=limit - 1)
        better = continue_target(now.out.q_halt.detach(), now.out.q_continue.detach(), now.last)
        states = self.memory[0].index_put((at, rows), state)
        values = self.memory[1].index_put((at, rows), better)
        self.memory = (states, values)

        loss, target = super().__call__(now)
        _, q_continue = now.model.q_values(states)  # [M, B]
        after = now.right.to(values.dtype)
        for t in range(limit - 2, -1, -1):
            # Rows whose episode ended at segment t + 2 or later have a segment after this one.
            value = (1 - self.mix) * values[t + 1] + self.mix * after
            here = now.ended & (now.segments >= t + 2)
            target = torch.where(here, price(value, self.gamma, self.segment_cost), target)
            loss = loss + torch.where(here, q_loss(q_continue[t], target), 0.0)
            after = torch.where(here, target, after)
        return ContinueLoss(loss, target)


def target_rule(spec: str, gamma: float = 1.0, segment_cost: float = 0.0) -> TargetRule:
    """The rule of a spec such as `full`, `subsample:0.125` or `lambda:0.9`.

    Raises ValueError naming the spec and what is accepted.
    """
    name, _, argument = spec.partition(":")
    plain = {"full": Bootstrap, "delayed": Delayed, "none": TargetRule}
    if name in plain and not argument:
        return plain[name](gamma, segment_cost)
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if name == "every" and value >= 1 and value.is_integer():
        return Bootstrap(gamma, segment_cost, every=int(value))
    if name == "subsample" and 0 < value <= 1:
        return Bootstrap(gamma, segment_cost, share=value)
    if name == "lambda" and 0 <= value <= 1:
        return LambdaReturn(gamma, segment_cost, mix=value)
    raise SettingError(
        f"q_target must be one of {', '.join(Q_TARGETS)} (K an integer >= 1, P in (0, 1], L in [0, 1]), "
        f"got {spec!r}",
        "q_target",
    )


def extra_segments(spec: str) -> float:
    """Segments that a rule adds to a training step's own, on average: 1 for the paper's `full`.

    Raises ValueError as `target_rule`.
    """
    rule = target_rule(spec)
    return rule.share / rule.every if isinstance(rule, Bootstrap) else 0.0
