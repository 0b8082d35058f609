"""The epilogue-fused kernels against float64: in Triton's interpreter, and on a GPU if there is one."""

from types import SimpleNamespace
from typing import Any

import fused_checks
import pytest
import torch
from check_tools import Check, assert_all_hold, captured, interpreted, relative

from hrm_rl.kernels.fused import linear as fused_linear
from hrm_rl.kernels.fused.block import fused_blocks
from hrm_rl.kernels.fused.linear import Deferred
from hrm_rl.model.layers import rotary_tables

# --- in the interpreter ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def usual() -> list[Check]:
    return interpreted("fused_checks.py")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("kernel", "shapes"),
    [
        ("qkv_rope", 4),
        ("gate_up_swiglu", 4),
        ("linear_residual", 4),
        ("squares", 4),
        ("normalise", 3),
        ("chain", 2),
        ("segment", 2),
    ],
)
def test_accuracy_in_the_interpreter(usual, kernel, shapes, dtype) -> None:
    assert_all_hold((c for c in usual if c.name.startswith(f"{kernel}.torch.{dtype}.")), shapes)


@pytest.mark.parametrize(
    ("what", "count"),
    [
        (".Tile(", 15),  # any tile computes the same
        (".again", 5),  # to the bit
        (".empty", 4),
        ("opcheck.", 4),
        ("compiled.", 2),
    ],
)
def test_properties_in_the_interpreter(usual, what, count) -> None:
    assert_all_hold((c for c in usual if what in c.name), count)


@pytest.mark.slow
def test_wide_sweep_of_shapes_in_the_interpreter() -> None:
    assert_all_hold(interpreted("fused_checks.py", "--wide"), at_least=150)


# --- eager twins and refusals ---------------------------------------------------------------------


TWINS = SimpleNamespace(
    **{
        name: getattr(fused_linear, f"{name}_eager")
        for name in ("qkv_rope", "gate_up_swiglu", "linear_residual", "normalise")
    }
)


@pytest.mark.parametrize("shape", [(35, 96, 176, 3, True), (14, 64, 48, 2, True), (7, 32, 16, 1, False)])
@pytest.mark.parametrize("dtype", list(fused_checks.ONE))
def test_eager_twins_are_the_norm_and_then_the_layer(dtype, shape) -> None:
    case = fused_checks.sample(*shape, dtype, "cpu")
    exact = case.exact()
    for name, out in case.found(TWINS).items():
        assert relative(out, exact[name]) < fused_checks.ONE[dtype], name


def call(name: str, **changes: Any) -> Any:
    """A small valid call of one function, but for `changes`."""
    h = changes.get("h", torch.randn(6, 64))
    state = Deferred(h, None)
    if name == "gate_up_swiglu":
        return fused_linear.gate_up_swiglu(state, changes.get("weight", torch.ones(32, 64)), 1e-5)
    if name == "linear_residual":
        weight = changes.get("weight", torch.ones(64, 16))
        return fused_linear.linear_residual(torch.ones(6, 16), weight, state, 1e-5)
    return fused_linear.qkv_rope(
        state,
        changes.get("weight", torch.ones(192, 64)),
        changes.get("rotary"),
        3,
        changes.get("heads", 2),
        1e-5,
    )


@pytest.mark.parametrize("name", ["gate_up_swiglu", "linear_residual", "qkv_rope"])
def test_refuses_what_wants_a_gradient(name) -> None:
    call(name)
    h = torch.randn(6, 64, requires_grad=True)
    with pytest.raises(ValueError, match=rf"{name} has no gradient; call it under torch.no_grad"):
        call(name, h=h)
    with torch.no_grad():
        call(name, h=h)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gate_up_swiglu", {"weight": torch.ones(33, 64)}, "33 rows, an odd number"),
        ("gate_up_swiglu", {"weight": torch.ones(32, 60)}, r"\(6, 64\) and weight \(32, 60\)"),
        ("gate_up_swiglu", {"weight": torch.ones(32, 64).half()}, "mixed dtypes"),
        ("linear_residual", {"weight": torch.ones(32, 16)}, r"residual's shape \(6, 64\)"),
        ("qkv_rope", {"weight": torch.ones(190, 64)}, "does not hold q, k and v of 2 heads"),
        ("qkv_rope", {"heads": 3}, "of 3 heads for rows of width 64"),
        ("qkv_rope", {"rotary": torch.ones(2, 3, 16)}, r"\(2, 3, 16\), want \(2, 3, 32\)"),
    ],
)
def test_refuses_shapes_that_do_not_fit(name, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(name, **changes)


def test_refuses_a_head_size_without_a_kernel(monkeypatch) -> None:
    pytest.importorskip("triton", reason="Triton is for Linux only")
    monkeypatch.setenv("HRM_KERNELS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match=r"no kernel for heads of 16; there are \(32, 64, 128\)"):
        call("qkv_rope", heads=4, rotary=torch.ones(2, 3, 16))


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("wide", [False, True])
def test_all_checks_on_the_gpu(triton_by_name, wide) -> None:
    assert_all_hold(fused_checks.every("cuda", (torch.float16, torch.bfloat16), wide), at_least=60)


@pytest.mark.gpu
def test_inductor_takes_the_operators_on_the_gpu(triton_by_name) -> None:
    assert_all_hold(fused_checks.in_one_graph("cuda", "inductor"), at_least=2)


@pytest.mark.gpu
def test_offsets_beyond_32_bits_on_the_gpu(triton_by_name) -> None:
    """The last rows of more than 2**31 elements are the same as alone."""
    rows, width = 2**31 // 192 + 1000, 64
    h = torch.randn(rows, width, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(3 * width, width, device="cuda", dtype=torch.bfloat16)
    found = fused_linear.qkv_rope(Deferred(h, None), weight, None, 1, 2, 1e-5)
    alone = fused_linear.qkv_rope(Deferred(h[-500:], None), weight, None, 1, 2, 1e-5)
    torch.testing.assert_close(found[-500:], alone)


@pytest.mark.gpu
@torch.no_grad()
def test_a_cuda_graph_holds_a_module_call(triton_by_name) -> None:
    x = torch.randn(3, 7, 512, device="cuda", dtype=torch.bfloat16)
    blocks = [fused_checks.weights(512, 1536, 0, torch.bfloat16, "cuda")] * 2
    rotary = rotary_tables(7, 64, 10000.0).cuda()

    def call() -> torch.Tensor:
        return fused_blocks(x, blocks, rotary, 8, 1e-5)

    held, replay = captured(call)
    x.mul_(0.5)
    replay()
    torch.testing.assert_close(held, call(), rtol=0, atol=0)
