"""`order="epoch"`: each puzzle exactly once, however raggedly rows halt; padding at the end."""

from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.puzzles.pool import IGNORE_LABEL


@pytest.mark.parametrize("rows", [1, 7, 50, 64])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_each_puzzle_exactly_once(rows: int, mode: str, in_order: Any, pool: Any, play: Any) -> None:
    envs = PuzzleVectorEnv(rows, in_order, order="epoch", autoreset_mode=mode, halt_max_steps=3)
    _, info = envs.reset(seed=0)
    rng, seen = np.random.default_rng(0), []
    while (info["puzzle_key"] < len(pool)).any():
        _, _, terminated, _, info = envs.step(play(rng, info["labels"], 0.4))
        ended, final = info["_final_info"], info["final_info"]
        seen += final["puzzle_key"][ended].tolist()
        own = final["puzzle_key"].clamp(max=len(pool) - 1)
        real = ended & (final["puzzle_key"] < len(pool))
        labels = torch.from_numpy(pool.labels)[own]
        assert torch.equal(final["labels"][real], labels[real])
        if mode == "Disabled":
            _, info = envs.reset(options={"reset_mask": terminated})
    counts = np.bincount(seen, minlength=len(pool))
    assert (counts[: len(pool)] == 1).all()
    assert (info["labels"] == IGNORE_LABEL).all()


def test_rows_that_end_together_take_the_next_puzzles_in_row_order(in_order: Any) -> None:
    envs = PuzzleVectorEnv(4, in_order, order="epoch")
    obs, info = envs.reset(seed=0)
    assert info["puzzle_key"].tolist() == [0, 1, 2, 3]
    orders = []
    for halt in ([0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]):
        *_, info = envs.step({"answer": obs["inputs"], "halt": torch.tensor(halt)})
        orders.append(info["puzzle_key"].tolist())
    assert orders == [[0, 4, 2, 5], [6, 4, 2, 7], [6, 4, 2, 7]]


def test_a_seeded_reset_starts_over_and_an_unseeded_one_goes_on(in_order: Any) -> None:
    envs = PuzzleVectorEnv(4, in_order, order="epoch")
    envs.reset(seed=0)
    assert envs.reset()[1]["puzzle_key"].tolist() == [4, 5, 6, 7]
    assert envs.reset(seed=1)[1]["puzzle_key"].tolist() == [0, 1, 2, 3]
