"""The small block: the formula's values and gradients, and when it is taken."""

import pytest
import torch

from hrm_rl.kernels import small_block
from hrm_rl.model import CoreConfig, HRMCore
from hrm_rl.model.layers import ReasoningModule
from hrm_rl.model.recurrence import NOWHERE, BlockWeights, Positions, block, mixer_block

HEADS, EPS = 2, 1e-5


def inputs(dtype: torch.dtype = torch.float64, width: int = 8, inner: int = 6) -> list[torch.Tensor]:
    """x [B, T, D] and a block's weights."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 5, width), (3 * width, width), (width, width), (2 * inner, width), (width, inner))
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.fixture(params=["sums", "products"])
def attention(request, monkeypatch) -> None:
    """Both forms of attention, at one size."""
    monkeypatch.setattr(small_block, "_SMALL_HEAD", 64 if request.param == "sums" else 0)


def ours(x, *weights, read=None):
    return small_block.small_block(x, weights, HEADS, EPS, read)


def formula(x, *weights, read=None):
    return block(x, BlockWeights(*weights), NOWHERE, HEADS, EPS, read=read)


@pytest.mark.parametrize("read", [None, 1, 3])
@pytest.mark.parametrize("tokens_first", [False, True])
@pytest.mark.usefixtures("attention")
def test_values_and_gradients_are_the_formulas(read, tokens_first) -> None:
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        x, *weights = inputs(dtype)
        given = x.transpose(0, 1).contiguous().transpose(0, 1) if tokens_first else x
        out, exact = ours(given, *weights, read=read), formula(x, *weights, read=read)
        torch.testing.assert_close(out, exact, rtol=close, atol=close)
        weighting = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
        found, wanted = (torch.autograd.grad(o, (x, *weights), weighting) for o in (out, exact))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=close, atol=10 * close)
        with torch.no_grad():
            torch.testing.assert_close(ours(x, *weights, read=read), exact, rtol=close, atol=close)


@pytest.mark.parametrize("read", [None, 2])
@pytest.mark.usefixtures("attention")
def test_first_and_second_derivatives_are_those_of_finite_differences(read) -> None:
    given = inputs(width=4, inner=3)
    assert torch.autograd.gradcheck(lambda *t: ours(*t, read=read), given)
    assert torch.autograd.gradgradcheck(lambda *t: ours(*t, read=read), given, atol=1e-4)


@pytest.mark.usefixtures("attention")
def test_derivatives_through_blocks_that_share_weights() -> None:
    """A state of a block goes through the same weights again, as in every recurrence."""
    given = inputs(width=4, inner=3)

    def derivatives(one) -> list[torch.Tensor]:
        x, *weights = given
        out = one(one(x, *weights), *weights).pow(3).sum()
        first = torch.autograd.grad(out, given, create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), given)]

    for found, wanted in zip(derivatives(ours), derivatives(formula), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("mode", ["reverse-mode", "forward-mode"])
def test_a_vectorized_jacobian_is_the_formulas(mode, monkeypatch) -> None:
    core = HRMCore(CoreConfig(hidden_size=32))
    x, carry = torch.randn(1, 2, 32), core.initial_carry(1, 2)

    def jacobian() -> torch.Tensor:
        run = torch.autograd.functional.jacobian
        return run(lambda x: core(carry, x).z_H, x, vectorize=True, strategy=mode)

    found = jacobian()
    monkeypatch.setenv("HRM_KERNELS", "eager")
    torch.testing.assert_close(found, jacobian(), rtol=1e-4, atol=1e-5)


def test_inputs_stay_and_frozen_weights_get_no_gradient() -> None:
    x, *weights = inputs()
    before = [t.detach().clone() for t in (x, *weights)]
    weights[1].requires_grad_(False)
    ours(x, *weights).sum().backward()
    assert all(torch.equal(t.detach(), b) for t, b in zip((x, *weights), before, strict=True))
    assert weights[1].grad is None and weights[0].grad is not None
    first = ours(x, *weights).square().sum()
    (gradient,) = torch.autograd.grad(first, x, create_graph=True)
    gradient.sum().backward()


def nodes(out: torch.Tensor) -> str:
    """The names of a result's first nodes of autograd."""
    return f"{out.grad_fn}{out.grad_fn.next_functions}"


def test_a_module_takes_it_where_it_fits(monkeypatch) -> None:
    module, x = ReasoningModule(CoreConfig(hidden_size=32), 2), torch.randn(2, 3, 32)
    out = module.cast(torch.float32)(x)
    assert nodes(out).count("_SmallBlock") == 2

    def is_plain(module, x, positions=NOWHERE, dtype=torch.float32) -> bool:
        return "_SmallBlock" not in nodes(module.cast(dtype, positions)(x))

    assert is_plain(module, x, Positions(bias=torch.zeros(4, 3, 3)))
    assert is_plain(module, x.bfloat16(), dtype=torch.bfloat16)
    large = torch.randn(2, small_block.MOST_NUMBERS // 64 + 1, 32)
    assert not small_block.fits(large, module.layers[0].mlp.down_proj.weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_plain(module, x)
    mixing = ReasoningModule(CoreConfig(hidden_size=32), 1, mixer=(3, 4))
    assert "_SmallBlock" not in nodes(mixing.cast(torch.float32, function=mixer_block)(x))
    monkeypatch.setenv("HRM_KERNELS", "eager")
    assert is_plain(module, x)
    torch.testing.assert_close(module.cast(torch.float32)(x), out)


def test_compiled_code_and_functional_transforms_take_the_formula() -> None:
    x = torch.ones(2, 3, 4)

    def marked(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if small_block.fits(x, x) else x

    assert torch.equal(marked(x), x + 1)
    assert torch.equal(torch.compile(marked, fullgraph=True, backend="eager")(x), x)
    assert torch.equal(torch.func.vmap(lambda row: marked(row[None])[0])(x), x)


@pytest.mark.usefixtures("attention")
def test_a_core_that_is_read_at_one_position_gives_the_same_summary() -> None:
    core = HRMCore(CoreConfig(hidden_size=32, H_cycles=2))
    x, carry = torch.randn(3, 4, 32), core.initial_carry(3, 4)
    _, z_H = core(carry, x, read=1)
    assert z_H.shape[1] == 1
    torch.testing.assert_close(z_H[:, 0], core(carry, x).z_H[:, 0])
