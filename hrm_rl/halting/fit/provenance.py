"""Where a learned rule comes from, so that nobody judges it on the puzzles it was fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.halting.bank import TraceBank, puzzle_ids
from hrm_rl.halting.rules import HaltingRule, parts_of, spec_of


@dataclass(frozen=True, eq=False)
class FittedOn:
    """What a rule was fitted on."""

    model_hash: str
    """Of the model whose segments were recorded."""
    puzzle_ids: NDArray[np.uint64]
    """A hash of every puzzle, [N]."""
    split: str
    """The puzzles' split; `train+validation` where there are several."""
    cost: float
    """Price of a segment that the rule was fitted for."""


def fitting_data(bank: TraceBank, cost: float) -> FittedOn:
    """The provenance of a rule that is about to be fitted on a bank.

    Raises ValueError where the bank holds test puzzles, or where the cost is no price.
    """
    refuse_test(bank)
    if not 0 <= cost < np.inf:
        raise ValueError(f"the cost of a segment must be >= 0 and finite, got {cost}")
    split = "+".join(sorted({str(name) for name in np.unique(bank.split)}))
    ids = np.asarray(puzzle_ids(bank.inputs, bank.labels))
    return FittedOn(bank.header.model_hash, ids, split, float(cost))


def refuse_test(bank: TraceBank) -> None:
    """Raises ValueError where the bank holds puzzles of split `test`."""
    count = int((bank.split == "test").sum())
    if count:
        raise ValueError(
            f"rules are fitted on validation puzzles, and this bank holds {count} of split 'test'; "
            "give bank.in_split('validation')"
        )


def check_fitted(rule: HaltingRule, bank: TraceBank, allow_mismatch: bool = False) -> None:
    """Raises ValueError where a bank may not judge a rule, or a rule wrapped in it.

    That is where the bank holds puzzles that the rule was fitted on, or records another model than the
    one it was fitted for. `allow_mismatch` lets the other model pass, to see how a rule travels.
    """
    check_may_judge(rule, bank.header.model_hash, bank.inputs, bank.labels, allow_mismatch)


def check_may_judge(
    rule: HaltingRule,
    model_hash: str,
    inputs: ArrayLike,
    labels: ArrayLike,
    allow_mismatch: bool = False,
) -> None:
    """The same for the puzzles (inputs and labels, [N, S]) that a model is about to answer live."""
    for part, fitted_on in _fitted_parts(rule):
        shared = np.isin(puzzle_ids(inputs, labels), fitted_on.puzzle_ids)
        if shared.any():
            raise ValueError(
                f"rule {spec_of(part)!r} was fitted on {int(shared.sum())} of these "
                f"{len(shared)} puzzles (split {fitted_on.split!r}); judge it on others"
            )
        if fitted_on.model_hash != model_hash and not allow_mismatch:
            raise ValueError(
                f"rule {spec_of(part)!r} was fitted for model {fitted_on.model_hash[:12]!r}, and these "
                f"are segments of {model_hash[:12]!r}; --allow-mismatch (allow_mismatch=True in "
                "Python) judges it all the same"
            )


def is_fitted(rule: HaltingRule) -> bool:
    """Whether a rule, or one wrapped in it, knows what it was fitted on."""
    return bool(_fitted_parts(rule))


def _fitted_parts(rule: HaltingRule) -> list[tuple[HaltingRule, FittedOn]]:
    parts = [(part, getattr(part, "fitted_on", None)) for part in parts_of(rule)]
    return [(part, fitted_on) for part, fitted_on in parts if fitted_on is not None]
