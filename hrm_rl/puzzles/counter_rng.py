"""Counter-based random numbers inside numba: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).

A stream is one uint64; the n-th number of a stream is a pure function of it, in integers only. So what
is drawn does not depend on the platform, on the number of workers or on what was drawn for others.

Every generated puzzle hangs on these few lines, and numba's on-disk cache does not see a change in an
imported file: they are not to be changed.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@njit(cache=True)
def mix64(z):
    """splitmix64's finaliser: a bijection of uint64 in which every input bit moves every output bit."""
    z = (z ^ (z >> _30)) * _FACTOR_1
    z = (z ^ (z >> _27)) * _FACTOR_2
    return z ^ (z >> _31)


@njit(cache=True)
def below(stream, bound):
    """Draws an int64 in [0, bound) from `stream`, a uint64 array [1] that it advances.

    By multiplication (Lemire 2019) without rejection: the bias, bound / 2**32, is far below what
    a puzzle generator could show.
    """
    stream[0] += _GOLDEN
    return np.int64(((mix64(stream[0]) >> _32) * np.uint64(bound)) >> _32)


def mix64_array(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix64` of every entry, for use outside of kernels; uint64 of any shape, and the same shape."""
    z = np.array(values, dtype=np.uint64)
    with np.errstate(over="ignore"):  # NumPy warns where the array is a scalar
        z = (z ^ (z >> _30)) * _FACTOR_1
        z = (z ^ (z >> _27)) * _FACTOR_2
    return z ^ (z >> _31)


def stream_keys(*numbers: int | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Starts of independent streams, one for each tuple of numbers; their order matters.

    Args:
        numbers: integers in [0, 2**64) and uint64 arrays [N] of them.

    Returns:
        uint64 [N], or [1] where all are integers.
    """
    keys = np.zeros(1, np.uint64)
    for number in numbers:
        keys = mix64_array((keys ^ np.asarray(number, np.uint64)) + _GOLDEN)
    return keys
