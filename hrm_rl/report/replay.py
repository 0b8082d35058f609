"""Chosen puzzles of a bank, segment by segment: what the page replays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank.replay import replay as replay_rule
from hrm_rl.halting.bank.replay import trained_rule
from hrm_rl.puzzles.base.picture import Drawable
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.report.boards import TileTable, layout

_SIGNALS = ("confidence", "margin", "entropy", "changed", "residual_H", "residual_L", "kl")
_SIDE_BY_SIDE = 6  # trajectories
HOW = "This bank holds no drafts. Record them with: hrm-rl trace RUN --out BANK --drafts"


def replays(bank: TraceBank, kind: Drawable, count: int, most: int = 4_000_000) -> dict[str, Any]:
    """Chosen puzzles with every draft, ready for JSON; a bank without drafts says how to record them.

    At most `count` puzzles, and fewer if they have more than `most` cells over all segments.
    """
    if bank.drafts is None:
        return {"missing": HOW}
    width = min(bank.width, _SIDE_BY_SIDE)
    cells = 2 * bank.inputs.shape[1] * (bank.num_segments + 1) * width  # families draw up to two boards
    rows, rule = choose(bank, max(1, min(count, most // cells))), trained_rule(bank)
    part, table = bank.narrow(width).take(rows), TileTable()
    every = part.unrolled  # a row a trajectory
    assert every.drafts is not None
    stops = replay_rule(every, rule).stopped.tolist()
    puzzles, frames = [], []
    for k, row in enumerate(rows.tolist()):
        question = kind.panels(kind.shown(part.inputs[k], None, part.labels[k]))
        mine = range(k * part.width, (k + 1) * part.width)
        for each in mine:
            found = [table.numbers(question)]
            for draft in every.drafts[each].astype(np.int32):
                found.append(table.numbers(kind.panels(kind.shown(part.inputs[k], draft, part.labels[k]))))
            frames.append(found)
        rating = float(part.rating[k])
        puzzles.append(
            {
                "number": row,
                "outcome": _outcome(part.valid[k]),
                "rating": None if np.isnan(rating) else rating,
                "split": str(part.split[k]),
                "source": part.source[k],
                "layout": layout(question),
                "trajectories": [_signals(every, each) | {"stopped": stops[each]} for each in mine],
            }
        )
    trajectories: Any = (trajectory for puzzle in puzzles for trajectory in puzzle["trajectories"])
    for trajectory, found in zip(trajectories, frames, strict=True):
        trajectory["frames"] = [table.packed(frame) for frame in found]
    return {"rule": rule, "tiles": table.to_json(), "puzzles": puzzles}


def choose(bank: TraceBank, count: int) -> NDArray[np.int64]:
    """Rows of `count` puzzles, of the test puzzles if there are any: in turn one that is right late, right
    and then wrong again, never right, and right at once."""
    right = bank.valid
    rows = np.flatnonzero(bank.split == "test") if (bank.split == "test").any() else np.arange(len(bank))
    first = np.where(right.any(1), right.argmax(1) + 1, 0)[rows]
    last = right[rows, -1]
    late = rows[(first > 1) & last]
    late = late[np.argsort(-np.where(right.any(1), right.argmax(1), 0)[late], kind="stable")]
    groups = [late, rows[(first > 0) & ~last], rows[first == 0], rows[(first == 1) & last]]
    turns = sorted((place, number, row) for number, g in enumerate(groups) for place, row in enumerate(g))
    return np.array([row for _, _, row in turns[:count]], np.int64)


def _outcome(right: NDArray[np.bool_]) -> str:
    if not right.any():
        return "never right"
    first = int(right.argmax()) + 1
    return (
        f"right from segment {first}" if right[first - 1 :].all() else f"right at segment {first}, then lost"
    )


def _signals(bank: TraceBank, row: int) -> dict[str, Any]:
    """Every recorded number of a trajectory, [M] each."""
    q_values = [name for name in ("q_halt", "q_continue") if name in bank.features]
    found = {name: sigmoid(bank.column(name)[row]) for name in q_values}
    found |= {name: bank.column(name)[row] for name in _SIGNALS if name in bank.features}
    columns = {name: rounded(column) for name, column in found.items()}
    columns["cell_accuracy"] = rounded(bank.cell_accuracy[row])
    wrong = (bank.drafts[row] != bank.labels[row]) & (bank.labels[row] != IGNORE_LABEL)  # type: ignore[index]
    columns["wrong"] = wrong.sum(1).tolist()
    return columns | {"correct": bank.correct[row].tolist(), "valid": bank.valid[row].tolist()}


def sigmoid(logits: Any) -> Any:
    """Probabilities of logits, without overflow."""
    return 0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / 2))


def rounded(values: Any) -> list[float | None]:
    """Numbers of five digits; None for one that is not finite."""
    return [float(f"{x:.5g}") if np.isfinite(x) else None for x in np.asarray(values, np.float64).tolist()]
