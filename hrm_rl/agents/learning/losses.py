"""The three losses of a segment, each [B]. Source: reference `models/losses.py`; paper, eq. 4."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.puzzles.pool import IGNORE_LABEL

TokenLoss = Literal["stablemax", "softmax"]
TOKEN_LOSSES: tuple[TokenLoss, ...] = ("stablemax", "softmax")


def token_loss(
    logits: Tensor, labels: Tensor, kind: TokenLoss = "stablemax", smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over a row's labelled tokens, in nats; 0 for a row without labels.

    logits [B, S, V], labels [B, S] with IGNORE_LABEL where a token is not judged. The target gives a label
    1 - smoothing, and each of the V tokens smoothing / V. Returns [B].
    """
    judged = labels != IGNORE_LABEL
    targets = torch.where(judged, labels, 0).long()
    if kind == "stablemax":
        losses = stablemax_cross_entropy(logits, targets)
        if smoothing:
            losses = torch.lerp(losses, _evenly_spread(logits.to(losses.dtype)), smoothing)
    elif kind == "softmax":
        cells = logits.float().transpose(1, 2)
        losses = F.cross_entropy(cells, targets, reduction="none", label_smoothing=smoothing)
    else:
        raise ValueError(f"the token loss must be one of {TOKEN_LOSSES}, got {kind!r}")
    return torch.where(judged, losses, 0).sum(-1) / judged.sum(-1).clamp_min(1)


def _evenly_spread(x: Tensor) -> Tensor:
    """Stablemax cross-entropy with a target that gives every token 1 / V; x [..., V], returns [...]."""
    above, below = x.clamp_min(0), x.clamp_max(0)  # keeps both branches and their gradients finite
    s = torch.where(x < 0, 1 / (1 - below), 1 + above)
    log_s = torch.where(x < 0, -torch.log1p(-below), torch.log1p(above))
    return s.sum(-1).log() - log_s.mean(-1)


def q_loss(q: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of a Q logit with its target in [0, 1]. Both [B]; returns [B]."""
    return F.binary_cross_entropy_with_logits(q, target.to(q.dtype), reduction="none")
