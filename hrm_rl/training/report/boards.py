"""Pictures in TensorBoard: answers to a few validation puzzles, segment by segment."""

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.envs.core.rendering import PictureDrawer
from hrm_rl.evaluation.record import record
from hrm_rl.model import HRM
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.training.data import TrainingData
from hrm_rl.training.report.metrics import MetricsLog

TAG = "boards/validation"
_PUZZLES = 4
_SEGMENTS = (1, 2, 4)
# Pixels of a cell, of the smallest cell, and of the side of a board from which cells shrink.
_CELL, _LEAST_CELL, _SIDE = 28, 16, 336


def write_boards(writer: MetricsLog, step: int, model: HRM, data: TrainingData) -> None:
    """Draw the first validation puzzles, the same ones each time, if their family has a picture."""
    if data.picture is not None:
        puzzles = data.validation.take(slice(_PUZZLES))
        writer.image(step, TAG, board_sheet(model, puzzles, data.picture))


def board_sheet(model: HRM, puzzles: PuzzleArrays, picture: PictureDrawer) -> NDArray[np.uint8]:
    """A picture of drafts: one row per puzzle, one column each for segments 1, 2, 4 and the limit.

    Runs every puzzle to the limit and draws no random numbers.

    Args:
        model: the network, on any device.
        puzzles: N puzzles.
        picture: draws one puzzle, all in the same shape; takes `cell`, the pixels of a cell.

    Returns:
        uint8 [N * H, columns * W, 3].
    """
    limit = model.config.halt_max_steps
    cell = min(_CELL, max(_LEAST_CELL, int(_SIDE / puzzles.seq_len**0.5)))
    columns = sorted({segment for segment in (*_SEGMENTS, limit) if segment <= limit})
    # A compiled model would compile again for this number of rows.
    with torch.compiler.set_stance("force_eager"):
        bank = record(model, puzzles, limit, drafts=True)
    assert bank.drafts is not None
    q_halt, q_continue = bank.features["q_halt"], bank.features["q_continue"]
    rows = []
    for n in range(len(puzzles)):
        tiles = [
            picture(
                puzzles.inputs[n],
                draft=bank.drafts[n, segment - 1],
                labels=puzzles.labels[n],
                caption=f"segment {segment} of {limit}",
                q=(q_halt[n, segment - 1], q_continue[n, segment - 1]),
                cell=cell,
            )
            for segment in columns
        ]
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)
