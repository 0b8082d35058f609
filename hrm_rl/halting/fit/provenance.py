"""Provenance of fitted rules: a rule is not evaluated on the puzzles that it was fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.halting.bank import TraceBank, puzzle_ids
from hrm_rl.halting.rules.protocol import HaltingRule, parts_of, spec_of


@dataclass(frozen=True, eq=False)
class FittedOn:
    """The provenance of a fitted rule."""

    model_hash: str
    """Fingerprint of the model whose segments were recorded."""
    puzzle_ids: NDArray[np.uint64]
    """`puzzle_ids` of the puzzles, uint64 [N]."""
    split: str
    """The puzzles' split, or several joined by `+`."""
    cost: float
    """Cost of a segment that the rule was fitted for."""

    def __post_init__(self) -> None:
        ids = self.puzzle_ids
        if ids.dtype != np.uint64 or ids.ndim != 1:
            raise ValueError(f"puzzle_ids must be uint64 [N], got {ids.dtype} {list(ids.shape)}")


def fitting_data(bank: TraceBank, cost: float) -> FittedOn:
    """Return the provenance of a rule to be fitted on a bank, for a cost of a segment.

    Raises ValueError if the bank holds test puzzles, or if the cost is negative or not finite.
    """
    refuse_test(bank)
    check_cost(cost)
    split = "+".join(sorted({str(name) for name in np.unique(bank.split)}))
    ids = np.asarray(puzzle_ids(bank.inputs, bank.labels))
    return FittedOn(bank.header.model_hash, ids, split, float(cost))


def check_cost(cost: float) -> None:
    """Raise ValueError unless the cost of a segment is >= 0 and finite."""
    if not 0 <= cost < np.inf:
        raise ValueError(f"the cost of a segment must be >= 0 and finite, got {cost}")


def refuse_test(bank: TraceBank) -> None:
    """Raise ValueError if the bank holds puzzles of split `test`."""
    count = int((bank.split == "test").sum())
    if count:
        raise ValueError(
            f"rules are fitted on validation puzzles, but this bank holds {count} of split 'test'; "
            "give bank.in_split('validation')"
        )


def check_fitted(rule: HaltingRule, bank: TraceBank, allow_mismatch: bool = False) -> None:
    """Check that a bank may judge a rule, and every rule wrapped in it.

    Raises ValueError if the bank holds puzzles that the rule was fitted on, or if it records another
    model than the rule's; `allow_mismatch` permits the other model, to see how a rule transfers.
    """
    check_may_judge(rule, bank.header.model_hash, bank.inputs, bank.labels, allow_mismatch)


def check_may_judge(
    rule: HaltingRule, model_hash: str, inputs: ArrayLike, labels: ArrayLike, allow_mismatch: bool = False
) -> None:
    """`check_fitted` for puzzles (inputs and labels, [N, S]) that a model is about to answer live."""
    for part, fitted_on in _fitted_parts(rule):
        shared = np.isin(puzzle_ids(inputs, labels), fitted_on.puzzle_ids)
        if shared.any():
            raise ValueError(
                f"rule {spec_of(part)!r} was fitted on {int(shared.sum())} of these "
                f"{len(shared)} puzzles (split {fitted_on.split!r}); judge it on others"
            )
        if fitted_on.model_hash != model_hash and not allow_mismatch:
            raise ValueError(
                f"rule {spec_of(part)!r} was fitted for model {fitted_on.model_hash[:12]!r}, but these "
                f"are segments of {model_hash[:12]!r}; to evaluate it anyway, give --allow-mismatch "
                "(in Python allow_mismatch=True)"
            )


def is_fitted(rule: HaltingRule) -> bool:
    """Whether a rule, or one wrapped in it, has provenance."""
    return bool(_fitted_parts(rule))


def _fitted_parts(rule: HaltingRule) -> list[tuple[HaltingRule, FittedOn]]:
    parts = [(part, getattr(part, "fitted_on", None)) for part in parts_of(rule)]
    return [(part, fitted_on) for part, fitted_on in parts if fitted_on is not None]
