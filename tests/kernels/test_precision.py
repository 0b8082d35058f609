"""One warning about a dtype that a CPU emulates."""

import warnings

import pytest
import torch

from hrm_rl.kernels import precision
from hrm_rl.model import HRM, HRMConfig


@pytest.mark.parametrize(
    ("fast", "dtype", "warned"),
    [(False, "bfloat16", True), (True, "bfloat16", False), (False, "float32", False)],
)
def test_emulated_bfloat16_is_warned_of(monkeypatch, fast: bool, dtype: str, warned: bool) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device="cpu": fast)
    precision.warn_of_emulation.cache_clear()
    config = HRMConfig(vocab_size=3, seq_len=4, hidden_size=8, num_heads=1, forward_dtype=dtype)
    model = HRM(config)
    with warnings.catch_warnings(record=True) as warned_of:
        warnings.simplefilter("always")
        carries = [model.initial_carry(2) for _ in range(2)]
    assert carries[0].z_H.dtype == getattr(torch, dtype)
    assert ["forward_dtype='float32'" in str(w.message) for w in warned_of] == [True] * warned
    precision.warn_of_emulation.cache_clear()
