"""The precision that the kernels compute in."""

import torch


def wide(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 for float64 (which is for gradient checks and exact references)."""
    return torch.float64 if dtype == torch.float64 else torch.float32
