"""One learned vector a puzzle (ARC: a task), of which a batch touches only a few rows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PuzzleEmbedding(nn.Module):
    """A table [ids, width] whose gradient is sparse: one row an example, not summed over duplicates.

    The gathered rows are the leaf, as in the reference: `weights.grad` is an uncoalesced sparse
    tensor whose values are [B, width] in the order of the batch, and `SignSGD` sums duplicates.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count, width))

    def forward(self, puzzle_identifiers: Tensor) -> Tensor:
        return F.embedding(puzzle_identifiers, self.weights, sparse=True)
