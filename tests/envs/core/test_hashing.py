"""The counter-based generator: splitmix64, its ranges, and independent streams."""

import random

import pytest
import torch

from hrm_rl.hashing import as_keys, below, mix, stream, uniform

WORD = (1 << 64) - 1
CPU = torch.device("cpu")


def splitmix64(x: int) -> int:
    """The finaliser on Python's unbounded integers, wrapped by hand."""
    x = (x + 0x9E3779B97F4A7C15) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def unsigned(x: torch.Tensor) -> list[int]:
    return [v & WORD for v in x.tolist()]


def words(count: int) -> list[int]:
    edges = [0, 1, 2, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, WORD, WORD - 1]
    return edges + [random.Random(0).getrandbits(64) for _ in range(count)]


def test_mix_is_splitmix64() -> None:
    values = words(200)
    assert unsigned(mix(as_keys(values, CPU))) == [splitmix64(v) for v in values]


def test_mix_gives_the_published_sequence() -> None:
    """The first outputs of the reference generator seeded with 0."""
    states = as_keys([0x9E3779B97F4A7C15 * k for k in range(3)], CPU)
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert unsigned(mix(states)) == wanted


def test_stream_mixes_twice_and_broadcasts() -> None:
    values = words(20)
    numbers = torch.arange(5)
    got = stream(as_keys(values, CPU)[:, None], numbers)
    for row, value in zip(got, values, strict=True):
        assert unsigned(row) == [splitmix64((splitmix64(value) + n) & WORD) for n in range(5)]
    assert torch.equal(got[:, 3], stream(as_keys(values, CPU), 3))


@pytest.mark.parametrize("limit", [1, 2, 7, 1296, (1 << 31) + 11])
def test_below_stays_below_and_takes_negative_bits(limit: int) -> None:
    drawn = below(mix(torch.arange(-35_000, 35_000)), limit)
    assert ((drawn >= 0) & (drawn < limit)).all()
    if limit == 7:  # and roughly uniform
        counts = torch.bincount(drawn, minlength=7).double()
        assert ((counts - 10_000) ** 2 / 10_000).sum() < 30  # six degrees of freedom
    extremes = below(torch.tensor([-1, -(1 << 63), (1 << 63) - 1]), limit)
    assert ((extremes >= 0) & (extremes < limit)).all()


def test_uniform_lies_in_the_half_open_unit_interval() -> None:
    extremes = uniform(torch.tensor([-1, 0, (1 << 63) - 1, -(1 << 63)]))
    assert extremes.dtype == torch.float32
    assert extremes.tolist() == [1 - 2**-24, 0.0, 0.5 - 2**-24, 0.5]
    many = uniform(mix(torch.arange(40_000)))
    assert abs(float(many.mean()) - 0.5) < 0.01 and abs(float(many.var()) - 1 / 12) < 0.003
