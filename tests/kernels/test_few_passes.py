"""The forms with few passes over memory on a CPU: values, gradients, and when they are taken."""

import pytest
import torch
import torch.nn.functional as F

from hrm_rl.kernels.rms_norm import add_rms_norm, rms_norm
from hrm_rl.kernels.rope import rope, rotate
from hrm_rl.kernels.swiglu import linear_swiglu
from hrm_rl.model.layers import rotary_tables
from hrm_rl.model.recurrence import attention

EPS = 1e-5


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=dtype)


def norm(x: torch.Tensor) -> torch.Tensor:
    return add_rms_norm(x, x.flip(0), EPS)


def turn(x: torch.Tensor) -> torch.Tensor:
    """Queries and keys are slices of one projection, as in a block."""
    q, k, _ = x.split(2, dim=2)
    return torch.cat(rope(q, k, rotary_tables(5, 6, 100.0).to(x.dtype)), dim=2)


def gated(x: torch.Tensor) -> torch.Tensor:
    weight = draw(8, x.shape[-1]).to(x.dtype)
    return linear_swiglu(x, weight)


def plain(name: str, x: torch.Tensor) -> torch.Tensor:
    """The formula."""
    if name == "norm":
        return rms_norm(x + x.flip(0), EPS)
    if name == "turn":
        return rotate(x[:, :, :4], rotary_tables(5, 6, 100.0).to(x.dtype))
    gate, up = F.linear(x, draw(8, x.shape[-1]).to(x.dtype)).chunk(2, -1)
    return F.silu(gate) * up


CASES = {"norm": (norm, (3, 5, 7)), "turn": (turn, (3, 5, 6, 6)), "gated": (gated, (3, 5, 7))}


@pytest.fixture(params=CASES)
def case(request):
    return request.param, *CASES[request.param]


def test_values_are_the_formulas_and_inputs_stay(case) -> None:
    """The same with and without a gradient."""
    name, form, shape = case
    x = draw(*shape)
    exact = plain(name, x)
    torch.testing.assert_close(form(x), exact)
    single, before = x.float(), x.float()
    with torch.no_grad():
        found = form(single)
    torch.testing.assert_close(found.double(), exact, rtol=2e-6, atol=2e-6)
    with_gradient = form(before.clone().requires_grad_())
    assert with_gradient.requires_grad and torch.equal(with_gradient.detach(), found)
    assert torch.equal(single, before)


def test_derivatives_are_those_of_finite_differences(case) -> None:
    _, form, shape = case
    assert torch.autograd.gradcheck(form, (draw(*shape).requires_grad_(),))
    assert torch.autograd.gradgradcheck(form, (draw(*shape).requires_grad_(),))


def test_eager_takes_the_formulas(case, monkeypatch) -> None:
    name, form, shape = case
    monkeypatch.setenv("HRM_KERNELS", "eager")
    x = draw(*shape).float().requires_grad_()
    assert torch.equal(form(x), plain(name, x))
    nodes = str(form(x).grad_fn.next_functions) + str(form(x).grad_fn)
    assert "InFewPasses" not in nodes and "_Rotate" not in nodes


def test_half_precision_has_the_formulas_digits_in_swiglu_and_is_as_exact_in_the_norm() -> None:
    x = draw(3, 5, 7).bfloat16()
    assert torch.equal(gated(x), plain("gated", x))
    x = draw(24, 40, 56).bfloat16()
    weights = draw(*x.shape).flip(-1).bfloat16()

    def results(run, x: torch.Tensor) -> list[torch.Tensor]:
        out = run(x.requires_grad_())
        (first,) = torch.autograd.grad(out, x, weights.to(out.dtype), create_graph=True)
        (second,) = torch.autograd.grad(first.pow(3).sum(), x)
        (alone,) = torch.autograd.grad(run(x), x, weights.to(out.dtype))
        return [t.detach().double() for t in (out, first, second, alone)]

    by_formula = results(lambda t: plain("norm", t), x)
    for right, found, other in zip(results(norm, x.double()), results(norm, x), by_formula, strict=True):
        assert (found - right).norm() <= 1.05 * (other - right).norm()


def test_functional_transforms_take_the_formula(case) -> None:
    name, form, shape = case
    x = draw(*shape)
    gradient = torch.func.grad(lambda t: form(t).square().sum())(x)
    wanted = torch.func.grad(lambda t: plain(name, t).square().sum())(x)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("tokens", [16, 40])
def test_attention_in_bfloat16_rounds_no_more_than_by_its_own_softmax(tokens) -> None:
    """Of short rows the softmax is computed in float32; values and gradients are at least as exact."""
    q, k, v = (draw(8, 4, tokens, 24).roll(n, 0).bfloat16().requires_grad_() for n in range(3))

    def by_own_softmax(q, k, v):
        return ((q * 24**-0.5) @ k.mT).softmax(-1) @ v

    def results(form, *inputs):
        out = form(*inputs)
        return out.detach(), *torch.autograd.grad(out.square().sum(), inputs)

    exact = results(by_own_softmax, *(t.detach().double().requires_grad_() for t in (q, k, v)))
    ours, own = results(attention, q, k, v), results(by_own_softmax, q, k, v)
    for found, plain, right in zip(ours, own, exact, strict=True):
        assert found.dtype == torch.bfloat16
        assert (found - right).norm() <= 1.01 * (plain - right).norm()


def test_broadcast_inputs_and_compiled_code_take_the_formula() -> None:
    x, row = draw(3, 5, 7), draw(7)
    torch.testing.assert_close(add_rms_norm(x, row, EPS), rms_norm(x + row, EPS))
    compiled = torch.compile(norm, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x.float()), plain("norm", x.float()))
