"""Features to decide on, made by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.halting import BankHeader, SegmentFeatures, TraceBank

INTEGERS = ("segment", "unchanged_for", "puzzle_key")


@pytest.fixture
def features() -> Callable[..., SegmentFeatures]:
    """`features(confidence=[0.1, 0.9])`: these fields, zeros in all others."""

    def make(**fields: list[float]) -> SegmentFeatures:
        rows = len(next(iter(fields.values())))
        values = {
            name: torch.tensor(
                fields.get(name, [0] * rows), dtype=torch.int64 if name in INTEGERS else torch.float32
            )
            for name in SegmentFeatures._fields
            if name != "pooled_z_H"
        }
        return SegmentFeatures(**values)

    return make


@pytest.fixture(scope="session")
def random_bank() -> Callable[..., TraceBank]:
    """`random_bank(puzzles, segments, seed)`: validation puzzles whose signals are noisy, and tell."""

    def make(puzzles: int = 60, segments: int = 6, seed: int = 0, **fields: Any) -> TraceBank:
        rng = np.random.default_rng(seed)
        shape = (puzzles, segments)
        skill = rng.normal(size=(puzzles, 1)) + 0.4 * np.arange(segments)
        correct = skill + rng.normal(size=shape) > 1
        seen = np.where(correct, 1.5, -0.5) + rng.normal(size=shape)
        share = (1 / (1 + np.exp(-seen))).round(2)  # rounded, so that ties occur
        late = np.where(np.arange(segments) == 0, np.inf, 1)
        features = {
            "q_halt": seen.round(1),
            "q_continue": rng.normal(size=shape),
            "confidence": share,
            "confidence_min": share**2,
            "margin": share * rng.random(shape),
            "entropy": 1 - share,
            "kl": late * np.exp(-3 * share) * rng.random(shape),
            "residual_H": late * np.exp(-2 * share) * rng.random(shape),
            "residual_L": late * rng.random(shape),
            "changed": np.where(np.arange(segments) == 0, 1, rng.random(shape) < 0.5),
            "unchanged_for": rng.integers(0, np.arange(segments) + 1, shape),
        }
        tokens = rng.integers(0, 250, (puzzles, 8))
        values: dict[str, Any] = {
            "correct": correct,
            "valid": correct,
            "cell_accuracy": np.where(correct, 1.0, 0.5),
            "features": features,
            "inputs": tokens,
            "labels": tokens + 1,
            "puzzle_identifiers": np.zeros(puzzles),
            "puzzle_key": np.arange(puzzles),
            "rating": np.full(puzzles, np.nan),
            "source": ("made up",) * puzzles,
            "split": np.full(puzzles, "validation"),
            "header": BankHeader(model_hash="abc"),
        }
        return TraceBank(**(values | fields))

    return make
