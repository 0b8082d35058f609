"""Bootstrap draws, and the intervals and p-values that they give.

`nested_bootstrap` resamples puzzles nested in runs, for any number of quantities at once. A quantity is
one number per puzzle, such as the segments it took. All quantities of a puzzle are drawn together, so the
difference of two rules on the same puzzles is paired. Pass whole numbers (correct as 0 and 1, segments)
and combine the means afterwards: `accuracy - cost * segments` is linear, and sums of whole numbers are
exact, so two rules that do the same differ by zero in every draw.

`stratified_bootstrap` resamples runs within tasks, for scores [R, T].

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6, 8 and 13; Davison
and Hinkley, Bootstrap Methods and their Application (1997), section 3.8 (nested data) and chapter 4;
Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base.counter_rng import GOLDEN, mix64, stream_keys

_LOW_HALF = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

# A binomial number costs about as much as this many row numbers, measured on one core.
_ROWS_PER_BINOMIAL = 64
# Counts held at a time; 4 million are 48 MB in both of their types.
_COUNTS_AT_ONCE = 1 << 22
# Resampled scores held at a time, 32 MB.
_SCORES_AT_ONCE = 1 << 22


def nested_means(groups: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """The mean over runs of each run's means, [K], around which `nested_bootstrap` of `groups` scatters."""
    return np.mean([rows.mean(0) for rows in _checked(groups)], axis=0)


def nested_bootstrap(
    groups: Sequence[ArrayLike], draws: int = 10_000, seed: int = 0, *, shared_puzzles: bool = False
) -> NDArray[np.float64]:
    """Bootstrap draws of means over puzzles nested in runs, [D, K].

    A draw takes as many runs as there are, with replacement; in each drawn run as many puzzles as it has,
    with replacement, independently each time the run is drawn; and it averages the runs' means, so each run
    weighs the same. With one run it is the plain paired bootstrap. With S runs, the variance between runs
    comes out too small by a factor (S - 1) / S.

    Nested draws treat the puzzles of each run as independent. For runs on the same puzzles their intervals
    are too narrow; `shared_puzzles` then draws one set of puzzles for all runs (the pigeonhole bootstrap of
    Owen 2007), and the interval covers other runs and other puzzles.

    Args:
        groups: one array [N_s, K] a run (training seed): rows are puzzles, columns are quantities.
        draws: number of draws, D.
        seed: the same seed gives the same draws.
        shared_puzzles: row n is the same puzzle in every run.

    Raises:
        ValueError: no run, a run that is not a matrix or has no rows, different numbers of columns (or of
            rows, with `shared_puzzles`), an entry that is not finite, or no draws.
    """
    checked = _checked(groups)
    _check_draws(draws)
    runs = len(checked)
    times = np.ones((draws, 1), np.int64)  # that each draw takes each run, [D, S]
    if runs > 1:
        rng = np.random.default_rng([seed, runs])
        times = rng.multinomial(runs, np.full(runs, 1 / runs), draws)
    if shared_puzzles:
        return _with_shared_puzzles(checked, times, seed)
    means = np.zeros((draws, checked[0].shape[1]))
    for run, rows in enumerate(checked):
        means += _resampled_sums(rows, times[:, run], (seed, run)) / len(rows)
    return means / runs


def percentile_interval(draws: ArrayLike, level: float = 0.95) -> NDArray[np.float64]:
    """The ends [2] or [2, K] of the interval with a share `level` of the draws [D] or [D, K] inside.

    The same share of draws is cut off at either end. A draw that is NaN (a ratio without a denominator) is
    outside at both ends, and an end that such draws reach is NaN.

    Raises ValueError for no draws, or a level outside (0, 1).
    """
    values = _checked_draws(draws)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; a share between 0 and 1 is needed, such as 0.95")
    tail = (1 - level) / 2
    unknown = np.isnan(values)
    # Ranks instead of interpolation: halfway between a number and infinity there is nothing.
    low_rank = int(tail * (len(values) - 1) + 1e-9)
    high_rank = len(values) - 1 - low_rank
    low = np.partition(np.where(unknown, -np.inf, values), low_rank, axis=0)[low_rank]
    high = np.partition(np.where(unknown, np.inf, values), high_rank, axis=0)[high_rank]
    ends = np.stack([low, high])
    return np.where(np.isinf(ends), np.nan, ends)


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    draws: int = 10_000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Bootstrap draws [D, *] of a statistic: within each task, runs are drawn with replacement.

    Tasks stay as they are: the interval covers other runs on the same tasks. It is too narrow for fewer
    than about 5 runs a task, the narrower the fewer tasks there are.

    Args:
        scores: of R runs on T tasks.
        statistic: from [..., R, T] to [..., *], such as `stats.interquartile_mean`.
        draws: number of draws, D.
        seed: the same seed gives the same draws.

    Raises:
        ValueError: scores that are not a matrix or hold NaN, or no draws.
    """
    values = checked_scores(scores)
    if values.ndim != 2:
        raise ValueError(f"scores have shape {values.shape}; [runs, tasks] is needed")
    _check_draws(draws)
    rng = np.random.default_rng(seed)
    tasks = np.arange(values.shape[1])
    step = max(1, _SCORES_AT_ONCE // values.size)
    parts = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        runs = rng.integers(len(values), size=(size, *values.shape))
        parts.append(np.asarray(statistic(values[runs, tasks])))  # of [size, R, T]
    return np.concatenate(parts)


def checked_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores [..., R, T] as float64. Raises ValueError for fewer axes, no scores, or NaN."""
    values = np.asarray(scores, np.float64)
    if values.ndim < 2 or values.size == 0:
        raise ValueError(f"scores have shape {values.shape}; [runs, tasks] is needed")
    if np.isnan(values).any():
        raise ValueError("scores hold NaN; every run needs a score on every task")
    return values


