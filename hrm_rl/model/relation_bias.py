"""A learned bias on attention by how two cells are related: structure of the puzzle that the model is told.

Not part of the paper's model: a comparison with it leaves the bias off. Learned biases by relative position:
arXiv 1803.02155 and 1910.10683, section 2.1; here the classes are a puzzle's, such as "same row".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hrm_rl.model.config import HRMConfig
from hrm_rl.puzzles.base.relations import UNRELATED, as_relations

# A head that favours a class starts with this bias on it and its negative on all others.
_FAVOUR = 3.0
Favoured = Sequence[Sequence[int]]


class RelationBias(nn.Module):
    """One learned number for each attention head and class of pairs, shared by all blocks.

    Pairs with a token of the puzzle embedding are a class of their own.
    """

    relations: Tensor  # [T, T] int32

    def __init__(self, config: HRMConfig, relations: ArrayLike, favoured: Favoured | None = None) -> None:
        """
        Args:
            config: of the model.
            relations: a class for each ordered pair of cells, integers [S, S], 0 to 255.
            favoured: sets of classes. Heads start by favouring one set each, in turn; after the last set, one
                head starts flat. By default each class but 0 is a set.

        Raises ValueError for relations of another shape, or a class out of range.
        """
        super().__init__()
        classes = as_relations(relations, config.seq_len)
        count, favoured = int(classes.max()) + 1, favoured or _each(classes)
        if config.prefix_len:
            classes, count = np.pad(classes, ((config.prefix_len, 0),) * 2, constant_values=count), count + 1
        self.register_buffer("relations", torch.from_numpy(classes))
        self.weight = nn.Parameter(_start(config.num_heads, count, favoured))

    def forward(self, dtype: torch.dtype) -> Tensor:
        """The bias on the scores of every head and pair, [heads, T, T]."""
        return F.embedding(self.relations, self.weight.to(dtype)).permute(2, 0, 1).contiguous()


def _each(classes: NDArray[np.int32]) -> Favoured:
    return [(int(number),) for number in np.unique(classes) if number != UNRELATED]


def _start(heads: int, classes: int, favoured: Favoured) -> Tensor:
    """The initial biases, [classes, heads]."""
    start = torch.zeros(classes, heads)
    for head in range(heads):
        turn = head % (len(favoured) + 1)
        if turn < len(favoured):
            start[:, head] = -_FAVOUR
            start[list(favoured[turn]), head] = _FAVOUR
    return start


def stored_relations(tensors: Mapping[str, Tensor], config: HRMConfig) -> NDArray[Any] | None:
    """The relations of cells [S, S] in a model's tensors; None if it has none."""
    found = tensors.get("relation_bias.relations")
    if found is None:
        return None
    if found.is_floating_point():
        raise ValueError(f"relation_bias.relations must hold integers, got {found.dtype}")
    table = found.cpu().numpy()
    return table[config.prefix_len :, config.prefix_len :] if table.ndim == 2 else table


def unrelated(config: HRMConfig) -> NDArray[np.int32] | None:
    """Relations for a model that is only measured, not trained; None if it takes none."""
    return np.zeros((config.seq_len,) * 2, np.int32) if config.relation_bias else None
