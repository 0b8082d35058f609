"""What stopping early is worth in seconds: three ways of serving puzzles, from measured segments.

A segment of B rows takes t(B) seconds, whatever its rows hold. Serving one puzzle after another,
a puzzle takes `mean segments x t(1)`. A static batch of B runs until its last row stops, so that it
takes `E[largest of B stops] x t(B)`. Where a row that stops hands its place to the next puzzle, all
B rows always work and a puzzle takes `mean segments x t(B) / B`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def expected_maximum(stops: NDArray[np.int64], batch: int) -> float:
    """Expected largest of `batch` stops drawn from the empirical distribution of `stops` [N].

    Exact: the sum over s >= 0 of 1 - F(s)^batch, with F the share of stops that are <= s.
    """
    share = np.cumsum(np.bincount(stops)) / len(stops)  # F(0), F(1), ..., F(largest) = 1
    return float((1 - share**batch).sum())


def wall_clock(
    stops: NDArray[np.int64], seconds_per_segment: Mapping[str, float]
) -> dict[str, float | int | None]:
    """Puzzles a second, from when each puzzle stopped and how long a segment takes.

    Args:
        stops: the segment each puzzle stopped at, 1-based, [N].
        seconds_per_segment: seconds of one segment by batch size, as a bank's header has them; the
            largest batch in it is the one that `static` and `refilled` are given for.

    Returns:
        batch_1, static, refilled: puzzles a second, None where that batch was not measured;
        batch: rows of the last two.
    """
    seconds = {int(size): float(value) for size, value in seconds_per_segment.items()}
    batch = max(seconds, default=0)
    mean = float(stops.mean())
    found: dict[str, float | int | None] = {
        "batch_1": 1 / (mean * seconds[1]) if 1 in seconds else None,
        "static": None,
        "refilled": None,
        "batch": batch or None,
    }
    if batch:
        found["static"] = batch / (expected_maximum(stops, batch) * seconds[batch])
        found["refilled"] = batch / (mean * seconds[batch])
    return found
