import pytest
import torch

from hrm_rl.model import Carry, graph_of

VARIANTS = [
    {},
    {"pos_encodings": "learned"},
    {"puzzle_emb_ndim": 0},
    {"puzzle_emb_ndim": 20},
    {"puzzle_emb_ndim": 40, "pos_encodings": "learned"},
    {"H_cycles": 3, "L_cycles": 1},
    {"architecture": "trm", "puzzle_emb_len": 3},
    {"architecture": "trm", "mixer": "mlp", "pos_encodings": "none"},
    {"architecture": "recurrent", "puzzle_emb_ndim": 0},
    {"architecture": "direct", "halt_max_steps": 1, "pos_encodings": "none"},
    {"mixer": "mlp", "mixer_width": 7, "pos_encodings": "learned"},
    {"norm_gated": True},
    {"architecture": "trm", "mixer": "mlp", "norm_gated": True},
]
# H_cycles, L_cycles, H_layers and L_layers with all counts different.
DEEP = {"H_cycles": 2, "L_cycles": 3, "H_layers": 1, "L_layers": 2}


def random_carry(model, rows: int) -> Carry:
    fresh = model.initial_carry(rows)
    return Carry(torch.randn_like(fresh.z_H), torch.randn_like(fresh.z_L))


@pytest.mark.parametrize("changes", VARIANTS)
def test_segment_follows_the_equations(build, naive, batch, changes) -> None:
    model = build(forward_dtype="float64", **changes).double()
    carry = random_carry(model, 3)
    out = model(carry, *batch)
    state, logits, q = naive(model, carry, *batch)
    found = torch.stack((out.q_halt, out.q_continue), dim=1).double()
    for a, b in ((out.logits, logits), (tuple(out.carry), tuple(state)), (found, q)):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shapes_and_dtypes(build, batch, changes, dtype) -> None:
    model = build(forward_dtype=dtype, **changes)
    out = model(model.initial_carry(3), *batch)
    positions = model.config.prefix_len + 5
    assert out.logits.shape == (3, 5, 6)
    for z in out.carry:
        assert z.shape == (3, positions, 16)
        assert z.dtype == getattr(torch, dtype)
        assert not z.requires_grad
    for q in (out.q_halt, out.q_continue):
        assert q.shape == (3,) and q.dtype == torch.float32 and q.requires_grad
    assert out.logits.requires_grad


# --- the carry ------------------------------------------------------------------------------------


def test_fresh_carry_is_the_initial_states_everywhere(build) -> None:
    model = build(puzzle_emb_ndim=20)
    carry = model.initial_carry(2)
    assert torch.equal(carry.z_H, model.H_init.expand(2, 7, 16))
    assert torch.equal(carry.z_L, model.L_init.expand(2, 7, 16))
    carry.z_H.zero_()
    assert not (model.H_init == 0).any()


def test_reset_touches_its_rows_only(build) -> None:
    model = build(forward_dtype="bfloat16")
    carry, fresh = random_carry(model, 3), model.initial_carry(3)
    after = model.reset(carry, torch.tensor([False, True, False]))
    for new, old, start in zip(after, carry, fresh, strict=True):
        assert torch.equal(new[[0, 2]], old[[0, 2]])
        assert torch.equal(new[1], start[1])
        assert new.dtype == torch.bfloat16


# --- gradients ------------------------------------------------------------------------------------


def count_calls(model, batch, gradient) -> tuple[int, int]:
    """Blocks run with and without a graph."""
    counts, run = {True: 0, False: 0}, model._block

    def counting(x, *rest):
        counts[torch.is_grad_enabled()] += 1
        return run(x, *rest)

    model._block = counting
    model(model.initial_carry(3), *batch, gradient=gradient)
    return counts[True], counts[False]


@pytest.mark.parametrize(
    ("architecture", "blocks", "calls"),
    [
        ("hrm", 14, (3, 7, 14)),  # 2 x (3 L calls of 2 blocks + 1 H call of 1)
        ("trm", 16, (4, 8, 16)),  # 2 x 4 calls of 2
        ("recurrent", 16, (4, 8, 16)),
        ("direct", 3, (3, 3, 3)),
    ],
)
def test_number_of_blocks_and_of_differentiated_ones(build, batch, architecture, blocks, calls) -> None:
    limit = 1 if architecture == "direct" else 4
    model = build(architecture=architecture, halt_max_steps=limit, **DEEP)
    assert model.config.segment_blocks == blocks
    for gradient, number in zip(("one-step", "last-cycle", "full"), calls, strict=True):
        assert count_calls(model, batch, gradient) == (number, blocks - number)


