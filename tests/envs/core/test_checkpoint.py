"""`state_dict` resumes exactly: the same puzzles, drafts, counters, rewards."""

import io
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PuzzleVectorEnv

ROWS = 5


def make(source: Any, **options: Any) -> PuzzleVectorEnv:
    return PuzzleVectorEnv(ROWS, source, halt_max_steps=4, segment_cost=0.125, **options)


def flat(value: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """All tensors of nested dicts by their path; without an episode's wall-clock time."""
    if not isinstance(value, dict):
        return {prefix: value}
    parts = [flat(v, f"{prefix}/{k}") for k, v in value.items() if k != "t"]
    return {key: tensor for part in parts for key, tensor in part.items()}


def rollout(envs: PuzzleVectorEnv, play: Any, steps: int, seed: int) -> list[dict]:
    rng, (_, info), record = np.random.default_rng(seed), envs.current(), []
    for _ in range(steps):
        obs, reward, terminated, truncated, info = envs.step(play(rng, info["labels"]))
        outcome = {"reward": reward, "terminated": terminated, "truncated": truncated}
        record.append(flat({"obs": obs, "info": info} | outcome))
    return record


@pytest.mark.parametrize("order", ["hash", "epoch"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_a_resumed_environment_goes_on_exactly(source: Any, play: Any, mode: str, order: Any) -> None:
    envs = make(source, autoreset_mode=mode, order=order)
    envs.reset(seed=3)
    rollout(envs, play, 7, seed=0)
    file, saved = io.BytesIO(), envs.state_dict()
    torch.save(saved, file)
    went_on = rollout(envs, play, 12, seed=1)
    next_keys = envs.reset()[1]["puzzle_key"]

    file.seek(0)
    again, loaded = (make(source, autoreset_mode=mode, order=order), torch.load(file, weights_only=True))
    for resumed, state in ((again, loaded), (envs, saved)):
        resumed.load_state_dict(state)
        for one, two in zip(went_on, rollout(resumed, play, 12, seed=1), strict=True):
            assert one.keys() == two.keys()
            for key, value in one.items():
                assert torch.equal(value, two[key]), key
        assert torch.equal(resumed.reset()[1]["puzzle_key"], next_keys)


def test_a_state_of_other_rows_is_refused(source: Any) -> None:
    envs = make(source)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"\(5, 16\); these environments have \(4, 16\)"):
        PuzzleVectorEnv(4, source).load_state_dict(envs.state_dict())
