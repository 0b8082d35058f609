"""An exponential moving average of the weights, which is evaluated and saved."""

import copy

import torch
from torch import Tensor

from hrm_rl.distributed.sharding import local
from hrm_rl.model import ReasoningModel


class WeightAverage:
    """A second model whose weights follow: `average = decay average + (1 - decay) weights`.

    Raises ValueError for a decay outside (0, 1).
    """

    def __init__(self, model: ReasoningModel, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of a weight average must lie in (0, 1), got {decay}")
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.follow(model)

    def follow(self, model: ReasoningModel) -> None:
        """Follow the weights of `model` from now on; call it when either model was divided among ranks."""
        self._ours: list[Tensor] = [local(weight.detach()) for weight in self.model.parameters()]
        self._theirs: list[Tensor] = [local(weight.detach()) for weight in model.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self._ours, self._theirs, 1 - self.decay)
