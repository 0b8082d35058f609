"""Ridge regression on segment features: one linear regression for every segment, in closed form.

It is fitted in NumPy and float64, and evaluated in torch and float32 on the features' device. The penalty
is chosen for every segment and target by generalised cross-validation (Golub, Heath and Wahba 1979).
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.vector import feature_vector

_PENALTIES = 10.0 ** np.arange(-5, 2)  # of standardised columns, per puzzle
_PIECE = 2048  # rows


def basis(features: SegmentFeatures, pooled: bool = False) -> Tensor:
    """The columns of the regression, float32 [B, K]: the feature vector and the sigmoids of both Qs.

    The columns are few on purpose: squares of the features made rules worse on held-out puzzles,
    especially with few puzzles to fit on.
    """
    chances = torch.stack([features.q_halt, features.q_continue], dim=-1).float().sigmoid()
    return torch.cat([feature_vector(features, pooled=pooled), chances], dim=-1)


@dataclass(frozen=True, eq=False)
class Regression:
    """T linear predictions of K columns at each of the segments 1..M-1; float32."""

    TABLES: ClassVar[tuple[str, ...]] = ("mean", "scale", "weights", "intercept")
    mean: NDArray[np.float32]  # [M-1, K]
    scale: NDArray[np.float32]  # [M-1, K]
    weights: NDArray[np.float32]  # [M-1, T, K], of standardised columns
    intercept: NDArray[np.float32]  # [M-1, T]
    pooled: bool = False
    _on: dict[torch.device, tuple[Tensor, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        wrong = [name for name, table in self.arrays().items() if table.dtype != np.float32]
        if wrong:
            raise ValueError(f"{wrong[0]} must be float32, got {self.arrays()[wrong[0]].dtype}")
        if not self.mean.ndim or self.intercept.ndim != 2 or not len(self.intercept):
            raise ValueError("the tables of the regression are empty")
        (rows, targets), width = self.intercept.shape, self.mean.shape[-1]
        shapes = [a.shape for a in (self.mean, self.scale, self.weights)]
        if shapes != [(rows, width), (rows, width), (rows, targets, width)]:
            raise ValueError(f"the tables of the regression have inconsistent shapes: {shapes}")
        if not all(np.isfinite(a).all() for a in self.arrays().values()):
            raise ValueError("the tables of the regression hold NaN or infinity")

    @property
    def num_segments(self) -> int:
        """M."""
        return len(self.intercept) + 1

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Its tables by name."""
        return {name: getattr(self, name) for name in self.TABLES}

    def predict(self, features: SegmentFeatures) -> Tensor:
        """The predictions at each row's segment, float32 [B, T]; from segment M on those of M-1.

        No host synchronisation. Raises ValueError for features of another width.
        """
        columns = basis(features, self.pooled)
        device = columns.device
        if device not in self._on:
            self._on[device] = tuple(torch.from_numpy(array).to(device) for array in self.arrays().values())
        mean, scale, weights, intercept = self._on[device]
        row = features.segment.long().clamp(1, self.num_segments - 1) - 1
        if columns.shape[-1] != mean.shape[-1]:
            raise ValueError(
                f"the rule was fitted on {mean.shape[-1]} columns, but these features have "
                f"{columns.shape[-1]}; was it fitted for another model?"
            )
        # A product and a sum for each row, in pieces: a bank's [B, T, K] would exceed the cache, and the
        # rounding of a matrix product would depend on the number of rows.
        return torch.cat(
            [
                (weights[r] * ((x - mean[r]) / scale[r])[:, None]).sum(-1) + intercept[r]
                for x, r in zip(columns.split(_PIECE), row.split(_PIECE), strict=True)
            ]
        )


class Design(NamedTuple):
    """The columns at one segment, standardised, with the eigendecomposition that all targets share."""

    mean: NDArray[np.float32]  # [K]
    scale: NDArray[np.float32]  # [K]
    columns: NDArray[np.float32]  # [N, K], of mean 0 and variance 1
    values: NDArray[np.float64]  # [K]: eigenvalues of their covariance
    vectors: NDArray[np.float64]  # [K, K]

    def fit(self, targets: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Ridge regression of targets [N, T]: weights [T, K] and intercept [T]."""
        count = len(self.columns)
        intercept = targets.mean(0)
        y = targets - intercept
        b = self.vectors.T @ (self.columns.astype(np.float64).T @ y / count)  # [K, T]
        best = np.full(y.shape[1], np.inf)
        weights = np.zeros_like(b)
        for penalty in _PENALTIES:
            shrunk = self.values + penalty
            w = b / shrunk[:, None]
            error = (y * y).mean(0) - 2 * (w * b).sum(0) + (w * w * self.values[:, None]).sum(0)
            freedom = 1 + (self.values / shrunk).sum()  # the intercept counts
            if freedom >= count:
                continue
            score = error / (1 - freedom / count) ** 2
            weights = np.where(score < best, w, weights)
            best = np.minimum(score, best)
        return (self.vectors @ weights).T.astype(np.float32), intercept.astype(np.float32)


_designs: WeakKeyDictionary[TraceBank, dict[bool, list[Design]]] = WeakKeyDictionary()


def designs(bank: TraceBank, pooled: bool = False) -> list[Design]:
    """The designs of segments 1..M-1 of a bank, cached with it.

    Raises ValueError for a bank of one segment, which leaves nothing to decide.
    """
    if bank.num_segments < 2:
        raise ValueError("a rule is fitted on a bank of at least 2 segments, but this one has 1")
    kept = _designs.setdefault(bank, {})
    if pooled not in kept:
        features = bank_features(bank, {"pooled_z_H"} if pooled else ())
        columns = basis(features, pooled).numpy()
        columns = columns.reshape(bank.num_puzzles, bank.num_segments, -1)
        kept[pooled] = [_design(columns[:, t]) for t in range(bank.num_segments - 1)]
    return kept[pooled]


def _design(columns: NDArray[np.float32]) -> Design:
    x = columns.astype(np.float64)
    mean = x.mean(0)
    x -= mean
    scale = np.sqrt((x * x).mean(0))
    scale[scale < 1e-7] = 1.0  # a constant column, such as the segment itself
    x /= scale
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    mean32, scale32, x32 = (a.astype(np.float32) for a in (mean, scale, x))
    return Design(mean32, scale32, x32, values.clip(0), vectors)
