"""Noise: its numbers by the formula, alike for a row in every batch, and trajectories of an agent."""

import math

import pytest
import torch

from hrm_rl.agents import HRMAgent
from hrm_rl.model import Carry
from hrm_rl.model.noise import Noise, gaussian


def splitmix(x: int) -> int:
    """splitmix64's finaliser on Python's integers."""
    x = (x + 0x9E3779B97F4A7C15) % (1 << 64)
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    x = (x ^ x >> 27) * 0x94D049BB133111EB % (1 << 64)
    return x ^ x >> 31


def chain(key: int, *numbers: int) -> int:
    for number in numbers:
        key = splitmix((splitmix(key % (1 << 64)) + number) % (1 << 64))
    return key


def naive(key: int, number: int) -> float:
    """The number-th of 30 normal numbers of a key."""
    bits = chain(key, number % 15)
    u, v = bits >> 40, bits >> 16 & 0xFFFFFF
    radius, angle = math.sqrt(-2 * math.log(1 - u / 2**24)), 2 * math.pi * v / 2**24
    return radius * (math.cos(angle) if number < 15 else math.sin(angle))


def test_numbers_are_box_and_mullers_on_hashes() -> None:
    keys = [0, -7, 1 << 62]
    found = gaussian(torch.tensor(keys), 30)
    wanted = torch.tensor([[naive(key, n) for n in range(30)] for key in keys])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    many = gaussian(torch.arange(50), 4001)
    moments = torch.stack([(many**n).mean() for n in range(1, 5)])
    torch.testing.assert_close(moments, torch.tensor([0.0, 1, 0, 3]), atol=0.03, rtol=0)


@pytest.mark.parametrize(("start", "path"), [(True, 0.0), (False, 0.25), (True, 0.25), (False, 0.0)])
def test_a_row_has_the_noise_of_its_key_trajectory_and_segment(start, path) -> None:
    states = [torch.randn(4, 5, 6) for _ in range(2)]
    keys, segment = torch.tensor([9, 9, 9, 3]), torch.tensor([0, 2, 2, 2])
    trajectory = torch.tensor([1, 2, 0, 1])
    found = Noise(start, path)(Carry(*states), keys, segment, trajectory)
    for salt, (before, after) in enumerate(zip(states, found, strict=True)):
        for row, number in enumerate(trajectory.tolist()):
            key = chain(int(keys[row]), number, int(segment[row]), salt)
            drawn = torch.tensor([naive(key, n) for n in range(30)]).view(5, 6)
            wanted = before[row] + path * drawn
            if row == 0:  # at its start
                wanted = drawn if start else before[row]
            wanted = before[row] if number == 0 else wanted
            torch.testing.assert_close(after[row], wanted, atol=1e-5, rtol=1e-5)
    few = torch.tensor([3, 1])
    alone = Noise(start, path)(Carry(*states).take(few), keys[few], segment[few], trajectory[few])
    torch.testing.assert_close(alone, found.take(few), atol=0, rtol=0)


def test_an_agents_trajectories_differ_and_number_zero_is_the_plain_one(tiny_hrm) -> None:
    model = tiny_hrm()
    obs = {"inputs": torch.ones(4, model.config.seq_len, dtype=torch.int64)}
    obs |= {name: torch.zeros(4, dtype=torch.int64) for name in ("puzzle_identifiers", "segment")}
    key, trajectory = torch.tensor([5, 5, 5, 8]), torch.tensor([0, 1, 2, 1])
    noisy = HRMAgent(model, noise=Noise(path=0.5))
    first = noisy.act(obs, puzzle_key=key, trajectory=trajectory)
    obs["segment"] += 1
    second = noisy.act(obs, first.state, puzzle_key=key, trajectory=trajectory).out.logits
    assert len(first.out.logits.unique(dim=0)) == 1 and len(second.unique(dim=0)) == 4
    plain = HRMAgent(model).act(obs, first.state, puzzle_key=key).out.logits
    torch.testing.assert_close(second[0], plain[0], atol=0, rtol=0)
    by_default = noisy.act(obs, first.state, puzzle_key=key).out.logits
    torch.testing.assert_close(second[[1, 3]], by_default[[1, 3]], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"trajectory must have the shape \(4,\)"):
        noisy.act(obs, first.state, puzzle_key=key, trajectory=trajectory[:2])
    with pytest.raises(ValueError, match="path must be"):
        Noise(path=-0.1)