# Of the 8 calls, those before the last L call, before the last cycle, none.
@pytest.mark.parametrize(("gradient", "without"), [("one-step", 6), ("last-cycle", 4), ("full", 0)])
@pytest.mark.parametrize("architecture", ["hrm", "trm", "recurrent"])
def test_gradients_are_those_of_the_calls_that_count(
    build, naive, batch, architecture, gradient, without
) -> None:
    model = build(
        forward_dtype="float64", architecture=architecture, **DEEP, pos_encodings="learned"
    ).double()
    carry = random_carry(model, 3)
    weights = torch.randn(3, 5, 6, dtype=torch.float64)

    out = model(carry, *batch, gradient=gradient)
    (out.logits * weights).sum().backward()
    found = {n: p.grad.to_dense() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    _, logits, _ = naive(model, carry, *batch, detach_before=without)
    (logits * weights).sum().backward()
    wanted = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    assert found.keys() == wanted.keys()
    for name, grad in found.items():
        torch.testing.assert_close(grad, wanted[name], atol=2e-5, rtol=2e-5, msg=name)


@pytest.mark.parametrize(("gradient", "depends"), [("one-step", False), ("full", True)])
def test_only_the_full_gradient_reaches_the_incoming_carry(build, batch, gradient, depends) -> None:
    model = build()
    carry = Carry(*(z.requires_grad_() for z in random_carry(model, 3)))
    model(carry, *batch, gradient=gradient).logits.sum().backward()
    for z in carry:
        assert (z.grad is not None and bool((z.grad != 0).any())) == depends
    with torch.no_grad():
        assert not model(carry, *batch, gradient=gradient).logits.requires_grad


def test_puzzle_embedding_gradient_is_one_row_an_example(build, batch) -> None:
    model = build()
    model(model.initial_carry(3), *batch).logits.sum().backward()
    grad = model.puzzle_emb.weights.grad
    assert grad.is_sparse
    assert grad._indices()[0].tolist() == [0, 2, 2]
    assert grad._values().shape == (3, 16)


# --- precision, compilation, mistakes -------------------------------------------------------------


def test_bfloat16_is_close_to_float32(build, batch) -> None:
    model = build(hidden_size=64, num_heads=4)
    half = build(hidden_size=64, num_heads=4, forward_dtype="bfloat16")
    half.load_state_dict(model.state_dict())
    carry = model.initial_carry(3)
    exact = model(carry, *batch).logits
    rough = half(Carry(*(z.bfloat16() for z in carry)), *batch).logits
    assert rough.dtype == torch.bfloat16
    error = (rough.float() - exact).abs().max() / exact.abs().max()
    assert 0 < error < 0.1


@pytest.mark.slow
def test_compiled_blocks_give_the_same(build, batch) -> None:
    """In float64: an uncompiled block on a CPU takes the forms with few passes over memory, a compiled one
    the formulas, and in float32 the gradients of either are 1e-6 from the exact ones."""
    model, compiled = (build(forward_dtype="float64").double() for _ in range(2))
    compiled.compile_blocks(backend="aot_eager")
    for m in (model, compiled):
        m(m.initial_carry(3), *batch).logits.square().sum().backward()
    assert compiled.is_compiled and not model.is_compiled
    for name, p in model.named_parameters():
        if p.grad is not None:
            found = compiled.get_parameter(name).grad
            torch.testing.assert_close(found.to_dense(), p.grad.to_dense(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 4), (3, 6), (5,), (1, 3, 5)])
def test_refusals(build, batch, shape) -> None:
    model = build()
    carry = model.initial_carry(3)
    with pytest.raises(ValueError, match=r"inputs have shape .*takes \[batch, 5\]") as error:
        model(carry, torch.zeros(shape, dtype=torch.int64), torch.zeros(3).long())
    assert str(shape) in str(error.value)
    with pytest.raises(ValueError, match=r"one-step.*last-cycle.*full.*'two'"):
        model(carry, *batch, gradient="two")


@pytest.mark.parametrize(
    ("rows", "inputs", "identifiers", "message"),
    [
        (3, torch.ones(3, 4, dtype=torch.long), [0] * 3, r"shape \(3, 4\); this model takes"),
        (3, torch.full((3, 5), 6), [0] * 3, "inputs: row 0, cell 0 holds 6; they are 0 to 5"),
        (3, torch.ones(3, 5), [0] * 3, "inputs must be integers, got torch.float32"),
        (3, torch.ones(3, 5, dtype=torch.long), [0, 99, 0], "puzzle_identifiers: row 1 holds 99"),
        (3, torch.ones(3, 5, dtype=torch.long), [0], r"have shape \(1,\); inputs have 3 rows"),
        (2, torch.ones(3, 5, dtype=torch.long), [0] * 3, "the carry has 2 rows, inputs have 3"),
    ],
)
def test_what_the_model_cannot_take_is_refused(build, rows, inputs, identifiers, message) -> None:
    model = build()
    with pytest.raises(ValueError, match=message):
        model(model.initial_carry(rows), inputs, torch.tensor(identifiers))


def test_gradients_stay_on_where_a_loop_cannot_be_compiled() -> None:
    """torch.compile takes `graph_of` for itself after a break in its caller's loop."""

    def run(x: torch.Tensor) -> torch.Tensor:
        for last in (False, True):
            with graph_of("one-step", last, last):
                torch._dynamo.graph_break()
                x = x * 2
        return x

    with torch.enable_grad():  # sets the mode back if this fails
        torch.compile(run, backend="eager")(torch.ones(2))
        assert torch.is_grad_enabled()