def two_sided_p(differences: ArrayLike) -> NDArray[np.float64] | float:
    """Two-sided p-values, one or [K], of "the difference is zero" from its draws [D] or [D, K].

    Twice the smaller share of draws at or beyond zero (up to 1e-12), with one draw added to either count
    (Davison and Hinkley, section 4.4; Phipson and Smyth 2010, arXiv 1603.05766), so that the smallest is
    2 / (D + 1). It is below 0.05 about when the 95 % percentile interval excludes zero.

    Raises ValueError for no draws, or one that is not finite.
    """
    values = _checked_draws(differences)
    if not np.isfinite(values).all():
        raise ValueError("differences hold a number that is not finite; their p-value is undefined")
    below = (values <= 1e-12).sum(0)
    above = (values >= -1e-12).sum(0)
    p_values = np.minimum(1.0, 2 * (1 + np.minimum(below, above)) / (len(values) + 1))
    return float(p_values) if values.ndim == 1 else p_values


def _checked_draws(draws: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(draws, np.float64)
    if values.ndim not in (1, 2) or len(values) == 0:
        raise ValueError(f"draws have shape {values.shape}; [D] or [D, K] with D > 0 is needed")
    return values


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least 1 is needed")


def _checked(groups: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    checked = [np.asarray(rows, np.float64) for rows in groups]
    if not checked:
        raise ValueError("groups is empty; one array [puzzles, columns] a run is needed")
    for run, rows in enumerate(checked):
        if rows.ndim != 2 or rows.size == 0:
            raise ValueError(f"groups[{run}] has shape {rows.shape}; [puzzles, columns] is needed")
        if rows.shape[1] != checked[0].shape[1]:
            raise ValueError(
                f"groups[{run}] has {rows.shape[1]} columns and groups[0] has {checked[0].shape[1]}; "
                "every run needs the same columns"
            )
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise ValueError(
                f"groups[{run}] holds {rows[row, column]} in row {row}, column {column}; "
                "every entry must be finite"
            )
    return checked


def _with_shared_puzzles(
    groups: list[NDArray[np.float64]], times: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Means of every draw, [D, K], with one set of puzzles a draw for all runs."""
    sizes = {len(rows) for rows in groups}
    if len(sizes) > 1:
        raise ValueError(f"shared_puzzles needs the same puzzles in every run; they have {sizes}")
    once = np.ones(len(times), np.int64)
    sums = _resampled_sums(np.concatenate(groups, axis=1), once, (seed, 0))  # [D, S * K]
    by_run = sums.reshape(*times.shape, -1)
    return np.einsum("ds,dsk->dk", times, by_run) / (len(groups) * sizes.pop())


def _resampled_sums(
    rows: NDArray[np.float64], times: NDArray[np.int64], key: tuple[int, int]
) -> NDArray[np.float64]:
    """Sums over times[d] * N rows drawn with replacement, for every draw d: [D, K].

    Outcomes are discrete, so many rows are equal. The counts of the distinct rows are multinomial. Few
    distinct rows are drawn that way; otherwise row numbers are drawn and counted. Both give the same
    distribution.
    """
    distinct, number, counts = _distinct_rows(rows)
    few = _ROWS_PER_BINOMIAL * len(distinct) < len(rows)
    rng = np.random.default_rng(key)
    keys = stream_keys(*key, np.arange(len(times), dtype=np.uint64))
    sums = np.empty((len(times), rows.shape[1]))
    step = max(1, _COUNTS_AT_ONCE // len(distinct))
    for start in range(0, len(times), step):
        part = slice(start, start + step)
        if few:
            drawn = rng.multinomial(len(rows) * times[part], counts / len(rows))
        else:
            drawn = np.zeros((len(times[part]), len(distinct)), np.int32)
            _count_draws(keys[part], times[part], number, drawn)
        sums[part] = drawn.astype(np.float64) @ distinct
    return sums


def _distinct_rows(
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct rows [U, K], the index of each row among them [N], and their counts [U].

    Rows are compared by a 64-bit hash, which is much faster than sorting them. Two different rows among N
    share it with probability N**2 / 2**65, one in a billion for 200,000.
    """
    bits = np.ascontiguousarray((rows + 0.0).T).view(np.uint64)  # + 0.0: -0.0 is 0.0
    _, first, number, counts = np.unique(
        stream_keys(*bits), return_index=True, return_inverse=True, return_counts=True
    )
    return rows[first], number, counts


@njit()
def _count_draws(keys, times, number, counts):
    """Draws times[d] * N of N rows from the stream keys[d] and counts them by their `number`.

    By Lemire's multiplication with rejection (2019), which has no bias; each 64-bit number of the
    stream serves twice.
    """
    rows = np.uint64(number.shape[0])
    rejected = (_LOW_HALF + np.uint64(1) - rows) % rows
    for draw in range(keys.shape[0]):
        state = keys[draw]
        left = times[draw] * number.shape[0]
        while left > 0:
            state += GOLDEN
            bits = mix64(state)
            product = (bits & _LOW_HALF) * rows
            if (product & _LOW_HALF) >= rejected:
                counts[draw, number[product >> _32]] += 1
                left -= 1
            product = (bits >> _32) * rows
            if left > 0 and (product & _LOW_HALF) >= rejected:
                counts[draw, number[product >> _32]] += 1
                left -= 1
