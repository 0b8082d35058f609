"""Targets of Q_continue, the value of thinking on. Source: paper, section 2, ACT.

A rule returns the loss of Q_continue, one number a row and step. `full` is the paper's: one more segment,
without gradient, from the carry just reached. The others compute less:

| spec | target | a step's extra segments |
| --- | --- | --- |
| `full` | next segment's own Q values, every row | all rows |
| `every:K` | the same, every K-th step, weight K | all rows, every K-th step |
| `subsample:P` | the same, on a rotating share P of the rows, weight 1/P | P of the rows |
| `delayed` | the Q values that the next step computes anyway; trains the Q head only | none |
| `lambda:L` | lambda-returns over the segments of an episode; trains the Q head only | none |
| `none` | none: Q_continue is not learned, and halting is q_halt > 0 | none |
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hrm_rl.agents.learning.losses import q_loss
from hrm_rl.model import HRM, SegmentOutput
from hrm_rl.settings import SettingError

Q_TARGETS = ("full", "none", "every:K", "subsample:P", "delayed", "lambda:L")


class Experience(NamedTuple):
    """The part of a training step that target rules read."""

    model: HRM
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
        out = self.out
        others = (t[rows] for t in (out.logits, out.q_halt, out.q_continue))
        taken = SegmentOutput(out.carry.take(rows), *others)
        inputs, ids, segments, ended, right = (t[rows] for t in self[2:7])
        return Experience(self.model, taken, inputs, ids, segments, ended, right, self.step)

    @property
    def last(self) -> Tensor:
        """Rows that may not think on, bool [B]."""
        return self.segments >= self.model.config.halt_max_steps


class ContinueLoss(NamedTuple):
    """Losses to add up over rows, and the targets (0 without one). Both [B]."""

    loss: Tensor
    target: Tensor


class TargetRule(Protocol):
    """Computes the loss of Q_continue from a training step; may keep tensors of earlier steps in `memory`."""

    memory: tuple[Tensor, ...] | None

    def __call__(self, now: Experience, /) -> ContinueLoss: ...


@dataclass(frozen=True)
class Pricing:
    """The target for a value one segment ahead: `clamp(gamma value - segment_cost, 0, 1)`."""

    gamma: float = 1.0
    segment_cost: float = 0.0

    def __call__(self, value: Tensor) -> Tensor:
        if self.gamma == 1.0 and self.segment_cost == 0.0:
            return value
        return (self.gamma * value - self.segment_cost).clamp(0.0, 1.0)


def continue_target(
    next_q_halt: Tensor,
    next_q_continue: Tensor,
    last: Tensor,
    gamma: float = 1.0,
    segment_cost: float = 0.0,
) -> Tensor:
    """The value of running another segment, [B] in [0, 1].

    `next_*` are the Q logits one segment later, from the carry before any reset. Rows of `last` can
    only halt: `sigmoid(next_q_halt)`. Others take the better of both. A cost of segments gives
    `clamp(gamma * value - segment_cost, 0, 1)`.
    """
    best = torch.where(last, next_q_halt, torch.maximum(next_q_halt, next_q_continue))
    return Pricing(gamma, segment_cost)(best.sigmoid())


class Bootstrap:
    """`full`, `every:K` and `subsample:P`: a second, gradient-free segment on some rows or steps."""

    def __init__(self, pricing: Pricing, every: int = 1, share: float = 1.0) -> None:
        self.pricing, self.every, self.share = pricing, every, share
        self.memory: tuple[Tensor, ...] | None = None

    def __call__(self, now: Experience) -> ContinueLoss:
        if self.every > 1 and now.step % self.every:
            return _nothing(now)
        if self.share == 1.0:
            target = self._target(now)
            return ContinueLoss(q_loss(now.out.q_continue, target) * self.every, target)
        # A window of rows that moves every step, so that every row is in it equally often.
        batch = now.inputs.shape[0]
        count = max(1, round(batch * self.share))
        rows = torch.arange(count, device=now.inputs.device) + now.step * count
        rows = rows % batch
        target = self._target(now.take(rows))
        loss = q_loss(now.out.q_continue[rows], target) * (batch / count)
        nothing = _nothing(now)
        return ContinueLoss(
            nothing.loss.index_copy(0, rows, loss), nothing.target.index_copy(0, rows, target)
        )

    @torch.no_grad()
    def _target(self, now: Experience) -> Tensor:
        after = now.model(now.out.carry, now.inputs, now.puzzle_identifiers)
        p = self.pricing
        return continue_target(after.q_halt, after.q_continue, now.last, p.gamma, p.segment_cost)


class Delayed:
    """`delayed`: the segment that the next step runs anyway gives the target, one step late.

    The Q head's input is kept, so the gradient reaches the head only. Rows that ended have no next
    segment and have loss 0.
    """

    def __init__(self, pricing: Pricing) -> None:
        self.pricing = pricing
        self.memory: tuple[Tensor, ...] | None = None

    def __call__(self, now: Experience) -> ContinueLoss:
        p, out = self.pricing, now.out
        nothing = _nothing(now)
        loss, target = nothing.loss, nothing.target
        if self.memory is not None:
            state, going_on = self.memory
            q_values = out.q_halt.detach(), out.q_continue.detach()
            seen = continue_target(*q_values, now.last, p.gamma, p.segment_cost)
            target = torch.where(going_on, seen, 0.0)
            _, q_continue = now.model.q_values(state)
            loss = torch.where(going_on, q_loss(q_continue, target), 0.0)
        self.memory = (now.out.carry.z_H[:, 0], ~now.ended)
        return ContinueLoss(loss, target)


class LambdaReturn:
    """`lambda:L`: when an episode ends, each of its segments learns from all later ones.

    With m the better Q value one segment later and r the return of the final draft,
    `G_t = price((1 - L) m_{t+1} + L G_{t+1})`, and `G_{T-1} = price((1 - L) m_T + L r)`: L = 0 is
    one-step bootstrapping, L = 1 the outcome itself. Uncorrected for exploration, as Peng's Q(lambda)
    (Peng and Williams 1996). The Q head's input is kept, so the gradient reaches the head only.
    """

    def __init__(self, pricing: Pricing, mix: float) -> None:
        self.pricing, self.mix = pricing, mix
        self.memory: tuple[Tensor, ...] | None = None

    def __call__(self, now: Experience) -> ContinueLoss:
        limit = now.model.config.halt_max_steps
        state = now.out.carry.z_H[:, 0]
        batch, width = state.shape
        if self.memory is None:
            self.memory = (
                state.new_zeros(limit, batch, width),
                now.out.q_halt.new_zeros(limit, batch),
            )
        rows = torch.arange(batch, device=state.device)
        at = (now.segments - 1).clamp(max=limit - 1)
        better = continue_target(now.out.q_halt.detach(), now.out.q_continue.detach(), now.last)
        states = self.memory[0].index_put((at, rows), state)
        values = self.memory[1].index_put((at, rows), better)
        self.memory = (states, values)

        loss = torch.zeros_like(now.out.q_halt)
        target = torch.zeros_like(loss)
        _, q_continue = now.model.q_values(states)  # [M, B]
        after = now.right.to(values.dtype)
        for t in range(limit - 2, -1, -1):
            # Rows whose episode ended at segment t + 2 or later have a segment after this one.
            value = (1 - self.mix) * values[t + 1] + self.mix * after
            here = now.ended & (now.segments >= t + 2)
            target = torch.where(here, self.pricing(value), target)
            loss = loss + torch.where(here, q_loss(q_continue[t], target), 0.0)
            after = torch.where(here, target, after)
        return ContinueLoss(loss, target)


class NoTarget:
    """`none`: Q_continue is not learned."""

    memory: tuple[Tensor, ...] | None = None

    def __call__(self, now: Experience) -> ContinueLoss:
        return _nothing(now)


def target_rule(spec: str, gamma: float = 1.0, segment_cost: float = 0.0) -> TargetRule:
    """The rule of a spec such as `full`, `subsample:0.125` or `lambda:0.9`.

    Raises ValueError naming the spec and what is accepted.
    """
    pricing = Pricing(gamma, segment_cost)
    name, _, argument = spec.partition(":")
    plain: dict[str, Callable[[], TargetRule]] = {
        "full": lambda: Bootstrap(pricing),
        "delayed": lambda: Delayed(pricing),
        "none": NoTarget,
    }
    if name in plain and not argument:
        return plain[name]()
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if name == "every" and value >= 1 and value == int(value):
        return Bootstrap(pricing, every=int(value))
    if name == "subsample" and 0 < value <= 1:
        return Bootstrap(pricing, share=value)
    if name == "lambda" and 0 <= value <= 1:
        return LambdaReturn(pricing, value)
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


def _nothing(now: Experience) -> ContinueLoss:
    zeros = torch.zeros_like(now.out.q_halt)
    return ContinueLoss(zeros, zeros)
