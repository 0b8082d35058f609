"""A counter-based random number generator on tensors: pure hashes, no state, no host."""

import torch
from torch import Tensor

# splitmix64's constants (Steele, Lea and Flood 2014), written as signed 64-bit integers.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser of x (int64, any shape): a bijection that looks random."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def stream(x: Tensor, number: int | Tensor) -> Tensor:
    """An independent hash of x for each small `number` (a tensor broadcasts)."""
    return mix(mix(x) + number)


def below(bits: Tensor, limit: int) -> Tensor:
    """Uniform integers in [0, limit) from hashed bits; the bias is below limit / 2**63."""
    return (bits & 0x7FFFFFFFFFFFFFFF) % limit


def uniform(bits: Tensor) -> Tensor:
    """Uniform float32 in [0, 1) from hashed bits, 24 bits of them."""
    return _shift(bits, 40).float() / float(1 << 24)


def as_keys(values: list[int], device: torch.device) -> Tensor:
    """Python integers as int64 keys, wrapped to 64 bits."""
    wrapped = [(v + (1 << 63)) % (1 << 64) - (1 << 63) for v in values]
    return torch.tensor(wrapped, dtype=torch.int64, device=device)
