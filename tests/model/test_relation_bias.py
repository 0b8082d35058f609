"""The relation bias: its equations, kernels and files, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.model import HRM
from hrm_rl.model.recurrence import attention

RELATIONS = np.array([[1, 2, 0, 0, 2], [0, 1, 2, 0, 0], [0, 0, 1, 2, 0], [0, 0, 0, 1, 2], [2, 0, 0, 0, 1]])

# Rotary tables are float32.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def model(config):
    def make(**changes) -> HRM:
        torch.manual_seed(0)
        related = HRM(config(relation_bias=True, **changes), RELATIONS)
        with torch.no_grad():
            related.relation_bias.weight.normal_()
            related.q_head.weight.normal_()
        return related

    return make


@pytest.mark.parametrize("changes", [{}, {"puzzle_emb_ndim": 0}, {"pos_encodings": "learned"}])
def test_a_segment_and_its_gradients_are_the_equations(model, naive, batch, changes) -> None:
    ours = model(forward_dtype="float64", halt_max_steps=4, **changes).double()
    out = ours(ours.initial_carry(3), *batch, gradient="full")
    _, logits, q = naive(ours, ours.initial_carry(3), *batch)
    torch.testing.assert_close(out.logits, logits, **CLOSE)
    torch.testing.assert_close(torch.stack((out.q_halt, out.q_continue), -1), q.float(), **CLOSE)
    weight = ours.relation_bias.weight
    (found,) = torch.autograd.grad(out.logits.square().sum(), weight)
    (wanted,) = torch.autograd.grad(logits.square().sum(), weight)
    torch.testing.assert_close(found, wanted, **CLOSE)
    assert found.abs().amin(1).all()  # every class learns


def test_heads_start_by_favouring_a_set_each_and_one_flat(config) -> None:
    start = HRM(config(relation_bias=True, puzzle_emb_ndim=0), RELATIONS).relation_bias.weight
    assert start.T.tolist()[:4] == [[-3, 3, -3], [-3, -3, 3], [0, 0, 0], [-3, 3, -3]][: start.shape[1]]
    sets = HRM(config(relation_bias=True, puzzle_emb_ndim=0), RELATIONS, [(1, 2)]).relation_bias.weight
    assert sets.T.tolist()[:2] == [[-3, 3, 3], [0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pytorchs_attention_with_a_mask_equals_the_plain_products(dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 8, generator=generator, dtype=dtype).requires_grad_() for _ in range(3))
    bias = torch.randn(3, 7, 7, generator=generator, dtype=dtype).requires_grad_()
    weights = torch.randn(2, 3, 7, 8, generator=generator, dtype=dtype)
    results = []
    with_mask = scaled_dot_product_attention(q, k, v, bias.expand(2, 3, 7, 7))
    for out in (attention(q, k, v, bias), with_mask):
        results.append((out, *torch.autograd.grad((out * weights).sum(), (q, k, v, bias))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.03 if dtype == torch.bfloat16 else 1e-5)


def test_compiled_and_saved_models_compute_the_same(model, batch, tmp_path) -> None:
    ours = model(forward_dtype="float32")
    ours.save_pretrained(tmp_path)
    loaded = HRM.from_pretrained(tmp_path)
    assert loaded.config.relation_bias and torch.equal(
        loaded.relation_bias.relations, ours.relation_bias.relations
    )
    wanted = ours(ours.initial_carry(3), *batch).logits
    torch.testing.assert_close(loaded(loaded.initial_carry(3), *batch).logits, wanted)
    loaded.compile_blocks(backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(loaded(loaded.initial_carry(3), *batch).logits, wanted)


def test_a_model_and_a_checkpoint_must_agree_on_it(model, config, tmp_path) -> None:
    related, plain = model(), HRM(config())
    with pytest.raises(ValueError, match="relation_bias needs relations"):
        HRM(config(relation_bias=True))
    with pytest.raises(ValueError, match="takes no relations: set relation_bias"):
        HRM(config(), RELATIONS)
    with pytest.raises(ValueError, match="relation_bias must be true or false, got 'yes'"):
        config(relation_bias="yes")
    off = dataclasses.replace(related.config, relation_bias=False)
    with pytest.raises(ValueError, match="it has a relation bias, but relation_bias is False"):
        HRM.from_state(off, related.state_dict())
    with pytest.raises(ValueError, match="it has no relation bias, but relation_bias is True"):
        HRM.from_state(related.config, plain.state_dict())
    related.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seq_len": 6}))
    with pytest.raises(ValueError, match=r"relations must be \[6, 6\]"):
        HRM.from_pretrained(tmp_path)


def test_relations_of_your_own_puzzles(config) -> None:
    puzzles = np.zeros((4, 5), int)
    envs = PuzzleVectorEnv.from_arrays(2, puzzles, puzzles, vocab_size=6, relations=RELATIONS)
    HRM(config(relation_bias=True), envs.source.relations)
    with pytest.raises(ValueError, match="classes 0 to 255, got -1"):
        PuzzleVectorEnv.from_arrays(2, puzzles, puzzles, relations=RELATIONS - 1)
