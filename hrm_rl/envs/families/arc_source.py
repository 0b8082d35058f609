"""ARC tasks on the device, augmented and placed on the board when they are drawn."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.envs.core.source import Puzzles, Validator
from hrm_rl.hashing import below, stream
from hrm_rl.puzzles.arc.kernels import FLIPS_COLUMN, FLIPS_ROW, SWAPS
from hrm_rl.puzzles.arc.table import ArcTable
from hrm_rl.puzzles.arc.tokens import EOS, FIRST_COLOR, PAD, SIDE, VOCAB_SIZE
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.tensors import usable_device

_OFF, _END = SIDE, SIDE + 1
_WIDTH = SIDE + 2


class ArcSource:
    """The examples of an `ArcTable`: a hash of the key chooses a pair, an augmentation and a place.

    All pairs are equally likely, and so are the augmentations of a task, as in the reference's epochs; the
    identifier is that of the augmented task. If the table translates, a pair of a task of n pairs stays at
    the corner once in n draws, and lies at a random place otherwise.

    The device holds the pairs and the list of augmentations alone: 21 MB for ARC-AGI-1 with 1,000
    augmentations a task, whose examples would take 20 GB.
    """

    vocab_size = VOCAB_SIZE

    def __init__(self, table: ArcTable, device: torch.device | str = "cpu") -> None:
        self.table = table
        self.side, self.seq_len = table.side, table.seq_len
        self.device = usable_device(device)
        self.num_ids = table.augmented.num_ids
        self.validator: Validator | None = ArcValidator()
        self._translates = table.translate
        pairs, starts = table.pairs, table.augmented.starts

        def put(array: object, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.as_tensor(array, dtype=dtype, device=self.device)

        self._count = len(pairs)
        boards = [
            _with_ends(grids, sizes)
            for grids, sizes in ((pairs.inputs, pairs.input_sizes), (pairs.outputs, pairs.output_sizes))
        ]
        self._boards = put(np.stack(boards, axis=1).ravel(), torch.uint8)  # [P * 2 * 32 * 32]
        self._sizes = torch.stack([put(pairs.input_sizes), put(pairs.output_sizes)], 1)  # [P, 2, 2]
        self._first_id = put(starts[pairs.task])
        self._ids = put(starts[pairs.task + 1] - starts[pairs.task])
        self._siblings = put(np.bincount(pairs.task)[pairs.task])
        self._symmetries = put(table.augmented.symmetries)
        tokens = np.concatenate(
            [np.tile([PAD, EOS], (self.num_ids, 1)), table.augmented.colors + FIRST_COLOR], axis=1
        )
        self._tokens = put(tokens, torch.uint8)  # [I, 12]: what each token becomes
        flags = [SWAPS, FLIPS_ROW, FLIPS_COLUMN]
        self._flags = put(flags, torch.bool)  # [3, 8]
        self._steps = torch.arange(self.side, device=self.device)
        self._both = torch.arange(2, device=self.device)

    def draw(self, keys: Tensor) -> Puzzles:
        """The puzzles of these keys, int64 [B]. Pure, of static shape, no host synchronisation."""
        pair = below(stream(keys, 0), self._count)
        ids = self._first_id[pair] + _below(stream(keys, 1), self._ids[pair])
        symmetry = self._symmetries[ids]
        swap, flip_row, flip_column = self._flags[:, symmetry]  # [B] each
        sizes = self._sizes[pair]  # [B, 2, 2]
        turned = torch.where(swap[:, None, None], sizes.flip(-1), sizes)
        corner = torch.zeros(len(keys), 2, dtype=torch.int64, device=keys.device)
        if self._translates:
            room = self.side + 1 - turned.amax(1)
            spot = torch.stack([stream(keys, 2), stream(keys, 3)], 1)
            stays = _below(stream(keys, 4), self._siblings[pair]) == 0
            corner = torch.where(stays[:, None], 0, _below(spot, room))

        # Both grids of a pair at once: [B, 2 grids, 30 rows or columns]. A new row is an old row, or under an
        # exchange an old column; counted from the other end or not; or an end, or off the grid.
        swap, flip_row, flip_column = (f[:, None, None] for f in (swap, flip_row, flip_column))
        flip_rows = torch.where(swap, flip_column, flip_row)
        flip_columns = torch.where(swap, flip_row, flip_column)
        by_row = _old(self._steps - corner[:, :1], turned[..., :1], flip_rows)
        by_column = _old(self._steps - corner[:, 1:], turned[..., 1:], flip_columns)
        by_row = by_row * torch.where(swap, 1, _WIDTH)
        by_column = by_column * torch.where(swap, _WIDTH, 1)
        board = (2 * pair[:, None] + self._both) * _WIDTH**2  # [B, 2]
        places = (by_row + board[:, :, None])[..., :, None] + by_column[..., None, :]
        old = self._boards[places.flatten(1)]  # [B, 2 * S]
        tokens = self._tokens[ids].gather(1, old.long()).int()
        inputs, outputs = tokens[:, : self.seq_len], tokens[:, self.seq_len :]
        labels = torch.where(outputs == PAD, IGNORE_LABEL, outputs)
        return Puzzles(inputs.contiguous(), labels, ids, torch.full_like(keys, -1, dtype=torch.float32))


def _with_ends(grids: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colors [P, 900] as tokens [P, 32, 32], with a row and a column for what lies off a grid.

    These are the 30th, PAD, and the 31st, the EOS below and beside a grid. Whatever the symmetry and place,
    each cell of a board is then one of this table.
    """
    boards = np.full((len(grids), _WIDTH, _WIDTH), PAD, np.uint8)
    steps = np.arange(SIDE)
    in_rows, in_columns = (steps < sizes[:, axis, None] for axis in (0, 1))
    inside = in_rows[:, :, None] & in_columns[:, None, :]
    boards[:, :SIDE, :SIDE] = np.where(inside, grids.reshape(-1, SIDE, SIDE) + FIRST_COLOR, PAD)
    boards[:, _END, :SIDE] = np.where(in_columns, EOS, PAD)
    boards[:, :SIDE, _END] = np.where(in_rows, EOS, PAD)
    return boards


