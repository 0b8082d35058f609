"""The recurrence on embeddings: equal to a puzzle model's; shapes and refusals."""

import dataclasses

import pytest
import torch

from hrm_rl.model import HRM, Carry, CoreConfig, HRMConfig, HRMCore
from hrm_rl.model.recurrence import GRADIENTS


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_core_with_a_puzzle_models_weights_gives_its_states_and_gradients(gradient):
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_heads": 4, "H_cycles": 2, "L_cycles": 3, "H_layers": 2}
    shape |= {"L_layers": 1, "expansion": 12.0}  # 256 inner units in both
    plain = {"puzzle_emb_ndim": 0, "pos_encodings": "learned", "forward_dtype": "float32"}
    model = HRM(HRMConfig(5, 7, **plain, **shape))
    core = HRMCore(CoreConfig(gradient=gradient, **shape))
    core.load_state_dict({k: v for k, v in model.state_dict().items() if k in core.state_dict()})
    inputs, ids = torch.randint(5, (3, 7)), torch.zeros(3, dtype=torch.int64)
    carry = Carry(torch.randn(3, 7, 32), torch.randn(3, 7, 32))

    theirs = model(carry, inputs, ids, gradient=gradient)
    x = model._embed(inputs, ids).detach()
    ours = core(carry, x)

    torch.testing.assert_close(tuple(ours.carry), tuple(theirs.carry))
    torch.testing.assert_close(ours.z_H.detach(), theirs.carry.z_H)
    (ours.z_H @ model.lm_head.weight.T).square().sum().backward()
    theirs.logits.square().sum().backward()
    for name, parameter in core.named_parameters():
        torch.testing.assert_close(parameter.grad, model.get_parameter(name).grad)


def test_rows_are_independent_and_reset_alone():
    core = HRMCore(CoreConfig(hidden_size=16, num_heads=2))
    for tokens in (1, 3, 200):
        x, fresh = torch.randn(4, tokens, 16), core.initial_carry(4, tokens)
        out = core(fresh, x)
        alone = core(core.initial_carry(1, tokens), x[2:3])
        torch.testing.assert_close(out.z_H[2:3], alone.z_H)
        assert out.z_H.requires_grad and not out.carry.z_H.requires_grad
        where = torch.tensor([True, False, False, True])
        reset = core.reset(out.carry, where)
        torch.testing.assert_close(reset.z_H[where], fresh.z_H[where])
        torch.testing.assert_close(reset.z_L[~where], out.carry.z_L[~where])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden_size": 0}, "hidden_size must be an integer >= 1, got 0"),
        ({"H_cycles": True}, "H_cycles must be an integer >= 1, got True"),
        ({"num_heads": 5}, "hidden_size=64 is not divisible by num_heads=5"),
        ({"gradient": "two-step"}, "gradient must be one of"),
        ({"expansion": 0}, "expansion must lie in .0, 1000., got 0"),
    ],
)
def test_settings_out_of_range_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CoreConfig(), **settings)


def test_embeddings_of_another_shape_are_named():
    core = HRMCore()
    with pytest.raises(ValueError, match=r"takes \[batch, tokens, 64\]"):
        core(core.initial_carry(2, 3), torch.randn(2, 3, 32))
    with pytest.raises(ValueError, match="the carry has shape"):
        core(core.initial_carry(2, 3), torch.randn(2, 4, 64))
