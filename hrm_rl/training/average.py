"""An exponential moving average of the weights, which is evaluated and saved."""

import copy

import torch
from torch import Tensor

from hrm_rl.model import HRM


class WeightAverage:
    """A second model whose weights follow: `average = decay average + (1 - decay) weights`.

    Raises ValueError for a decay outside (0, 1).
    """

    def __init__(self, model: HRM, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of a weight average must lie in (0, 1), got {decay}")
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._ours: list[Tensor] = list(self.model.parameters())
        self._theirs: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self._ours, self._theirs, 1 - self.decay)
