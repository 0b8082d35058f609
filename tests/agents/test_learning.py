"""A tiny HRM learns: from next to nothing to most of 4x4 Sudoku with few blanks."""

import torch


def test_a_tiny_model_learns_easy_sudokus(loop, hrm) -> None:
    game = loop(
        hrm(hidden_size=32, num_heads=2),
        rows=64,
        optimizer="adamw",
        lr=5e-3,
        weight_decay=0.1,
        warmup_steps=20,
    )
    shares = []
    for _ in range(LEARNING_STEPS):
        m = game.step()
        shares.append((m["correct"] & m["ended"]).sum() / m["ended"].sum().clamp_min(1))
    shares = torch.stack(shares)
    assert shares[:10].mean() < 0.1
    assert shares[-20:].mean() > 0.5


LEARNING_STEPS = 250
