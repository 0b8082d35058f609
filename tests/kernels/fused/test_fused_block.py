"""The fused module call in the model: its rounding, and when it is taken."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import fused_checks
import pytest
import torch

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.fused import block as fused_block
from hrm_rl.kernels.fused.block import fused_blocks, obstacle, wanted
from hrm_rl.model import layers
from hrm_rl.model.layers import rotary_tables
from hrm_rl.model.recurrence import BlockWeights, Positions, block

ROOT = Path(__file__).parents[3]


def weights(width: int, inner: int, dtype: torch.dtype, seed: int = 0) -> BlockWeights:
    return fused_checks.weights(width, inner, 10 * seed, dtype, "cpu")


@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_deferring_the_norm_changes_rounding_alone(monkeypatch, dtype, rotated) -> None:
    """Its error against float64 is at most 1.3 times that of the model's blocks."""
    monkeypatch.setenv("HRM_KERNELS", "eager")
    torch.manual_seed(0)
    x = (1.7 * torch.randn(4, 9, 96)).to(dtype)
    blocks = [weights(96, 176, dtype, seed) for seed in range(4)]
    rotary = rotary_tables(9, 32, 10000.0) if rotated else None
    if rotary is not None and dtype == torch.float64:
        rotary = rotary.double()
    exact, usual = x.double(), x
    for one in blocks:
        wide = BlockWeights(*(w.double() for w in one))
        exact = block(exact, wide, Positions(None if rotary is None else rotary.double()), 3, 1e-5)
        usual = block(usual, one, Positions(rotary), 3, 1e-5)
    found = fused_blocks(x, blocks, rotary, 3, 1e-5)
    assert found.dtype == dtype and found.shape == x.shape
    error, its = ((y.double() - exact).norm() / exact.norm() for y in (found, usual))
    assert error < 1e-12 if dtype == torch.float64 else error <= 1.3 * its
    ones = found.double().square().mean(-1)  # normed at the end
    torch.testing.assert_close(ones, torch.ones_like(ones), rtol=2e-2, atol=0)


@pytest.fixture
def interpreter(monkeypatch) -> None:
    """HRM_KERNELS=triton in the interpreter; nothing is launched in these tests."""
    pytest.importorskip("triton", reason="Triton is for Linux only")
    monkeypatch.setenv("HRM_KERNELS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    dispatch.warn_once.cache_clear()


@pytest.mark.parametrize("mode", ["triton", "auto", "eager", None])
@pytest.mark.parametrize("gpu", [True, False])
def test_only_with_triton_by_name(monkeypatch, interpreter, mode, gpu) -> None:
    """Also on a GPU, as its speed has not been measured there."""
    if gpu:
        monkeypatch.setattr(fused_block.dispatch, "backend", lambda device: "triton")
    if mode is None:
        monkeypatch.delenv("HRM_KERNELS")
    else:
        monkeypatch.setenv("HRM_KERNELS", mode)
    x, one = torch.zeros(1, 2, 64), weights(64, 16, torch.float32)
    assert wanted(x, one, None, 2) == (mode == "triton")


@pytest.mark.parametrize(
    ("width", "inner", "heads", "rotated", "dtype", "message"),
    [
        (64, 16, 4, True, torch.float16, "rotated heads of 16 channels, only 32, 64, 128"),
        (48, 16, 2, False, torch.float16, "a hidden size of 48, only multiples of 32 up to 1024"),
        (64, 20, 2, True, torch.float16, "a SwiGLU of width 20, only multiples of 16"),
        (64, 16, 2, True, torch.float64, "torch.float64, only torch.float16 and torch.float32"),
    ],
)  # fmt: skip
def test_sizes_without_a_kernel_go_block_by_block_with_one_log_line(
    interpreter, caplog, width, inner, heads, rotated, dtype, message
) -> None:
    x, one = torch.zeros(1, 3, width, dtype=dtype), weights(width, inner, dtype)
    rotary = rotary_tables(3, width // heads, 10000.0) if rotated else None
    with caplog.at_level(logging.WARNING):
        assert not wanted(x, one, rotary, heads)
        assert not wanted(x, one, rotary, heads)
    assert [r.getMessage() for r in caplog.records] == [
        f"gradient-free calls run block by block: the fused kernels do not support {message}"
    ]


@pytest.mark.parametrize("head_dim", [None, 32, 64, 128])
def test_supported_sizes(head_dim) -> None:
    for width in (32, 64, 96, 512, 1024):
        for inner in (16, 48, 256, 2816):
            assert obstacle(torch.bfloat16, width, inner, head_dim) is None
    assert obstacle(torch.float32, 512, 1536, head_dim) is not None


@pytest.mark.parametrize(("gradient", "fused_calls"), [("one-step", 4), ("last-cycle", 3), ("full", 0)])
def test_calls_with_a_gradient_stay_block_by_block(monkeypatch, tiny_hrm, gradient, fused_calls) -> None:
    """Six module calls; without gradients all are fused, with the same results and gradients."""
    model = tiny_hrm(hidden_size=64)
    with torch.no_grad():
        for parameter in model.q_head.parameters():
            parameter.normal_()
    inputs = torch.randint(6, (3, 16), generator=torch.Generator().manual_seed(0))
    ids = torch.zeros(3, dtype=torch.int64)

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        out = model(model.initial_carry(3), inputs, ids, gradient=gradient)
        loss = out.logits.square().mean() + out.q_halt.sum()
        used = [p for n, p in model.named_parameters() if "level" in n]
        return out.logits, list(torch.autograd.grad(loss, used))

    usual, usual_gradients = run()
    calls = []

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return fused_blocks(*arguments)

    monkeypatch.setattr(layers.small_block, "fits", lambda *_: False)
    monkeypatch.setattr(layers, "wanted", lambda *_: True)
    monkeypatch.setattr(layers, "fused_blocks", counted)
    found, gradients = run()
    assert len(calls) == fused_calls
    torch.testing.assert_close(found, usual, rtol=1e-4, atol=1e-4)
    for a, b in zip(gradients, usual_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    calls.clear()
    with torch.no_grad():
        found = model(model.initial_carry(3), inputs, ids, gradient=gradient).logits
    assert len(calls) == 6
    torch.testing.assert_close(found, usual, rtol=1e-4, atol=1e-4)


def test_runs_where_triton_is_not_installed() -> None:
    program = """
import sys
sys.modules["triton"] = None
import torch
from hrm_rl.kernels.fused.block import fused_blocks
from hrm_rl.model.recurrence import BlockWeights
one = BlockWeights(torch.ones(96, 32), torch.ones(32, 32), torch.ones(32, 32), torch.ones(32, 16))
print(fused_blocks(torch.ones(1, 2, 32), [one], None, 1, 1e-5).mean().item())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(1.0, abs=1e-4)
