"""Halting losses: how a model learns when to stop, one class each.

| halting_loss | learns from | source |
| --- | --- | --- |
| `q` | every segment, by Q-learning | HRM, arXiv 2506.21734, section 2 |
| `act` | whole episodes, jointly with the answers | Graves, arXiv 1603.08983, section 2 |
| `ponder` | whole episodes, jointly with the answers | PonderNet, arXiv 2107.05407, sections 2.1-2.3 |

A new halting loss needs three changes:

1. Here, a subclass of `HaltingLoss`: its fields are its settings (checked in `__post_init__`), `__call__` is
   the loss of an episode, `rule` the rule for stopping that it trains for.
2. Here, its name in `HaltingName` and its class in `HALTING_LOSSES`.
3. In config.py, its settings as fields of `LearnerConfig`, of the same names, with default and docstring.

The command line, config files, the learner, `hrm-rl eval` and the model card follow from these. A loss that
learns from single segments, as Q-learning does, also sets `whole_episodes = False`, and needs a subclass of
`Learner` that `make_learner` chooses.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.agents.learning.q_targets import target_rule
from hrm_rl.settings import check_at_least, check_interval, check_one_of

Exploration = Literal["step", "episode"]
EXPLORATIONS: tuple[Exploration, ...] = ("step", "episode")


class EpisodeLoss(NamedTuple):
    """The loss of an episode; `loss` carries gradient to the segments' losses and halt logits."""

    loss: Tensor  # [B]: the weighted losses and the price
    price: Tensor  # [B]: the loss beside the token losses, logged as `halting_loss`
    segments: Tensor  # [B]: expected number of segments
    weights: Tensor  # [M, B]: of the segments' losses; they sum to 1 over the segments


@dataclass(frozen=True)
class HaltingLoss:
    """A way to learn when to stop. Its fields are fields of `LearnerConfig`, of the same names."""

    learned: ClassVar[str] = "when to stop jointly with the answers"
    """Completes "it learned ..." in the model card."""
    card: ClassVar[dict[str, str]] = {}
    """Labels of the settings that the model card lists."""
    whole_episodes: ClassVar[bool] = True
    """One update an episode (`EpisodeLearner`), or one a segment (`Learner`)."""
    min_segments: ClassVar[int] = 2
    """The smallest `halt_max_steps` at which there is anything to learn."""

    @classmethod
    def of(cls, settings: Any) -> Self:
        """The loss that a `LearnerConfig` configures. Raises ValueError naming a setting out of range."""
        return cls(**{name: getattr(settings, name) for name in cls.settings()})

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """The names of its settings."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @property
    def rule(self) -> str:
        """Spec of the rule for stopping that a model trained this way is evaluated with."""
        raise NotImplementedError

    @property
    def rule_in_words(self) -> str:
        """The rule as the model card explains it."""
        return f"the rule that halting_loss {type(self).__name__} trains for"

    def halts(self, q_halt: Tensor, q_continue: Tensor) -> Tensor:
        """Rows that halt in training, from their Q logits, bool [B]; by default none before the limit."""
        return torch.zeros_like(q_halt, dtype=torch.bool)

    def __call__(self, losses: Tensor, q_halt: Tensor, correct: Tensor | None = None) -> EpisodeLoss:
        """The loss of whole episodes, from their segments: token losses, halt logits, and whether the draft
        is right (bool), all [M, B].

        M is the model's `halt_max_steps`; the probability of halting at a segment is `sigmoid(q_halt)`.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class QLearning(HaltingLoss):
    """Deep Q-learning on every segment (HRM, arXiv 2506.21734); `Learner` computes its losses."""

    learned = "by Q-learning when to stop"
    card = {  # noqa: RUF012
        "q_target": "Q target",
        "segment_cost": "segment cost",
        "q_loss_weight": "weight of the Q losses",
    }
    whole_episodes = False
    min_segments = 1

    q_target: str
    exploration: Exploration
    gamma: float
    segment_cost: float
    q_loss_weight: float

    def __post_init__(self) -> None:
        target_rule(self.q_target)
        check_one_of(self, EXPLORATIONS, "exploration")
        check_interval(self, "(0, 1]", "gamma")
        check_at_least(self, 0, "segment_cost", "q_loss_weight")

    @property
    def rule(self) -> str:
        return "q-halt:0" if self.q_target == "none" else "q"

    def halts(self, q_halt: Tensor, q_continue: Tensor) -> Tensor:
        return q_halt > (0.0 if self.q_target == "none" else q_continue)

    @property
    def rule_in_words(self) -> str:
        if self.q_target == "none":
            return "stop when q_halt > 0; q_continue was not trained"
        return "the paper's: stop when q_halt > q_continue"


