"""What the checks of the row kernels share."""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-5
# The largest root mean square error, relative to that of the exact result.
BARS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-3}


class Check(NamedTuple):
    """An error and what it may be at most."""

    name: str
    error: float
    bar: float


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(found: Tensor, wanted: Tensor) -> float:
    """The error's root mean square over that of what was wanted."""
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    assert found.shape == wanted.shape
    return ((found - wanted).norm() / wanted.norm().clamp_min(1e-300)).item()


@contextlib.contextmanager
def mode(value: str) -> Iterator[None]:
    """HRM_KERNELS for the time being."""
    before = os.environ.get("HRM_KERNELS")
    os.environ["HRM_KERNELS"] = value
    try:
        yield
    finally:
        del os.environ["HRM_KERNELS"]
        if before is not None:
            os.environ["HRM_KERNELS"] = before
