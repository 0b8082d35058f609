"""Puzzles a second in three ways of serving, from measured segments.

A segment of B rows takes t(B) seconds, whatever its rows hold. Serving puzzles one by one, a puzzle takes
`mean segments x t(1)`. A static batch of B runs until its last row stops, so it takes
`E[largest of B stops] x t(B)`. If a row that stops takes the next puzzle, all B rows always work and a
puzzle takes `mean segments x t(B) / B`. K trajectories of a puzzle are K rows, served together.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.records import WallClock


def expected_maximum(stops: NDArray[np.int64], batch: int) -> float:
    """Expected largest of `batch` stops drawn from the empirical distribution of `stops` [N].

    Exact: the sum over s >= 0 of 1 - F(s)^batch, with F the share of stops that are <= s.
    """
    share = np.cumsum(np.bincount(stops)) / len(stops)  # F(0), F(1), ..., F(largest) = 1
    return float((1 - share**batch).sum())


def wall_clock(lengths: NDArray[np.int64], seconds_per_segment: Mapping[str, float]) -> WallClock:
    """Puzzles a second, from the segments of each puzzle's trajectories [N, K] and a segment's seconds by
    batch size.

    `static` and `refilled` are of the largest batch.
    """
    seconds = {int(size): float(value) for size, value in seconds_per_segment.items()}
    longest, width = lengths.max(1), lengths.shape[1]
    mean, batch = float(lengths.sum(1).mean()), max(seconds, default=0)
    alone = 1 / (float(longest.mean()) * seconds[width]) if width in seconds else None
    if not batch:
        return WallClock(None, alone, None, None)
    at_once = max(1, batch // width)
    return WallClock(
        batch,
        alone,
        static=at_once / (expected_maximum(longest, at_once) * seconds[batch]),
        refilled=batch / (mean * seconds[batch]),
    )
