"""A threshold with a promise: CALM's calibration (arXiv 2207.07061) by learn-then-test (2110.01052).

The risk is what stopping early loses against running to the limit, a share of puzzles:

    accuracy      the draft at the limit is right and the answer given early is not. Never below the loss
                  of accuracy, as it does not count puzzles that stopping early gains.
    consistency   the answer given early differs from the draft at the limit, in any cell. Needs no
                  labels, but a bank with drafts.

Promised is that this risk, over all puzzles from where the calibration puzzles come, is at most delta,
with probability at least 1 - epsilon over the draw of the calibration puzzles. It is no promise about
other puzzles, nor about each single calibration.
"""

import os
from dataclasses import dataclass, replace
from math import lgamma, log, log1p
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.file import write_rule
from hrm_rl.halting.fit.provenance import FittedOn, fitting_data
from hrm_rl.halting.rules import HaltingRule, Named, needs_of
from hrm_rl.halting.rules.families import FAMILIES, sums_by_threshold
from hrm_rl.halting.rules.spec import Node, parse_rule

Risk = Literal["accuracy", "consistency"]
DELTA, EPSILON = 0.01, 0.05


@dataclass(frozen=True, eq=False)
class Calibrated(Named):
    """A rule whose threshold keeps the risk below delta with probability 1 - epsilon."""

    name = "calm"
    rule: HaltingRule
    fitted_on: FittedOn
    delta: float
    epsilon: float
    risk: Risk
    limit: int
    """Segments that the risk is relative to."""
    path: str | None = None

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return self.rule(features)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return needs_of(self.rule)

    def __str__(self) -> str:
        return f"{self.name}:{self.path}" if self.path else str(self.rule)

    def save(self, path: str | os.PathLike[str]) -> "Calibrated":
        """Keep the rule in a file, `calm:FILE`; the path may hold no comma and no parenthesis."""
        names = ("delta", "epsilon", "risk", "limit")
        settings = {"rule": str(self.rule)} | {name: getattr(self, name) for name in names}
        write_rule(os.fspath(path), self.name, self.fitted_on, {}, **settings)
        return replace(self, path=os.fspath(path))

    @classmethod
    def restore(cls, settings: dict[str, Any], fitted_on: FittedOn, path: str) -> "Calibrated":
        """The rule of a file."""
        rule = parse_rule(settings["rule"])
        return cls(fitted_on=fitted_on, path=path, **(settings | {"rule": rule}))


def calibrate(
    bank: TraceBank,
    family: str,
    delta: float = DELTA,
    epsilon: float = EPSILON,
    *,
    risk: Risk = "accuracy",
) -> Calibrated:
    """The most lenient threshold of a family that the calibration puzzles vouch for.

    Thresholds are tested from strict to lenient, in an order fixed beforehand, and the last one before
    the first that fails is taken: no correction for their number is due. The one that never stops
    early loses nothing and needs no test.

    Args:
        bank: calibration puzzles, drawn like those the promise is about; none of split `test`.
        family: name of a rule with a threshold.
        delta: the largest risk, in (0, 1).
        epsilon: probability that the promise fails, in (0, 1).
        risk: see above.

    Raises ValueError: an unknown family, numbers out of range, test puzzles, or no drafts for
    `consistency`.
    """
    names = [name for name, known in FAMILIES.items() if known.grid]
    if family not in names:
        raise ValueError(f"calm({family}): known families are {', '.join(names)}")
    for name, value in (("delta", delta), ("epsilon", epsilon)):
        if not 0 < value < 1:
            raise ValueError(f"calm({family}): {name} must lie between 0 and 1, got {value}")
    kind = FAMILIES[family]
    fitted_on = fitting_data(bank, 0.0)
    needs = needs_of(kind.rule(kind.grid[0]))
    heights = kind.height(bank_features(bank, needs)).numpy().reshape(bank.correct.shape)
    grid = [x for x in kind.grid if not kind.whole or x < bank.num_segments]
    thresholds = np.array([kind.never, *grid], np.float32)  # from strict to lenient
    (lost,) = sums_by_threshold(heights, kind.levels(thresholds)[::-1], _losses(bank, risk))
    chosen = 0
    for place, loss in enumerate(lost[::-1][1:], start=1):
        if p_value(loss / bank.num_puzzles, bank.num_puzzles, delta) > epsilon:
            break
        chosen = place
    threshold = thresholds[chosen]
    if kind.whole and not np.isfinite(threshold):
        threshold = np.float32(bank.num_segments)
    return Calibrated(
        kind.rule(float(threshold)), fitted_on, delta, epsilon, risk, bank.num_segments
    )


def p_value(mean_loss: float, count: int, delta: float) -> float:
    """Hoeffding-Bentkus p-value of "the risk is above delta", for `count` losses in [0, 1].

    The smaller of two bounds (Bates, Angelopoulos, Lei, Malik and Jordan 2021, arXiv 2101.02703):
    exp(-n h(r, delta)), where h is the relative entropy of two coins, and
    e P(Binomial(n, delta) <= ceil(n r)).
    """
    if mean_loss >= delta:
        return 1.0
    r = mean_loss
    entropy = (r * log(r / delta) if r else 0.0) + (1 - r) * (log1p(-r) - log1p(-delta))
    hoeffding = np.exp(-count * entropy)
    # A sum of losses that are 0 or 1 is whole; its mean times the count need not be, quite.
    successes = int(np.ceil(round(count * mean_loss, 6)))
    terms = np.array(
        [
            lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1)
            + k * log(delta) + (count - k) * log1p(-delta)
            for k in range(successes + 1)
        ]
    )  # fmt: skip
    bentkus = np.e * np.exp(terms - terms.max()).sum() * np.exp(terms.max())
    return float(min(hoeffding, bentkus, 1.0))


def read_form(node: Node) -> tuple[str, float, float]:
    """Family, delta and epsilon of `calm(FAMILY)` or `calm(FAMILY, DELTA, EPSILON)`."""
    parts = [str(part) for part in node.parts or ()]
    try:
        if len(parts) not in (1, 3):
            raise ValueError
        delta, epsilon = map(float, parts[1:]) if parts[1:] else (DELTA, EPSILON)
    except ValueError:
        form = "calm(FAMILY) or calm(FAMILY, DELTA, EPSILON)"
        raise ValueError(f"rule {str(node)!r}: the form is {form}") from None
    return parts[0], delta, epsilon


def _losses(bank: TraceBank, risk: Risk) -> NDArray[np.bool_]:
    """Whether stopping at each segment would lose a puzzle, [N, M]."""
    if risk == "accuracy":
        return bank.correct[:, -1:] & ~bank.correct
    if risk != "consistency":
        raise ValueError(f"risk must be 'accuracy' or 'consistency', got {risk!r}")
    if bank.drafts is None:
        raise ValueError(
            "the risk of consistency compares drafts, and this bank holds none; record it with "
            "`hrm-rl trace RUN --out BANK --drafts`"
        )
    return (bank.drafts != bank.drafts[:, -1:]).any(-1)
