"""The three losses of a segment, each [B]. Source: reference `models/losses.py`; paper, eq. 4."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.puzzles.pool import IGNORE_LABEL

TokenLoss = Literal["stablemax", "softmax"]
TOKEN_LOSSES: tuple[TokenLoss, ...] = ("stablemax", "softmax")


def token_loss(logits: Tensor, labels: Tensor, kind: TokenLoss = "stablemax") -> Tensor:
    """Mean cross-entropy over a row's labelled tokens, in nats; 0 for a row without labels.

    logits [B, S, V], labels [B, S] with IGNORE_LABEL where a token is not judged. Returns [B].
    """
    judged = labels != IGNORE_LABEL
    targets = torch.where(judged, labels, 0).long()
    if kind == "stablemax":
        losses = stablemax_cross_entropy(logits, targets)
    elif kind == "softmax":
        losses = F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    else:
        raise ValueError(f"the token loss must be one of {TOKEN_LOSSES}, got {kind!r}")
    return torch.where(judged, losses, 0).sum(-1) / judged.sum(-1).clamp_min(1)


def q_loss(q: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of a Q logit with its target in [0, 1]. Both [B]; returns [B]."""
    return F.binary_cross_entropy_with_logits(q, target.to(q.dtype), reduction="none")
