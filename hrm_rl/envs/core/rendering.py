"""Drawings of the rows of a puzzle environment, as text or as pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.envs.core.transition import EnvState
from hrm_rl.envs.to_numpy import to_numpy

Drawer = Callable[..., str]
"""`drawer(inputs [S], draft=[S], labels=[S]) -> str`."""
PictureDrawer = Callable[..., NDArray[np.uint8]]
"""`drawer(inputs [S], draft=[S], labels=[S], caption=str, q=(q_halt, q_continue)) -> uint8 [H, W, 3]`,
of one shape for all drafts, captions and Q values."""

Frame = str | NDArray[np.uint8]


class Rendering:
    """Draws rows in one mode: "ansi", "rgb_array", or None, which draws nothing.

    Raises ValueError for another mode, or for "rgb_array" without a picture.
    """

    def __init__(self, mode: str | None, drawer: Drawer | None, picture: PictureDrawer | None) -> None:
        self.modes = ["ansi"] if picture is None else ["ansi", "rgb_array"]
        if mode not in (None, *self.modes):
            raise ValueError(f"render_mode must be one of {self.modes}, got {mode!r}")
        self.mode, self._drawer, self._picture = mode, drawer, picture
        self.q_values: NDArray[np.float64] | None = None  # [2, B]; None: unknown

    def frames(self, state: EnvState, limit: int) -> tuple[Frame, ...]:
        """Every row's board with its draft, and how many of the `limit` segments have run."""
        table = (state.puzzles.inputs, state.draft, state.puzzles.labels, state.segment)
        columns = [to_numpy(column) for column in table]
        unknown = np.full((2, len(columns[0])), np.nan)
        q = unknown if self.q_values is None else self.q_values
        rows = zip(*columns, q.T, strict=True)
        return tuple(
            self._frame(inputs, draft, labels, f"segment {segment} of {limit}", pair)
            for inputs, draft, labels, segment, pair in rows
        )

    def _frame(
        self,
        inputs: NDArray[Any],
        draft: NDArray[Any],
        labels: NDArray[Any],
        caption: str,
        q: NDArray[np.float64],
    ) -> Frame:
        if self.mode == "rgb_array":
            assert self._picture is not None
            pair = (float(q[0]), float(q[1]))
            return self._picture(inputs, draft=draft, labels=labels, caption=caption, q=pair)
        board = " ".join(map(str, draft))
        if self._drawer:
            board = self._drawer(inputs, draft=draft, labels=labels)
        wrong = int(((draft != labels) & (labels >= 0)).sum())
        return f"{board}\n{caption}, {wrong} cells to go\n"
