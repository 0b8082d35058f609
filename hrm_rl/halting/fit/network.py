"""A learned halting rule: a small network on the feature vector (`pqn:FILE`)."""

from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.fitted import Contents, FittedRule
from hrm_rl.halting.fit.provenance import FittedOn
from hrm_rl.halting.vector import FEATURE_NAMES, feature_vector
from hrm_rl.settings import LARGEST, SettingError, check_integers


class QNetwork(nn.Module):
    """Action values: a linear layer, LayerNorm and ReLU for each of `hidden`, then a linear layer.

    LayerNorm before each nonlinearity keeps temporal-difference learning stable without a target
    network (PQN, arXiv 2407.04811).
    """

    def __init__(self, inputs: int, actions: int, hidden: tuple[int, ...] = (64, 64)) -> None:
        super().__init__()
        self.inputs, self.actions, self.hidden = inputs, actions, tuple(hidden)
        sizes = (inputs, *hidden)
        layers: list[nn.Module] = []
        for width, next_width in pairwise(sizes):
            layers += [nn.Linear(width, next_width), nn.LayerNorm(next_width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], actions))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, inputs] -> action values [B, actions]."""
        return self.layers(x)


@dataclass(frozen=True, eq=False)
class NetworkRule(FittedRule):
    """Stop when a Q-network values halting above continuing (PQN, arXiv 2407.04811).

    Its network is `HRM/Halting-v0`'s: actions 0 (continue) and 1 (halt), on `feature_vector`. It stops at
    the limit that it was trained for.
    """

    @dataclass(frozen=True)
    class Stored:
        inputs: int
        hidden: tuple[int, ...]
        max_segments: int
        pooled: bool

        def __post_init__(self) -> None:
            check_integers(self, 1, "inputs", "max_segments")
            if not all(1 <= width <= LARGEST for width in self.hidden):
                raise SettingError(f"hidden must be widths >= 1, got {self.hidden}", "hidden")
            if self.pooled != (self.inputs > len(FEATURE_NAMES)):
                of = f"of the {self.inputs} inputs, {len(FEATURE_NAMES)} are features"
                raise SettingError(f"pooled must be {not self.pooled}: {of}", "pooled")

    name = "pqn"
    network: QNetwork
    fitted_on: FittedOn
    max_segments: int
    pooled: bool = False  # type: ignore[assignment]
    path: str | None = None

    @torch.no_grad()
    def __call__(self, features: SegmentFeatures) -> Tensor:
        seen = self.observed(features)
        think_on, halt = self.network.to(seen.device)(seen).unbind(-1)
        return (halt > think_on) | (features.segment >= self.max_segments)

    def observed(self, features: SegmentFeatures) -> Tensor:
        """What the network sees, float32 [B, inputs]."""
        return feature_vector(features, pooled=self.pooled)

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> Any:
        # The learner needs the environment, from a package above this one.
        return import_module("hrm_rl.agents.pqn.halting_learners").train_pqn(bank, cost, seed)

    def contents(self) -> Contents:
        state = self.network.state_dict()
        settings = {
            "hidden": list(self.network.hidden),
            "inputs": self.network.inputs,
            "max_segments": self.max_segments,
            "pooled": self.pooled,
        }
        return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}, settings

    @classmethod
    def restore(cls, arrays: Any, settings: Any, fitted_on: FittedOn, path: str) -> Any:
        network = cls.network_of(arrays, settings.inputs, settings.hidden)
        return cls(network, fitted_on, settings.max_segments, settings.pooled, path)

    @staticmethod
    def network_of(arrays: Any, inputs: int, hidden: tuple[int, ...]) -> QNetwork:
        """The network of a file's arrays. Raises RuntimeError if they do not fit."""
        with torch.device("meta"):  # takes no memory, however wrong the settings are
            network = QNetwork(inputs, 2, hidden)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        network.load_state_dict(tensors, assign=True)
        return network.float()
