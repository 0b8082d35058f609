"""One rule for all budgets: a network that is given the price of a segment (`budget:COST:FILE`).

Recorded segments give the outcome of every stop. So the expected return of a rule that stops at random,

    J = sum_t P(stop at t) (correct_t - price * t),

is exact and differentiable, and the network learns by gradient ascent on it, without exploration. Each puzzle
of a step draws its price. Returns are divided by what hindsight gains over the best constant at that price,
so that small prices count as much as large ones. A bonus on entropy, which falls to 0, keeps decisions open
at the start. As a rule, the network stops where that is more probable.
"""

import os
from dataclasses import dataclass, replace
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.fitted import Contents, load_fitted
from hrm_rl.halting.fit.network import NetworkRule, QNetwork
from hrm_rl.halting.fit.provenance import FittedOn, fitting_data
from hrm_rl.halting.vector import FEATURE_NAMES, feature_vector

PRICES = (0.0005, 0.1)
"""The least and the largest price of a segment, in right answers."""
_LEARNED = (PRICES[0] / 2, PRICES[1] * 2)  # the ends of the range are learned worst
_STEPS, _ROWS, _LR, _DECAY, _HIDDEN, _GRID = 1000, 512, 1e-2, 1e-2, (64, 64), 33
_BONUS, _BONUS_UNTIL = 0.2, 0.8  # in normalised returns a nat; the share of the steps that it falls over


@dataclass(frozen=True, eq=False)
class BudgetRule(NetworkRule):
    """Stop as a network does that is given the price of a segment: one file for all prices."""

    name = "budget"
    price: float = 0.01

    def __post_init__(self) -> None:
        low, high = PRICES
        if not low <= self.price <= high:
            raise ValueError(f"budget: the price of a segment must lie in {low} to {high}, got {self.price}")

    def at(self, price: float) -> Self:
        """The rule at another price."""
        return replace(self, price=price)

    def __str__(self) -> str:
        return f"{self.name}:{self.price}:{self.path}" if self.path else self.name

    def observed(self, features: SegmentFeatures) -> Tensor:
        seen = super().observed(features)
        return _priced(seen, seen.new_full((len(seen),), self.price))

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> "BudgetRule":
        return fit_budget(bank, seed).at(cost)

    def contents(self) -> Contents:
        arrays, settings = super().contents()
        return arrays, settings | {"inputs": settings["inputs"] - 1}

    @classmethod
    def load(cls, path: str | os.PathLike[str], price: str = "0.01") -> "BudgetRule":
        """Read a rule that `save` wrote, for a price. Raises ValueError as `FittedRule.load`, or for a price
        that is not a number or out of range."""
        try:
            number = float(price)
        except ValueError:
            raise ValueError(f"budget:COST:FILE needs a number as COST, got {price!r}") from None
        read: BudgetRule = load_fitted(path, cls.name)
        return read.at(number)

    @classmethod
    def restore(cls, arrays: Any, settings: Any, fitted_on: FittedOn, path: str) -> "BudgetRule":
        network = cls.network_of(arrays, settings.inputs + 1, settings.hidden)
        return cls(network, fitted_on, settings.max_segments, settings.pooled, path)


_fitted: WeakKeyDictionary[TraceBank, dict[int, BudgetRule]] = WeakKeyDictionary()


def fit_budget(bank: TraceBank, seed: int = 0) -> BudgetRule:
    """Learn the rule on a bank in some seconds; equal arguments give equal rules, cached with the bank.

    Raises ValueError for test puzzles, or a bank of one segment.
    """
    fitted_on, limit = fitting_data(bank, 0.0), bank.num_segments
    if limit < 2:
        raise ValueError("a rule is fitted on a bank of at least 2 segments, but this one has 1")
    kept = _fitted.setdefault(bank, {})
    if seed not in kept:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = QNetwork(len(FEATURE_NAMES) + 1, 2, _HIDDEN)
            _start(network, limit)
            _ascend(network, bank)
        kept[seed] = BudgetRule(network.requires_grad_(False), fitted_on, limit)
    return kept[seed]


@torch.no_grad()
def _start(network: QNetwork, limit: int) -> None:
    """Begin with a stop of about 1 / M at every segment, so that all stops occur."""
    last: Any = network.layers[-1]
    last.weight.mul_(0.1)
    last.bias.copy_(torch.tensor([np.log(limit - 1), 0.0]))


def _ascend(network: QNetwork, bank: TraceBank) -> None:
    """Gradient ascent on the expected return, at prices drawn log-uniformly."""
    seen = feature_vector(bank_features(bank)).reshape(*bank.correct.shape, -1)  # [N, M, F]
    correct = torch.tensor(bank.correct).float()
    segments = torch.arange(1, bank.num_segments + 1)
    low, high = np.log(_LEARNED)
    places = np.linspace(low, high, _GRID)
    headroom = [_headroom(bank.correct, price) for price in np.exp(places)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=_DECAY)
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _LR * (1 - step / _STEPS)
        rows = torch.randint(len(bank), (_ROWS,))
        log_price = low + (high - low) * torch.rand(_ROWS)
        price = log_price.exp()
        values = network(_priced(seen[rows], price))
        stops, entropy = _stops(values[..., 1] - values[..., 0])
        gained = (stops * (correct[rows] - price[:, None] * segments)).sum(1)
        gained = gained / torch.tensor(np.interp(log_price, places, headroom)).float()
        bonus = _BONUS * max(0.0, 1 - step / _STEPS / _BONUS_UNTIL)
        loss = -(gained + bonus * entropy).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _stops(logits: Tensor) -> tuple[Tensor, Tensor]:
    """P(stop at t), [B, M], of logits to halt, and the entropy of the decisions that are reached, [B].

    The last segment stops all that is left.
    """
    decided = logits[:, :-1]
    reached = F.pad(F.logsigmoid(-decided).cumsum(1), (1, 0)).exp()
    stops = reached * F.pad(decided.sigmoid(), (0, 1), value=1.0)
    entropy = F.binary_cross_entropy_with_logits(decided, decided.sigmoid(), reduction="none")
    return stops, (entropy * reached[:, :-1].detach()).sum(1)


def _headroom(correct: NDArray[np.bool_], price: float) -> float:
    """What hindsight gains over the best constant at a price."""
    returns = correct - price * np.arange(1, correct.shape[1] + 1)
    return max(float(returns.max(1).mean() - returns.mean(0).max()), 1e-3)


def _priced(seen: Tensor, price: Tensor) -> Tensor:
    """Observations [B, ..., F] with the price [B] as a column more: its decades from 0.01, times 3."""
    column = (3 * (price.log10() + 2)).reshape(-1, *[1] * (seen.ndim - 1))
    return torch.cat([seen, column.expand(*seen.shape[:-1], 1)], dim=-1)
