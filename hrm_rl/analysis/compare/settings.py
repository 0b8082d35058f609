"""What a comparison compares, and at which prices. Loads no torch, so the command line can show it."""

from dataclasses import dataclass

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
"""What is compared by default; LIMIT is the number of segments recorded."""

DEFAULT_COSTS = (0.001, 0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Settings:
    """What to compare and how; checked when made. `hindsight` is another name of the policy `oracle`.

    Raises ValueError for a cost outside [0, 1), no draws, no policies.
    """

    policies: tuple[str, ...] = DEFAULT_POLICIES
    cost: float = 0.01
    """Price of a segment at which the rules of the headline are chosen."""
    costs: tuple[float, ...] = DEFAULT_COSTS
    """Prices at which the adaptive gain is given, each with rules chosen at that price."""
    draws: int = 10_000
    """Of the bootstrap."""
    seed: int = 0
    baseline: str = "q"
    """Policy that the others are tested against."""
    allow_mismatch: bool = False
    """Judge learned rules given as files on other models than they were fitted on."""

    def __post_init__(self) -> None:
        for name, values in (("cost", (self.cost,)), ("costs", self.costs)):
            for value in values:
                if not 0 <= value < 1:
                    raise ValueError(f"--{name} must be in [0, 1), got {value:g}")
        if self.draws < 1:
            raise ValueError(f"--draws must be >= 1, got {self.draws}")
        if not self.policies:
            raise ValueError("--policies needs at least one rule")
        # Tables call the bound hindsight, so whoever has read one asks for it by that name.
        named = tuple("oracle" if policy == "hindsight" else policy for policy in self.policies)
        object.__setattr__(self, "policies", named)
        if self.baseline == "hindsight":
            object.__setattr__(self, "baseline", "oracle")

    @property
    def all_costs(self) -> list[float]:
        return sorted({*self.costs, self.cost})
