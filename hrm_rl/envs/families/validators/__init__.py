"""Checks for any right answer, in torch on the environment's device.

If a family's label is its only right answer, the label decides. Else the module named like the family has
`validator(family)`; a family without such a module is checked on the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.families.arc_source import ArcValidator
from hrm_rl.puzzles import CustomPuzzles
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import IGNORE_LABEL

Judge = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[np.bool_]]
"""`judge(inputs [N, S], answers [N, S], labels [N, S]) -> bool [N]`."""


def validator_of(family: Family | CustomPuzzles) -> Validator | None:
    """The check for any right answer; None if only the stored one is known."""
    if isinstance(family, CustomPuzzles):
        return ArcValidator() if isinstance(family, ArcPuzzles) else None
    if family.one_answer:
        return LabelValidator()
    module = f"{__name__}.{family.name.replace('-', '_')}"
    if find_spec(module) is None:
        return HostValidator(partial(_is_valid, family))
    validator: Validator = import_module(module).validator(family)
    return validator


class LabelValidator:
    """Accepts the label's tokens, and any tokens in cells without a label."""

    needs_labels = True

    def __call__(self, inputs: Tensor, answers: Tensor, labels: Tensor) -> Tensor:
        """bool [B] for [B, S] each."""
        return ((answers == labels) | (labels == IGNORE_LABEL)).all(-1)


@dataclass(frozen=True)
class HostValidator:
    """A check in NumPy or plain Python on the host; only rows that need it are copied there."""

    judge: Judge
    on_host = True

    def __call__(self, inputs: Tensor, answers: Tensor, labels: Tensor, rows: Tensor | None = None) -> Tensor:
        """bool [B] for [B, S] each; False outside `rows`, bool [B], if they are given."""
        right = torch.zeros(len(inputs), dtype=torch.bool)
        asked = torch.ones_like(right) if rows is None else rows.cpu()
        if asked.any():
            index = asked.nonzero().squeeze(1)
            chosen = index.to(inputs.device)
            arrays = (t.index_select(0, chosen).cpu().numpy() for t in (inputs, answers, labels))
            right[index] = torch.from_numpy(self.judge(*arrays))
        return right.to(inputs.device)


def _is_valid(
    family: Family, inputs: NDArray[Any], answers: NDArray[Any], labels: NDArray[Any]
) -> NDArray[np.bool_]:
    return family.is_valid(inputs, answers)