def _old(steps: Tensor, sizes: Tensor, flips: Tensor) -> Tensor:
    """The old row (or column) that each new one shows, [B, 2, 30], by its steps [B, 30] from the corner."""
    new = steps[:, None]
    old = torch.where(flips, sizes - 1 - new, new)
    off = (new < 0) | (new > sizes)
    return torch.where(new == sizes, _END, torch.where(off, _OFF, old))


class ArcValidator:
    """Accepts an answer that shows the right grid, read from the label's corner to where its colors end.

    It agrees with `hrm_rl.puzzles.arc.is_valid`, wherever the grid lies. An exact answer has every EOS too.
    """

    needs_labels = True

    def __call__(self, inputs: Tensor, answers: Tensor, labels: Tensor) -> Tensor:
        """bool [B] for [B, S] each."""
        side = math.isqrt(labels.shape[1])
        wanted = (labels >= FIRST_COLOR).view(-1, side, side)
        color = ((answers >= FIRST_COLOR) & (answers < VOCAB_SIZE)).view(-1, side, side)
        steps = torch.arange(side, device=labels.device)
        top, left = (wanted.any(dim).int().argmax(-1) for dim in (2, 1))
        height, width = wanted.any(2).sum(-1), wanted.any(1).sum(-1)
        # The board with the corner at (0, 0).
        row, column = steps + top[:, None], steps + left[:, None]
        on_board = (row < side)[:, :, None] & (column < side)[:, None, :]
        place = (row.clamp_max(side - 1) * side)[:, :, None] + column.clamp_max(side - 1)[:, None]
        color = color.flatten(1).gather(1, place.flatten(1)).view_as(on_board) & on_board
        widths = color.int().cumprod(2).sum(2).cummin(1).values
        areas = widths * (steps + 1)
        best = areas.argmax(1)
        same_size = (best + 1 == height) & (widths.gather(1, best[:, None]).squeeze(1) == width)
        mistakes = (wanted.flatten(1) & (answers != labels)).sum(-1)
        return same_size & (mistakes == 0)


def _below(bits: Tensor, limits: Tensor) -> Tensor:
    """`hrm_rl.hashing.below` with a limit for each number."""
    return (bits & 0x7FFFFFFFFFFFFFFF) % limits
