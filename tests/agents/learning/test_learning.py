"""A tiny HRM learns, through the environment, to fill in the blanks of easy 4x4 Sudokus."""

import torch

from hrm_rl.envs import PoolSource
from hrm_rl.puzzles import sudoku


def test_a_tiny_model_learns_easy_sudokus(play, hrm) -> None:
    """Solved at the end of an episode: next to none at first, most of them before long."""
    puzzles = sudoku.generate(200, 4, seed=0, extra_givens=(11, 12))
    source = PoolSource(puzzles, sudoku.vocab_size(4), symmetry=sudoku.symmetry(4))
    game = play(
        hrm(hidden_size=32, num_heads=4, halt_max_steps=2),
        source,
        64,
        optimizer="adamw",
        lr=5e-3,
        weight_decay=0.1,
        warmup_steps=20,
    )
    solved: list[float] = []
    for _ in range(600):
        m = game.step()
        share = (m["correct"] & m["ended"]).sum() / m["ended"].sum().clamp_min(1)
        solved.append(share.item())
        if sum(solved[-20:]) > 20 * 0.6:
            break
    assert sum(solved[:5]) / 5 < 0.1
    assert torch.tensor(solved[-20:]).mean() > 0.6, f"after {len(solved)} steps"
