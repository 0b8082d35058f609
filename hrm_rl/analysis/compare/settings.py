"""The settings of a comparison. Loads no torch, so the command line can show them."""

from dataclasses import dataclass, replace
from numbers import Real

from hrm_rl.settings import SettingError, check_integers, check_interval

DEFAULT_POLICIES = (
    "fixed:1",
    "fixed:auto",
    "fixed:LIMIT",
    "q",
    "q-halt:auto",
    "confidence:auto",
    "margin:auto",
    "entropy:auto",
    "stable:auto",
    "residual:auto",
    "second-order:auto",
    "kl:auto",
    "random:auto",
    "lsm:auto",
    "voc:auto",
    "recall(q)",
    "calm(confidence)",
    "first-correct",
    "oracle",
)
"""The policies compared by default; LIMIT is the number of segments recorded."""

_FITTED = ("lsm:auto", "voc:auto")
DEFAULT_COSTS = (0.001, 0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Settings:
    """The policies and prices of a comparison. `hindsight` is another name of the policy `oracle`.

    Raises ValueError for a cost outside [0, 1), no draws, no policies.
    """

    policies: tuple[str, ...] = DEFAULT_POLICIES
    """Rules, such as q, fixed:4, recall(q), lsm:FILE, module:Class. NAME:auto is chosen on validation
    puzzles: fixed confidence margin entropy stable residual kl q-halt lsm voc pqn sb3:dqn ...; LIMIT is
    the number of segments."""
    cost: float = 0.01
    """Price of a segment, in correct answers, at which rules are chosen and tested."""
    costs: tuple[float, ...] = DEFAULT_COSTS
    """Prices at which the adaptive gain is given, each with rules chosen at that price."""
    draws: int = 10_000
    """Bootstrap draws."""
    seed: int = 0
    """Seed of a run's generated puzzles, of the bootstrap, and of rules that are learned."""
    baseline: str | None = None
    """The policy that the others are tested against; by default the rule that all runs learned, or else q."""
    allow_mismatch: bool = False
    """Judge learned rules given as files on other models than they were fitted on."""

    def __post_init__(self) -> None:
        check_interval(self, "[0, 1)", "cost")
        for value in self.costs:
            if not isinstance(value, Real):
                raise SettingError(f"costs must be numbers in [0, 1), got {value!r}", "costs")
            if not 0 <= value < 1:
                raise SettingError(f"costs must lie in [0, 1), got {value:g}", "costs")
        check_integers(self, 1, "draws")
        check_integers(self, 0, "seed")
        if not self.policies:
            raise SettingError("policies must name at least one rule", "policies")
        # Tables call the bound hindsight, so readers of one ask for it by that name.
        named = tuple("oracle" if policy == "hindsight" else policy for policy in self.policies)
        object.__setattr__(self, "policies", named)
        if self.baseline == "hindsight":
            object.__setattr__(self, "baseline", "oracle")

    def resolved(self, limit: int, trained_rule: str = "q") -> "Settings":
        """LIMIT replaced by the limit, the baseline among the policies, and the cost among the costs.

        The default policies have the rule that the runs learned instead of q, and leave out those that are
        fitted if there is one segment only.
        """
        names = list(self.policies)
        if self.policies[: len(DEFAULT_POLICIES)] == DEFAULT_POLICIES:
            learned = {"q": trained_rule, "recall(q)": f"recall({trained_rule})"}
            names = [learned.get(name, name) for name in names if limit > 1 or name not in _FITTED]
        names.append(trained_rule if self.baseline is None else self.baseline)
        names = [name.replace("LIMIT", str(limit)) for name in names]
        return replace(
            self,
            policies=tuple(dict.fromkeys(names)),
            baseline=names[-1],
            costs=tuple(sorted({*self.costs, self.cost})),
        )
