"""Counter-based random numbers inside numba: splitmix64 (Steele, Lea and Flood, OOPSLA 2014).

A stream is one uint64; the n-th number of a stream is a pure integer function of it. So a draw depends
neither on the platform, nor on the number of workers, nor on other draws.

Do not change these lines: every generated puzzle depends on them, and numba's on-disk cache does not see a
change in an imported file.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.compiling import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@njit()
def mix64(z):
    """splitmix64's finaliser: a bijection of uint64 in which every input bit moves every output bit."""
    z = (z ^ (z >> _30)) * _FACTOR_1
    z = (z ^ (z >> _27)) * _FACTOR_2
    return z ^ (z >> _31)


@njit()
def below(stream, bound):
    """Draw an int64 in [0, bound) from `stream`, a uint64 array [1] that it advances.

    By multiplication (Lemire 2019) without rejection: the bias, bound / 2**32, is negligible here.
    """
    stream[0] += GOLDEN
    return np.int64(((mix64(stream[0]) >> _32) * np.uint64(bound)) >> _32)


@njit()
def shuffle(stream, values):
    """Put values [N] in random order."""
    for i in range(values.size - 1, 0, -1):
        j = below(stream, i + 1)
        values[i], values[j] = values[j], values[i]


@njit()
def choose(stream, order, count):
    """Fill order [N] with 0 .. N - 1, of which the first `count` are a random choice in random order."""
    for i in range(order.size):
        order[i] = i
    for i in range(count):
        j = i + below(stream, order.size - i)
        order[i], order[j] = order[j], order[i]


def mix64_array(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix64` of every entry, outside of kernels: uint64 of any shape."""
    with np.errstate(over="ignore"):  # NumPy warns about scalars
        return mix64.py_func(np.array(values, dtype=np.uint64))


def fold(keys: NDArray[np.uint64], *numbers: int | NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Hash integers, or arrays [N] of them, into keys uint64 [N] one after the other."""
    for number in numbers:
        keys = mix64_array((keys ^ np.asarray(number, np.uint64)) + GOLDEN)
    return keys


def stream_keys(*numbers: int | NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Starts of independent streams, one for each tuple of numbers, in this order.

    The numbers are integers in [0, 2**64) and integer arrays [N]. Returns uint64 [N], or [1] without arrays.
    """
    return fold(np.zeros(1, np.uint64), *numbers)
