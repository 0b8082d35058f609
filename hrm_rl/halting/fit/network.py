"""A learned rule for stopping: a small network on the feature vector, kept in one file (`pqn:FILE`)."""

import os
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.file import read_rule, write_rule
from hrm_rl.halting.fit.provenance import FittedOn
from hrm_rl.halting.rules import Named
from hrm_rl.halting.vector import FEATURE_NAMES, feature_vector


class QNetwork(nn.Module):
    """Values of each action: linear, LayerNorm, ReLU, as often as `hidden` says; then linear.

    LayerNorm before each nonlinearity is what keeps temporal-difference learning stable without a
    target network (PQN, arXiv 2407.04811).
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
        """x [B, inputs] -> values [B, actions]."""
        return self.layers(x)


@dataclass(frozen=True, eq=False)
class NetworkRule(Named):
    """Stop where the network values halting (action 1) above thinking on (0), and at the limit that
    it was trained for.

    Its network is `HRM/Halting-v0`'s: two actions, on `feature_vector`.
    """

    name = "pqn"
    network: QNetwork
    fitted_on: FittedOn
    max_segments: int
    pooled: bool = False
    path: str | None = None

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"pooled_z_H"} if self.pooled else ())

    def __str__(self) -> str:
        return f"{self.name}:{self.path}" if self.path else self.name

    @torch.no_grad()
    def __call__(self, features: SegmentFeatures) -> Tensor:
        seen = feature_vector(features, pooled=self.pooled)
        think_on, halt = self.network.to(seen.device)(seen).unbind(-1)
        return (halt > think_on) | (features.segment >= self.max_segments)

    def save(self, path: str | os.PathLike[str]) -> "NetworkRule":
        """Keep the rule in a file; gives it back with its spec string naming that file.

        Raises ValueError for a path with a comma or a parenthesis, which a spec could not hold.
        """
        state = self.network.state_dict()
        write_rule(
            os.fspath(path),
            self.name,
            self.fitted_on,
            {name: tensor.detach().cpu().numpy() for name, tensor in state.items()},
            hidden=list(self.network.hidden),
            inputs=self.network.inputs,
            max_segments=self.max_segments,
            pooled=self.pooled,
            features=list(FEATURE_NAMES),
        )
        return replace(self, path=os.fspath(path))


def load_pqn(path: str | os.PathLike[str]) -> NetworkRule:
    """A rule that `NetworkRule.save` wrote. Raises ValueError for another file, or a damaged one."""
    path = os.fspath(path)
    kind, fitted_on, arrays, settings = read_rule(path)
    if kind != NetworkRule.name:
        raise ValueError(f"{path} holds a rule of kind {kind!r}, not 'pqn'; ask for {kind}:{path}")
    try:
        if settings["features"] != list(FEATURE_NAMES):
            raise ValueError("it looks at other features than this version of hrm_rl shows")
        network = QNetwork(settings["inputs"], 2, tuple(settings["hidden"]))
        network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        return NetworkRule(network, fitted_on, settings["max_segments"], settings["pooled"], path)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
