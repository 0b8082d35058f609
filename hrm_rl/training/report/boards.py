"""A validation segment by segment: the accuracy after each, Q-halt's calibration, and pictures of drafts."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.analysis.statistics.calibration import halt_calibration
from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.envs.core.rendering import PictureDrawer
from hrm_rl.evaluation.record import record
from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank.replay import replay
from hrm_rl.model import ReasoningModel
from hrm_rl.training.data import TrainingData
from hrm_rl.training.report.cards import AFTER_SEGMENT
from hrm_rl.training.report.metrics import MetricsLog

TAG = "boards/validation"
_PUZZLES = 4
WATCHED = 256
"""Most validation puzzles of `watch`."""
_SEGMENTS = (1, 2, 4)
# Pixels of a cell, of the smallest cell, and of the side of a board from which cells shrink.
_CELL, _LEAST_CELL, _SIDE = 28, 16, 336


def watch(model: ReasoningModel, data: TrainingData, batch_size: int, ranks: Ranks = ALONE) -> TraceBank:
    """The first validation puzzles, the same ones each time, run to the limit; draws no random numbers."""
    puzzles, limit = data.validation.take(slice(WATCHED)), model.config.halt_max_steps
    options: Any = {"batch_size": batch_size, "validator": data.validator, "ranks": ranks}
    # A compiled model would compile again for this number of rows.
    with torch.compiler.set_stance("force_eager"):
        return record(model, puzzles, limit, drafts=data.picture is not None, **options)


def segment_figures(bank: TraceBank, *, learns_q: bool) -> dict[str, float]:
    """The exact accuracy after each segment and, if Q values are learned, the calibration of Q-halt."""
    shares = enumerate(bank.correct.mean(0).tolist(), 1)
    figures: dict[str, float] = {f"{AFTER_SEGMENT}/{k:02d}": share for k, share in shares}
    q_halt = bank.features["q_halt"]
    if learns_q and np.isfinite(q_halt).all():
        pooled = halt_calibration(q_halt, bank.correct).pooled
        figures |= {"eval/q_halt_ece": pooled.ece, "eval/q_halt_brier": pooled.brier}
    return figures


def write_boards(
    writer: MetricsLog, step: int, bank: TraceBank, rule: str, picture: PictureDrawer | None
) -> None:
    """Draw the bank's first puzzles, if their family has a picture."""
    if picture is not None:
        writer.image(step, TAG, board_sheet(bank.take(slice(_PUZZLES)), rule, picture))


def board_sheet(bank: TraceBank, rule: str, picture: PictureDrawer) -> NDArray[np.uint8]:
    """A picture of drafts: one row per puzzle; segments 1, 2, 4 and the limit, and then the answer.

    Args:
        bank: N puzzles, with their drafts.
        rule: the rule for stopping; the last column is the draft that it stops at, and says when.
        picture: draws one puzzle, all in the same shape; takes `cell`, the pixels of a cell.

    Returns:
        uint8 [N * H, columns * W, 3].
    """
    assert bank.drafts is not None
    limit, drafts = bank.num_segments, bank.drafts
    cell = min(_CELL, max(_LEAST_CELL, int(_SIDE / bank.inputs.shape[1] ** 0.5)))
    columns = sorted({segment for segment in (*_SEGMENTS, limit) if segment <= limit})
    q_halt, q_continue = bank.features["q_halt"], bank.features["q_continue"]

    def tile(n: int, segment: int, caption: str) -> NDArray[np.uint8]:
        return picture(
            bank.inputs[n],
            draft=drafts[n, segment - 1],
            labels=bank.labels[n],
            caption=caption,
            q=(q_halt[n, segment - 1], q_continue[n, segment - 1]),
            cell=cell,
        )

    rows = []
    for n, stop in enumerate(replay(bank, rule).stopped.tolist()):
        tiles = [tile(n, segment, f"segment {segment} of {limit}") for segment in columns]
        tiles.append(tile(n, stop, f"stops after {stop}" if stop < limit else "runs to the limit"))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)
