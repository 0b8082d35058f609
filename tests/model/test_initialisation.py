import math

import pytest
import torch

from hrm_rl.model import HRM
from hrm_rl.model.layers import truncated_normal_


def truncated_std() -> float:
    """Of a unit normal cut at two sigma, from its density and distribution there."""
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    return math.sqrt(1 - 4 * density / math.erf(math.sqrt(2)))


def test_truncated_normal_has_the_wanted_std_and_is_cut_at_two_sigma() -> None:
    torch.manual_seed(0)
    values = truncated_normal_(torch.empty(400_000), 0.3)
    assert values.std().item() == pytest.approx(0.3, rel=0.005)
    assert abs(values.mean().item()) < 0.002
    limit = 2 * 0.3 / truncated_std()
    assert limit * 0.999 < values.abs().max().item() <= limit * 1.0001


def test_every_matrix_starts_at_one_over_root_fan_in(build) -> None:
    model = build(hidden_size=64, vocab_size=200)
    for name, p in model.named_parameters():
        if p.ndim == 2 and not name.startswith(("q_head", "puzzle_emb", "embed")):
            assert p.std().item() == pytest.approx(p.shape[1] ** -0.5, rel=0.03), name
    tokens = model.embed_tokens.embedding_weight
    assert tokens.std().item() == pytest.approx(64**-0.5, rel=0.03)


def test_q_head_starts_at_minus_five_and_the_puzzle_embedding_at_zero(config) -> None:
    model = HRM(config(puzzle_emb_ndim=20))
    assert (model.q_head.weight == 0).all() and (model.q_head.bias == -5).all()
    out = model(model.initial_carry(2), torch.zeros(2, 5).long(), torch.zeros(2).long())
    assert (out.q_halt == -5).all() and (out.q_continue == -5).all()
    assert model.puzzle_emb.weights.shape == (3, 20) and (model.puzzle_emb.weights == 0).all()


def test_initial_states_are_buffers_in_the_forward_dtype_and_masters_float32(build) -> None:
    model = build(forward_dtype="bfloat16", hidden_size=512, num_heads=8)
    parameters = dict(model.named_parameters())
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    for name in ("H_init", "L_init"):
        state = getattr(model, name)
        assert name not in parameters and name in model.state_dict()
        assert state.shape == (512,) and state.dtype == torch.bfloat16
        assert state.float().std().item() == pytest.approx(1.0, rel=0.1)
    assert not torch.equal(model.H_init, model.L_init)
