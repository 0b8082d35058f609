"""One learned vector per puzzle (ARC: per task); a batch uses only a few of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PuzzleEmbedding(nn.Module):
    """A table [ids, width] with a sparse gradient: one row per example, not summed over duplicates.

    As in the reference, `weights.grad` is an uncoalesced sparse tensor whose values are [B, width] in the
    order of the batch; `SignSGD` sums duplicates.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count, width))

    def forward(self, puzzle_identifiers: Tensor) -> Tensor:
        return F.embedding(puzzle_identifiers, self.weights, sparse=True)
