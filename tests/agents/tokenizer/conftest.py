"""Batches of observations of any space, and tokenizers for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from hrm_rl.agents.tokenizer import ObsTokenizer


@pytest.fixture(scope="session")
def observed() -> Callable[..., Any]:
    """Makes a batch of observations, as a vector environment gives them."""

    def make(space: spaces.Space, seed: int = 0, rows: int = 4) -> Any:
        batched = batch_space(space, rows)
        batched.seed(seed)
        return batched.sample()

    return make


@pytest.fixture(scope="session")
def tokenizer() -> Callable[..., ObsTokenizer]:
    def make(space: spaces.Space, width: int = 16, seed: int = 0, **options: Any) -> ObsTokenizer:
        torch.manual_seed(seed)
        return ObsTokenizer(space, width, **options)

    return make
