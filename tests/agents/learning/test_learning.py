"""A tiny HRM learns, through the environment, to fill in the blanks of easy 4x4 Sudokus."""

import torch


def test_a_tiny_model_learns_easy_sudokus(loop, hrm, make_source) -> None:
    """Solved at the end of an episode: next to none at first, most of them before long."""
    game = loop(
        hrm(hidden_size=32, num_heads=4, halt_max_steps=2, H_cycles=1, L_cycles=1),
        64,
        make_source(extra_givens=(11, 12)),
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
