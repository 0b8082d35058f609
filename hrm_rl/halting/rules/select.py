"""Rules for several trajectories of one puzzle: each runs until a rule stops it, and one of them answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules import RULES
from hrm_rl.halting.rules.combine import Wrapper
from hrm_rl.halting.rules.custom import find_custom
from hrm_rl.halting.rules.protocol import needs_of
from hrm_rl.halting.rules.threshold import ThresholdRule
from hrm_rl.messages import did_you_mean, shortened

BY = ("first", "best:SIGNAL", "vote", "vote:q-halt", "oracle")
"""What selects: the forms of BY."""


@dataclass(frozen=True)
class Select(Wrapper):
    """Run K trajectories of a puzzle, each until RULE stops it; answer with the one that BY selects.

    - `first`: the first to stop, which ends the others; of several the one with the largest q_halt.
    - `best:SIGNAL`: the one whose signal is furthest on the side where the rule SIGNAL stops, such as the
      largest q_halt (`best:q-halt`), or the smallest residual (`best:residual`).
    - `vote`: the answer that most of them give; `vote:q-halt` weighs a vote by sigmoid(q_halt).
    - `oracle`: one that is right, if there is any: an upper bound.

    Signals are those of a trajectory's last segment. Of equals the earlier trajectory is selected. The cost
    is the sum of all trajectories' segments. Without K it takes all there are. Raises ValueError for another
    BY, a K below 2, or a RULE that selects.
    """

    name, form = "select", "select(RULE, BY, K)"
    rule: Any
    by: str
    width: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, colon, signal = self.by.partition(":")
        if kind == "best" and colon:
            _signal_of(signal, str(self))
        elif self.by not in BY:
            raise _unknown(self.by, str(self))
        if self.width is not None and self.width < 2:
            raise ValueError(f"rule {str(self)!r} needs K >= 2 trajectories, got {self.width}")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        best = self.by.startswith("best:")
        own = needs_of(self._signal) if best else {"future"} if self.by == "oracle" else ()
        return needs_of(self.rule) | {"width"} | frozenset(own)

    @property
    def together(self) -> bool:
        """Whether a trajectory that stops ends the others."""
        return self.by == "first"

    @property
    def _signal(self) -> ThresholdRule:
        return _signal_of(self.by.partition(":")[2], str(self)).at(1.0)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return self.rule(features)

    def __str__(self) -> str:
        last = "" if self.width is None else f", {self.width}"
        return super().__str__()[:-1] + f", {self.by}{last})"

    def merit(self, features: SegmentFeatures) -> Tensor:
        """What a trajectory is selected by, from the features of its last segment: float32 [B]."""
        if self.by.startswith("best:"):
            return self._signal.height(features)
        return features.q_halt.sigmoid() if self.by == "vote:q-halt" else features.q_halt

    def choose(
        self,
        merit: NDArray[np.float32],
        stopped: NDArray[np.bool_],
        answers: NDArray[np.integer[Any]],
        correct: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """The number of the trajectory that answers each puzzle, [N].

        Args:
            merit: of each trajectory's last segment, [N, K].
            stopped: which stopped by RULE or at the limit, and not because another did, [N, K].
            answers: numbers that are equal for equal answers to a puzzle, [N, K].
            correct: whether the answers are right, [N, K].
        """
        if self.by == "oracle":
            return correct.argmax(1)
        if self.by.startswith("vote"):
            weights = merit.astype(np.float64) if self.by == "vote:q-halt" else np.ones(merit.shape)
            alike = answers[:, :, None] == answers[:, None, :]  # [N, K, K]
            return (alike * weights[:, None, :]).sum(2).argmax(1)
        return np.where(stopped, merit, -np.inf).argmax(1) if self.together else merit.argmax(1)


def _signal_of(name: str, spec: str) -> type[ThresholdRule]:
    """The class of rules whose signal `best:NAME` compares. Raises ValueError if there is none."""
    module, colon, attribute = name.partition(":")
    kind: Any = find_custom(module, attribute) if colon else RULES.get(name)
    if not (isinstance(kind, type) and issubclass(kind, ThresholdRule)):
        raise _unknown(f"best:{name}", spec)
    return kind


def _unknown(by: str, spec: str) -> ValueError:
    signals = [name for name, kind in RULES.items() if issubclass(kind, ThresholdRule)]
    known = [form for form in BY if form != "best:SIGNAL"] + [f"best:{name}" for name in signals]
    begun = [f"best:{name}" for name in signals if name.startswith(by)]
    hint = did_you_mean(by, known) or did_you_mean(f"best:{by}", begun or known)
    return ValueError(
        f"rule {shortened(spec, 60)!r}: unknown way to select, {shortened(by, 40)!r}; {hint}"
        f"{' ' if hint else ''}known: {', '.join(BY)}, with SIGNAL one of {', '.join(signals)}"
    )


@dataclass(frozen=True)
class Particles(Select):
    """Run K trajectories that the halt logit resamples after every segment, until RULE stops one; it answers.

    A trajectory goes on as a copy of another with a probability proportional to sigmoid(q_halt) (after arXiv
    2605.25230). The copies diverge by path noise. It runs live only.
    """

    name, form = "particles", "particles(RULE)"
    by: str = "first"

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return super().needs | {"live"}

    def __str__(self) -> str:
        return super(Select, self).__str__()


SELECTORS: dict[str, type[Select]] = {kind.name: kind for kind in (Select, Particles)}
"""The rules for several trajectories, by name."""