@dataclass(frozen=True)
class ACT(HaltingLoss):
    """Adaptive computation time (Graves, arXiv 1603.08983): `sum_t w_t L_t + act_cost (N + R)`.

    N is the first segment at which the sum of the halting probabilities reaches 1 - act_epsilon, or the
    limit; `w_t = lambda_t` before it, the remainder `w_N = R = 1 - sum_{t<N} lambda_t` at it, and 0 after.
    The gradient is the published one: N counts as a constant, so `d(N + R) / d lambda_t` is -1 for t < N
    and 0 from there on. Graves averages states and outputs by w and takes one loss of the mean; a segment
    of HRM is a complete answer with its own loss, so here w weights the losses.
    """

    learned = "when to stop jointly with the answers, by Graves' adaptive computation time"
    card = {"act_cost": "ponder cost", "act_epsilon": "epsilon"}  # noqa: RUF012

    act_cost: float
    act_epsilon: float

    def __post_init__(self) -> None:
        check_at_least(self, 0, "act_cost")
        check_interval(self, "(0, 1)", "act_epsilon")

    @property
    def rule(self) -> str:
        return f"act:{1 - self.act_epsilon:g}"

    @property
    def rule_in_words(self) -> str:
        return (
            "stop when the sum of sigmoid(q_halt) over the segments run reaches it; trained by Graves' "
            "adaptive computation time"
        )

    def __call__(self, losses: Tensor, q_halt: Tensor, correct: Tensor | None = None) -> EpisodeLoss:
        rates = q_halt.sigmoid()
        total = rates.cumsum(0)
        before = torch.cat((torch.zeros_like(total[:1]), total[:-1]))  # sum over j < t
        runs = before < 1 - self.act_epsilon
        stops = total >= 1 - self.act_epsilon
        stops[-1] = True
        last = runs & stops
        w = torch.where(last, 1 - before, torch.where(runs, rates, 0.0))
        steps = runs.sum(0).to(w.dtype)
        price = self.act_cost * (steps + torch.where(last, 1 - before, 0.0).sum(0))
        return EpisodeLoss((w * losses).sum(0) + price, price.detach(), steps, w.detach())


@dataclass(frozen=True)
class PonderNet(HaltingLoss):
    """PonderNet (arXiv 2107.05407): `sum_t p_t L_t + ponder_weight KL(p, prior)`.

    `p_t = lambda_t prod_{j<t} (1 - lambda_j)` for t < M; the last segment takes the remaining probability,
    `p_M = prod_{j<M} (1 - lambda_j)`. The prior is the geometric distribution of rate `ponder_prior` on
    1..M, scaled to sum to 1; without a limit its mean would be 1 / ponder_prior segments.
    """

    learned = "when to stop jointly with the answers, by PonderNet's loss"
    card = {"ponder_prior": "halting prior", "ponder_weight": "weight of its divergence"}  # noqa: RUF012

    ponder_prior: float
    ponder_weight: float

    def __post_init__(self) -> None:
        check_interval(self, "(0, 1)", "ponder_prior")
        check_at_least(self, 0, "ponder_weight")

    @property
    def rule(self) -> str:
        return "ponder:0.5"

    @property
    def rule_in_words(self) -> str:
        return (
            "stop when having halted, with probability sigmoid(q_halt) after each segment, is that "
            "likely; trained by PonderNet's loss"
        )

    def __call__(self, losses: Tensor, q_halt: Tensor, correct: Tensor | None = None) -> EpisodeLoss:
        # [M - 1, B]: log prod_{j<=t} (1 - lambda_j)
        going_on = F.logsigmoid(-q_halt[:-1]).cumsum(0)
        reached = torch.cat((torch.zeros_like(q_halt[:1]), going_on))  # [M, B]
        stops = torch.cat((F.logsigmoid(q_halt[:-1]), torch.zeros_like(q_halt[:1])))
        log_p = reached + stops
        p = log_p.exp()
        count = torch.arange(1, len(losses) + 1, dtype=p.dtype, device=p.device)[:, None]
        log_prior = self._log_prior(count)
        price = self.ponder_weight * (p * (log_p - log_prior)).sum(0)
        loss = (p * losses).sum(0) + price
        return EpisodeLoss(loss, price.detach(), (count * p).sum(0).detach(), p.detach())

    def _log_prior(self, count: Tensor) -> Tensor:
        """Log probability of halting at segments 1..M, [M, 1]."""
        log_miss = math.log1p(-self.ponder_prior)
        log_prior = (count - 1) * log_miss + math.log(self.ponder_prior)
        return log_prior - math.log(-math.expm1(len(count) * log_miss))


HaltingName = Literal["q", "act", "ponder"]
HALTING_LOSSES: dict[HaltingName, type[HaltingLoss]] = {"q": QLearning, "act": ACT, "ponder": PonderNet}
